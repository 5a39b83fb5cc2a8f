package gateway

import (
	"net/http"

	"github.com/postern-project/postern/internal/refusal"
)

// A Frankness is how much a site tells those whom it turns away. The zero
// Frankness tells the reason.
type Frankness int

const (
	// TellReason shows the code, what it means and what the visitor can do.
	TellReason Frankness = iota
	// TellNothing shows that the request was refused, and a reference: not
	// even the code, and one status for everything about the visitor.
	TellNothing
	// TellAll adds what exactly was wrong, as the operator sees it.
	TellAll
)

// nothing is what a discreet site says.
var nothing = refusal.Info{
	Status: http.StatusForbidden, Title: "Not allowed",
	Sentence:      "The request was refused.",
	VisitorRemedy: "Give the reference below to the person who runs this site.",
}

// discreet returns the answer as a site with that frankness gives it.
func (a answer) discreet(f Frankness, detail string) answer {
	switch f {
	case TellAll:
		a.because = detail
	case TellNothing:
		status := a.info.Status
		if aboutClient(a.info.Code) || a.info.Code == refusal.Condition {
			status = http.StatusForbidden
		}
		a.info, a.joinURL, a.askURL, a.renewURL, a.details, a.again = nothing, "", "", "", nil, false
		a.info.Status = status
	}
	return a
}

// frankness returns what the site of an exchange tells. One that is gone has
// no wishes any more.
func (x *exchange) frankness() Frankness {
	if x.door == nil {
		return TellReason
	}
	return x.door.site.Frankness
}
