package refusal

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/refusals.md anew")

// docs/refusals.md says what the code says: 'go test ./internal/refusal
// -update' writes it.
func TestTheManualListsEveryCode(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Refusals\n\nEvery code, in the order in which causes are looked for: one cause has one code. The page, the problem+json\nanswer, the log, the metrics and `postern explain` share them. This file is generated from `internal/refusal`.\n")
	for _, i := range All() {
		fmt.Fprintf(&b, "\n## %s\n\n%s (HTTP %d", i.Code, i.Title, i.Status)
		if i.Alarm {
			b.WriteString(", **alarm**: logged as an error and counted")
		}
		fmt.Fprintf(&b, ")\n\n%s\n\n- *The visitor:* %s\n- *The operator:* %s\n", i.Sentence, i.VisitorRemedy, i.OperatorRemedy)
	}
	const path = "../../docs/refusals.md"
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != b.String() {
		t.Error("docs/refusals.md is not what the code says: run 'go test ./internal/refusal -update'")
	}
}
