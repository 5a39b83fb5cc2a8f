package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// A browser that a stealthy site refuses shows the error that is true, each
// time: it reads the alert before the connection ends. One that were reset
// with bytes unread would show that instead, as browsers do half of the time.
func TestABrowserSeesWhyAStealthySiteRefuses(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	config := filepath.Join(d.home, "postern.yaml")
	page := site(t, "the page")
	if err := os.WriteFile(config, []byte("sites:\n  hidden.postern.test: {static: "+page+", allow: [ben], stealth: true}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.args = append(d.args, "--config", config)
	d.open()
	anna := filepath.Join(d.home, "anna")
	d.run("issue", "anna/laptop", "--out", anna, "--p12")
	password, err := os.ReadFile(filepath.Join(anna, "identity.p12.password"))
	if err != nil {
		t.Fatal(err)
	}
	for sentence, known := range map[string]bool{"a stranger": false, "somebody not on the list": true} {
		b := newBrowser(t, d)
		if known {
			b.nss("pk12util", "-i", filepath.Join(anna, "identity.p12"), "-W", strings.TrimSpace(string(password)))
		}
		b.start()
		for range 8 {
			_, err := chromedp.Run(b.ctx, chromedp.Navigate("https://hidden.postern.test:"+d.port()+"/"))
			if err == nil || !strings.Contains(err.Error(), "ERR_BAD_SSL_CLIENT_AUTH_CERT") {
				t.Errorf("%s: %v", sentence, err)
			}
		}
	}
	if !strings.Contains(d.output.String(), "code=not-on-list") || !strings.Contains(d.output.String(), "code=no-certificate") {
		t.Errorf("the log does not say why:\n%s", d.output)
	}
}
