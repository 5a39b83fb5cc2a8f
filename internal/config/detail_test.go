package config

import (
	"strings"
	"testing"

	"github.com/postern-project/postern/internal/gateway"
)

// refusal_detail is one of three words, and the reason by default.
func TestRefusalDetail(t *testing.T) {
	for word, want := range map[string]gateway.Frankness{"none": gateway.TellNothing, "reason": gateway.TellReason, "full": gateway.TellAll, "": gateway.TellReason} {
		text := "sites:\n  a.example.com:\n    proxy: http://127.0.0.1:1\n    allow: [ben]\n"
		if word != "" {
			text += "    refusal_detail: " + word + "\n"
		}
		c, _, err := Parse("postern.yaml", []byte(text))
		if err != nil || c.Sites[0].RefusalDetail != want {
			t.Errorf("%q: %v, %v", word, c.Sites, err)
		}
	}
	_, _, err := Parse("postern.yaml", []byte("sites:\n  a.example.com: {proxy: \"http://127.0.0.1:1\", allow: [ben], refusal_detail: some}\n"))
	if err == nil || !strings.Contains(err.Error(), `"some" is unknown: write none, reason or full`) || !strings.Contains(err.Error(), "postern.yaml:2:") {
		t.Error(err)
	}
}
