package explain

import (
	"fmt"
	"strings"
	"time"

	"github.com/postern-project/postern/internal/chain"
)

// An OrderRecord is an ACME order with what came of its validations.
type OrderRecord struct {
	ID, Account, Profile, Status string
	Created                      time.Time
	Serial                       string // of its certificate; "" for none
	Hosts                        []HostRecord
}

// A HostRecord is one host of an order.
type HostRecord struct {
	Host       string
	Status     string // of its authorization
	Challenges []ChallengeRecord
}

// A ChallengeRecord is a challenge that was tried.
type ChallengeRecord struct {
	Type     string
	Problem  string // "" when it went well
	Attempts []AttemptRecord
}

// An AttemptRecord is one try: what was dialled, what came back, what was
// expected.
type AttemptRecord struct {
	At             time.Time
	Steps          []string
	Expected, Seen string
	OK             bool
}

// Order tells what became of an ACME order and why.
func Order(o OrderRecord) Report {
	made := fmt.Sprintf("by account %s, for profile %s, on %s", o.Account, o.Profile, o.Created.UTC().Format("2006-01-02 15:04:05 UTC"))
	steps := []chain.Step{good("the order was taken", made)}
	for _, h := range o.Hosts {
		steps = append(steps, hostStep(h))
	}
	switch {
	case o.Serial != "":
		steps = append(steps, good("the certificate was issued", "serial number "+o.Serial))
	case o.Status == "invalid":
	case len(chain.Faults(steps)) == 0:
		steps = append(steps, note("the certificate was not issued yet", "the client has not finished the order"))
	}
	return report("ACME order "+o.ID+": "+o.Status, steps)
}

func hostStep(h HostRecord) chain.Step {
	var tried []chain.Step
	for _, c := range h.Challenges {
		for i, a := range c.Attempts {
			tried = append(tried, attemptStep(h, c, i, a))
		}
	}
	switch h.Status {
	case "valid":
		s := good(h.Host+" was validated", "")
		s.Children = tried
		return s
	case "pending":
		s := note(h.Host+" waits for its client", "the client has not said yet that it is ready to be validated, or the validation goes on")
		s.Children = tried
		return s
	case "deactivated":
		return bad(h.Host+" was given up", "the client has deactivated the authorization", "have the client make a new order")
	}
	if len(tried) == 0 {
		return bad(h.Host+" was never validated", "the client did not answer a challenge in time", "look at the client's log, and have it make a new order")
	}
	return group(h.Host+" was not validated", "", tried...)
}

func attemptStep(h HostRecord, c ChallengeRecord, i int, a AttemptRecord) chain.Step {
	title := fmt.Sprintf("%s, attempt %d, %s", c.Type, i+1, a.At.UTC().Format("15:04:05 UTC"))
	var children []chain.Step
	for _, s := range a.Steps {
		children = append(children, good(s, ""))
	}
	if a.OK {
		children = append(children, good("the answer was the one expected", ""))
		return group(title, "", children...)
	}
	if a.Seen != "" {
		children = append(children, note("seen", a.Seen), note("expected", a.Expected))
	}
	if h.Status == "valid" || h.Status == "pending" {
		s := note(title, c.Problem)
		s.Children = children
		return s
	}
	s := bad(title, c.Problem, remedyFor(c, a))
	s.Children = children
	return s
}

// remedyFor says what mends a validation, by what went wrong in it.
func remedyFor(c ChallengeRecord, a AttemptRecord) string {
	said := c.Problem + " " + strings.Join(a.Steps, " ")
	switch {
	case strings.Contains(said, "networks"):
		return "add the host's network to 'networks:' of this profile under 'acme:' in postern.yaml, if it is one of yours"
	case strings.Contains(said, "connection refused"):
		return "start the client's challenge server, or the web server, on that port; http_port and tls_port name another"
	case strings.Contains(said, "in time"):
		return "open the way from this machine to that address and port"
	case strings.Contains(said, "no such name") || strings.Contains(said, "DNS") || strings.Contains(said, "no address"):
		return "add the record to the DNS server that this machine asks; 'resolver:' names another"
	case strings.Contains(said, "answered 4"):
		return "have the web server answer /.well-known/acme-challenge/ from the client's folder"
	case a.Seen != "":
		return "see to it that the host's address leads to the client that made this order, and that no older answer is left there"
	}
	return "mend what the last step tells, and have the client make a new order"
}
