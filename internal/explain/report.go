// Package explain tells step by step why a certificate, a live host or a
// refusal is as it is, and what to do about it: for people as a tree in 80
// columns, for programs as JSON.
package explain

import (
	"github.com/postern-project/postern/internal/chain"
)

// A Report is what was looked at, and what came of each step. Nothing in it
// can steer a terminal, whatever a certificate or a peer had in it.
type Report struct {
	// Subject says what the report is about, such as a file or a host.
	Subject string `json:"subject"`
	// OK reports whether every step went well.
	OK    bool         `json:"ok"`
	Steps []chain.Step `json:"steps"`
	// Advice is the one thing to do first. It is empty when nothing is wrong.
	Advice string `json:"advice,omitempty"`

	inFile bool // what the ledger says is not known, so OK is about the file alone
}

// report sums up steps: OK and the advice follow from them.
func report(subject string, steps []chain.Step) Report {
	r := Report{Subject: chain.Escape(subject), OK: true, Steps: clean(steps)}
	if faults := chain.Faults(r.Steps); len(faults) > 0 {
		r.OK, r.Advice = false, faults[0].Remedy
	}
	return r
}

// clean returns steps without control characters. What comes out of package
// chain has none; what a peer or a file said passes here.
func clean(steps []chain.Step) []chain.Step {
	out := make([]chain.Step, len(steps))
	for i, s := range steps {
		s.Title, s.Detail, s.Remedy = chain.Escape(s.Title), chain.Escape(s.Detail), chain.Escape(s.Remedy)
		if len(s.Children) > 0 {
			s.Children = clean(s.Children)
		}
		out[i] = s
	}
	return out
}

// group returns a step that went well when all below it did.
func group(title, detail string, children ...chain.Step) chain.Step {
	return chain.Step{Title: title, Detail: detail, OK: len(chain.Faults(children)) == 0, Children: children}
}

func good(title, detail string) chain.Step {
	return chain.Step{Title: title, Detail: detail, OK: true}
}

func note(title, detail string) chain.Step {
	return chain.Step{Title: title, Detail: detail, OK: true, Warning: true}
}

func bad(title, detail, remedy string) chain.Step {
	return chain.Step{Title: title, Detail: detail, Remedy: remedy}
}
