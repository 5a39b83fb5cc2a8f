package demo

import (
	"strings"
	"testing"
	"time"
)

// The story comes out as told, and quickly.
func TestTheStoryComesOutAsTold(t *testing.T) {
	var told strings.Builder
	if err := Run(t.Context(), &told, false, time.Now()); err != nil {
		t.Fatalf("%v\n%s", err, told.String())
	}
	for _, want := range []string{"not-in-ledger", "issuer-distrusted", "cut", "Carol goes on reading"} {
		if !strings.Contains(told.String(), want) {
			t.Errorf("the story does not tell of %q:\n%s", want, told.String())
		}
	}
	if strings.Contains(told.String(), "\x1b") {
		t.Error("colours in a pipe")
	}
	for line := range strings.Lines(told.String()) {
		if n := len([]rune(strings.TrimRight(line, "\n"))); n > 80 {
			t.Errorf("line of %d characters: %s", n, line)
		}
	}
}

// The drill comes out as told, and fits a terminal.
func TestTheDrillComesOutAsTold(t *testing.T) {
	var told strings.Builder
	if err := RunTheft(t.Context(), &told, false, time.Now()); err != nil {
		t.Fatalf("%v\n%s", err, told.String())
	}
	for _, want := range []string{"postern issuer distrust clients-1", "dated to before the theft", "They refuse Alice's old certificate too", "The thief has nothing"} {
		if !strings.Contains(told.String(), want) {
			t.Errorf("the drill does not tell of %q:\n%s", want, told.String())
		}
	}
	for line := range strings.Lines(told.String()) {
		if n := len([]rune(strings.TrimRight(line, "\n"))); n > 80 {
			t.Errorf("line of %d characters: %s", n, line)
		}
	}
}

// A step that comes out otherwise stops the story with an error.
func TestAStepThatComesOutOtherwiseIsAnError(t *testing.T) {
	var told strings.Builder
	teller := &teller{w: &told, yes: "+", no: "-"}
	teller.expect("revoked", letIn, "the door is shut")
	teller.expect(letIn, letIn, "never told")
	if teller.err == nil || told.Len() != 0 {
		t.Errorf("err %v, told %q", teller.err, told.String())
	}
}
