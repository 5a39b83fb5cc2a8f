package main

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/device"
)

// Somebody without an invitation asks at the door, the operator recognises the
// words and says yes, and the page that asked goes on to the certificate.
func TestSomebodyAsksForAccess(t *testing.T) {
	t.Parallel()
	d := configured(t, "sites: {pw.postern.test: {static: "+site(t, "the page behind the door")+", allow: [anna], access_requests: true}}\n")
	d.open()
	phone := newBrowser(t, d)
	phone.pretend = device.Pixel5
	phone.start()
	phone.visit("https://pw.postern.test:" + d.port() + "/")
	phone.shoot("refused-may-ask")
	phone.click(`a[href*="/join/ask"]`)
	phone.awaitText("You ask the person who runs pw.postern.test")
	phone.shoot("ask")
	for field, text := range map[string]string{"#who": "Anna \u202eM\u00fcller<b>", "#note": "my new phone"} {
		if _, err := chromedp.Run(phone.ctx, chromedp.SetValue(chromedp.CSS(field), text)); err != nil {
			t.Fatal(err)
		}
	}
	phone.click(`button[type="submit"]`)
	phone.await(".words")
	words := phone.text(".words")
	phone.shoot("asked")

	listed := d.run("list", "requests")
	for _, want := range []string{words, "says to be  Anna M\u00fcller<b>", "my new phone", "pw.postern.test", "127.0.0.1"} {
		if !strings.Contains(listed, want) {
			t.Errorf("the operator does not see %q:\n%s", want, listed)
		}
	}
	for line := range strings.Lines(listed) {
		if len([]rune(strings.TrimSpace(line))) > 80 {
			t.Errorf("wider than a terminal: %s", line)
		}
	}
	d.run("approve", words, "anna/phone")
	phone.await("#begin")
	phone.awaitText("Make the key")
	phone.click("#begin")
	phone.await("#made")
	if name := phone.text("#name"); name != "anna/phone" {
		t.Errorf("the phone became %q", name)
	}
	if strings.Contains(d.run("list", "requests"), words) {
		t.Error("an answered request is listed still")
	}
	if strings.Contains(d.output.String(), "__Secure") {
		t.Error("the cookie is in the log")
	}
}
