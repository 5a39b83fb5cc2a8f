package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// policy lets headless Chromium choose a certificate for hosts under
// postern.test by itself; scripts/test-tools installs it. Without it the
// browser would wait for a choice in a window that nobody sees.
const policy = "/etc/chromium/policies/managed/postern-tests.json"

// A browser is a real headless Chromium with a home of its own.
type browser struct {
	t    *testing.T
	home string
	// pretend is the device that the browser says it is; nil for a computer.
	pretend chromedp.Device
	// options are added to those that every browser is started with.
	options []chromedp.ExecAllocatorOption
	ctx     context.Context
}

// newBrowser prepares a home whose NSS database trusts the door's root. What
// it imports before start is there when the browser starts.
func newBrowser(t *testing.T, d *door) *browser {
	t.Helper()
	if _, err := os.Stat(policy); err != nil {
		t.Fatalf("%v: run scripts/test-tools, which 'make test' does", err)
	}
	b := &browser{t: t, home: t.TempDir()}
	if err := os.MkdirAll(filepath.Join(b.home, ".pki", "nssdb"), 0o700); err != nil {
		t.Fatal(err)
	}
	b.nss("certutil", "-N", "--empty-password")
	b.nss("certutil", "-A", "-n", "postern root", "-t", "C,,", "-i", filepath.Join(d.data, "root.pem"))
	return b
}

// nss runs one of the NSS tools on the browser's database.
func (b *browser) nss(tool string, args ...string) {
	b.t.Helper()
	cmd := exec.Command(tool, append(args, "-d", "sql:"+filepath.Join(b.home, ".pki", "nssdb"))...)
	cmd.Env = append(os.Environ(), "HOME="+b.home)
	if out, err := cmd.CombinedOutput(); err != nil {
		b.t.Fatalf("%s: %v\n%s", tool, err, out)
	}
}

// start starts the browser; every host under postern.test is this machine.
func (b *browser) start() {
	b.t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath("chromium"),
		chromedp.Env("HOME="+b.home, "XDG_CONFIG_HOME="+b.home, "XDG_CACHE_HOME="+b.home),
		chromedp.UserDataDir(filepath.Join(b.home, "profile")),
		chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("headless", "new"),
		chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("host-resolver-rules", "MAP *.postern.test 127.0.0.1"),
		chromedp.WindowSize(1000, 800),
	)
	options = append(options, b.options...)
	alloc, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	b.t.Cleanup(cancel)
	ctx, cancel := chromedp.NewContext(alloc)
	b.t.Cleanup(cancel)
	if _, err := chromedp.Run(ctx, chromedp.Navigate("about:blank")); err != nil {
		b.t.Fatalf("start chromium: %v", err)
	}
	ctx, cancel = context.WithTimeout(ctx, 90*time.Second)
	b.t.Cleanup(cancel)
	b.ctx = ctx
	if b.pretend != nil {
		if _, err := chromedp.Run(ctx, chromedp.Emulate(b.pretend)); err != nil {
			b.t.Fatal(err)
		}
	}
}

// visit opens url and returns the title and the text that a person sees.
func (b *browser) visit(url string) (title, text string) {
	b.t.Helper()
	if _, err := chromedp.Run(b.ctx, chromedp.Navigate(url)); err != nil {
		b.t.Fatalf("visit %s: %v", url, err)
	}
	title, err := chromedp.Run(b.ctx, chromedp.Title())
	if err != nil {
		b.t.Fatalf("title of %s: %v", url, err)
	}
	text, err = chromedp.Run(b.ctx, chromedp.Text("body"))
	if err != nil {
		b.t.Fatalf("text of %s: %v", url, err)
	}
	return title, text
}

// shoot writes a screenshot into the folder POSTERN_SCREENSHOTS, if it is set.
func (b *browser) shoot(name string) {
	b.t.Helper()
	dir := os.Getenv("POSTERN_SCREENSHOTS")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// A browser with the certificate of an enrolled device shows the page; one
// without shows why not; after revoke the open page gets nothing more.
func TestABrowserShowsThePageToEnrolledDevicesOnly(t *testing.T) {
	t.Parallel()
	passwords, err := filepath.Abs("../../examples/passwords")
	if err != nil {
		t.Fatal(err)
	}
	d := newDoor(t, "localhost="+passwords, "pw.postern.test="+passwords)
	d.open()
	url := "https://pw.postern.test:" + d.port() + "/"

	stranger := newBrowser(t, d)
	stranger.start()
	title, text := stranger.visit(url)
	if !strings.Contains(text, "no-certificate") && !strings.Contains(text, "no certificate") {
		t.Errorf("a stranger's browser shows %q: %s", title, text)
	}
	stranger.shoot("refused-stranger")

	dir := d.enrol("ben/laptop", "--p12")
	password, err := os.ReadFile(filepath.Join(dir, "identity.p12.password"))
	if err != nil {
		t.Fatal(err)
	}
	owner := newBrowser(t, d)
	owner.nss("pk12util", "-i", filepath.Join(dir, "identity.p12"), "-W", strings.TrimSpace(string(password)))
	owner.start()
	title, text = owner.visit(url)
	if !strings.Contains(strings.ToLower(title+text), "password") || strings.Contains(text, "certificate") {
		t.Fatalf("the owner's browser shows %q: %s", title, text)
	}
	owner.shoot("passwords")

	d.run("revoke", "ben/laptop")
	_, text = owner.visit(url)
	if !strings.Contains(text, "revoked") {
		t.Errorf("after revoke the owner's browser shows %s", text)
	}
	owner.shoot("refused-revoked")
}

// The page behind an invitation's link explains what to type, shows the whole
// command although the code never reaches the server, and spends nothing.
func TestTheJoinPageShowsTheCommand(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "localhost="+site(t, "the page"))
	d.open()
	link := between(t, d.run("invite", "anna/phone", "--json"), `"link": "`, `"`)
	b := newBrowser(t, d)
	b.start()
	_, text := b.visit(link)
	if !strings.Contains(text, "postern join \""+link+"\"") {
		t.Errorf("the page does not show the command for %s:\n%s", link, text)
	}
	b.shoot("join")
	d.run("join", link, "--out", filepath.Join(d.home, "anna"))
	_, code, _ := strings.Cut(link, "#")
	code, _, _ = strings.Cut(code, ".")
	if strings.Contains(d.output.String(), code) {
		t.Error("the code is in the server's log")
	}
}

// between returns what stands between two marks in s.
func between(t *testing.T, s, before, after string) string {
	t.Helper()
	_, rest, ok := strings.Cut(s, before)
	if !ok {
		t.Fatalf("no %q in %s", before, s)
	}
	found, _, ok := strings.Cut(rest, after)
	if !ok {
		t.Fatalf("no %q after %q in %s", after, before, s)
	}
	return found
}
