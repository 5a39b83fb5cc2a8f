package main

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/color"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/device"

	"github.com/postern-project/postern/internal/cli"
)

// From the QR code in the operator's terminal to the protected page, in a real
// browser that says it is a phone: the key is made there, and the server never
// sees it.
func TestAPhoneComesInByItsCamera(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "pw.postern.test="+site(t, "the page behind the door"))
	d.open()
	phone := newBrowser(t, d)
	phone.pretend = device.Pixel5
	phone.start()

	began := time.Now()
	invited := d.onTerminal("", "invite", "anna/phone")
	invited.await("Waiting for anna/phone")
	link := readQR(t, invited.String())
	phone.visit(link)
	phone.shoot("join-phone")
	phone.click("#begin")
	phone.await("#made")
	phone.shoot("made-phone")
	password := phone.text("#password")
	if len(password) != len("0000-0000-0000-0000") {
		t.Errorf("the password is %q", password)
	}
	phone.click("#file")
	file := phone.download("anna-phone.p12")
	phone.nss("pk12util", "-i", file, "-W", password)
	phone.click("#sites a")
	phone.awaitText("the page behind the door")
	invited.end(0)
	for _, step := range []string{"opened on Android", "key made there", "certificate issued: ", "first visit to pw.postern.test: anna/phone is in."} {
		if !strings.Contains(invited.String(), step) {
			t.Errorf("the operator was not told %q:\n%s", step, invited)
		}
	}
	t.Logf("from invite to the first page: %v", time.Since(began).Round(time.Millisecond))

	if listed := d.run("list", "certificates", "--name", "anna/phone", "--json"); !strings.Contains(listed, `"via": "invite"`) {
		t.Errorf("the ledger has %s", listed)
	}
	if strings.Contains(d.output.String(), password) {
		t.Error("the server knows the password")
	}
	again := newBrowser(t, d)
	again.pretend = device.Pixel5
	again.start()
	again.visit(link)
	again.click("#begin")
	again.await("#failed")
	if text := again.text("#why"); !strings.Contains(text, "has been used") {
		t.Errorf("a used invitation is told as %q", text)
	}
	again.shoot("join-used")
}

// An operator needs to say yes: the page and the terminal show the same words.
// A second phone with the same link gets nothing.
func TestAnOperatorApprovesWhatTheyRecognise(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "pw.postern.test="+site(t, "the page behind the door"))
	d.open()
	phone := newBrowser(t, d)
	phone.pretend = device.Pixel5
	phone.start()

	invited := d.onTerminal("y\n", "invite", "anna/phone", "--approve")
	invited.await("Waiting for anna/phone")
	phone.visit(readQR(t, invited.String()))
	phone.click("#begin")
	phone.await("#made")
	invited.await("Approved: anna/phone gets certificate")
	if words := phone.text("#words"); words == "" || !strings.Contains(invited.String(), "      "+words+"\n") {
		t.Errorf("the page shows %q, the terminal\n%s", words, invited)
	}
	phone.shoot("approved")

	refused := d.onTerminal("n\n", "invite", "anna/tablet", "--approve")
	refused.await("Waiting for anna/tablet")
	phone.visit("about:blank")
	phone.visit(readQR(t, refused.String()))
	phone.click("#begin")
	phone.await("#waiting")
	phone.shoot("waiting")
	phone.await("#failed")
	if text := phone.text("#why"); !strings.Contains(text, "withdrawn") {
		t.Errorf("a no is told as %q", text)
	}
	refused.end(1)
}

// A terminal is a command as a person at one sees it.
type terminal struct {
	lockedBuffer
	t    testing.TB
	code chan int
}

// onTerminal starts a command; typed is what the person types.
func (d *door) onTerminal(typed string, args ...string) *terminal {
	d.t.Helper()
	term := &terminal{t: d.t, code: make(chan int, 1)}
	ctx, cancel := context.WithCancel(d.t.Context())
	d.t.Cleanup(cancel)
	go func() {
		term.code <- cli.Main(ctx, cli.Env{
			Args: append(args, "--data", d.data), Stdin: strings.NewReader(typed), Stdout: term, Stderr: term,
			Getenv: func(string) string { return "" }, Now: time.Now, StdoutTerminal: true,
			ReadPassword: func(string) (string, error) { return "", errors.New("no secret is asked for") },
		})
	}()
	return term
}

// await waits until the command has said something.
func (term *terminal) await(text string) {
	term.t.Helper()
	for end := time.Now().Add(60 * time.Second); !strings.Contains(term.String(), text); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			term.t.Fatalf("the command never said %q, but\n%s", text, term)
		}
	}
}

// end waits until the command has ended with a code. No line but the link was
// too long for a terminal.
func (term *terminal) end(want int) {
	term.t.Helper()
	select {
	case got := <-term.code:
		if got != want {
			term.t.Errorf("exit code %d, want %d:\n%s", got, want, term)
		}
	case <-time.After(60 * time.Second):
		term.t.Fatalf("the command goes on:\n%s", term)
	}
	plain := strings.NewReplacer("\x1b[30;107m", "", "\x1b[0m", "", "\n", "")
	for line := range strings.Lines(term.String()) {
		if n := len([]rune(plain.Replace(line))); n > 80 && !strings.Contains(line, "postern join") {
			term.t.Errorf("a line of %d columns: %s", n, line)
		}
	}
}

// readQR photographs the code in a terminal's text and has zbarimg read it.
func readQR(t *testing.T, text string) string {
	t.Helper()
	var rows [][]rune
	for line := range strings.Lines(text) {
		if _, code, ok := strings.Cut(line, "\x1b[30;107m"); ok {
			code, _, _ = strings.Cut(code, "\x1b")
			rows = append(rows, []rune(code))
		}
	}
	if len(rows) == 0 {
		t.Fatalf("no QR code in\n%s", text)
	}
	const dot = 8
	picture := image.NewGray(image.Rect(0, 0, len(rows[0])*dot, len(rows)*2*dot))
	for y := range picture.Rect.Dy() {
		for x := range picture.Rect.Dx() {
			r, lower := rows[y/dot/2][x/dot], y/dot%2 == 1
			if r == '█' || r == '▀' && !lower || r == '▄' && lower {
				continue // black
			}
			picture.SetGray(x, y, color.Gray{255})
		}
	}
	var out bytes.Buffer
	if err := png.Encode(&out, picture); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "qr.png")
	if err := os.WriteFile(path, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	read, err := exec.Command("zbarimg", "--quiet", "--raw", path).Output()
	if err != nil {
		t.Fatalf("zbarimg: %v: run scripts/test-tools, which 'make test' does", err)
	}
	return strings.TrimSpace(string(read))
}

// click taps what a selector names.
func (b *browser) click(selector string) {
	b.t.Helper()
	if _, err := chromedp.Run(b.ctx, chromedp.Click(chromedp.CSS(selector))); err != nil {
		b.t.Fatalf("click %s: %v", selector, err)
	}
}

// await waits until a part of the page is to be seen.
func (b *browser) await(selector string) {
	b.t.Helper()
	b.until(`!document.querySelector(`+"`"+selector+"`"+`).hidden`, selector)
}

// awaitText waits until the page shows a text.
func (b *browser) awaitText(text string) {
	b.t.Helper()
	b.until("document.body.innerText.includes(`"+text+"`)", text)
}

func (b *browser) until(expression, what string) {
	b.t.Helper()
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if yes, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool](expression)); err == nil && yes {
			return
		}
	}
	shown, _ := chromedp.Run(b.ctx, chromedp.Evaluate[string]("location.href + ' ' + document.body.innerText"))
	b.t.Fatalf("%s was never to be seen; the page shows %s", what, shown)
}

// sees reports whether the page has such a part now.
func (b *browser) sees(selector string) bool {
	yes, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool]("document.querySelector(`"+selector+"`) !== null"))
	return err == nil && yes
}

// text returns what a part of the page says.
func (b *browser) text(selector string) string {
	b.t.Helper()
	text, err := chromedp.Run(b.ctx, chromedp.Evaluate[string]("document.querySelector(`"+selector+"`).textContent"))
	if err != nil {
		b.t.Fatal(err)
	}
	return text
}

// download waits for a file that the browser saves, and returns its path.
func (b *browser) download(name string) string {
	b.t.Helper()
	path := filepath.Join(b.home, "Downloads", name)
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if info, err := os.Stat(path); err == nil && info.Size() > 0 {
			return path
		}
	}
	found, _ := filepath.Glob(filepath.Join(b.home, "*", "*"))
	b.t.Fatalf("%s was never saved; there is %s", path, found)
	return ""
}

// A browser that had no certificate goes on having none, also after one was
// installed, until Try again is pressed. Then the device renews with one tap.
func TestTryAgainAndRenew(t *testing.T) {
	t.Parallel()
	folder := site(t, "the page behind the door")
	d := newDoor(t)
	d.args = append(d.args, "--config", filepath.Join(d.home, "postern.yaml"))
	d.configure("profiles: {browser: {usage: client, lifetime: 1m}}\nrenew_unproven: [device, browser]\nsites: {localhost: {static: " + folder + ", allow: [enrolled]}, pw.postern.test: {static: " + folder + ", allow: [enrolled]}}\n")
	d.open()
	url := "https://pw.postern.test:" + d.port() + "/"
	b := newBrowser(t, d)
	b.start()
	if _, text := b.visit(url); !strings.Contains(text, "no-certificate") {
		t.Fatalf("a stranger's browser shows %s", text)
	}
	b.shoot("refused-again")
	dir := filepath.Join(d.home, "laptop")
	d.run("join", d.invitation("ben/laptop", "--profile", "browser"), "--out", dir, "--p12")
	password, err := os.ReadFile(filepath.Join(dir, "identity.p12.password"))
	if err != nil {
		t.Fatal(err)
	}
	b.nss("pk12util", "-i", filepath.Join(dir, "identity.p12"), "-W", strings.TrimSpace(string(password)))
	if _, text := b.visit(url); !strings.Contains(text, "no-certificate") {
		t.Log("this browser noticed the new certificate by itself")
	} else {
		b.click("#again")
	}
	b.awaitText("the page behind the door")

	b.visit(url + ".postern/renew")
	b.shoot("renew")
	if text := b.text("main"); !strings.Contains(text, "ben/laptop") {
		t.Errorf("the page of renewal shows %s", text)
	}
	if !strings.Contains(b.text("main"), "can renew it from") {
		t.Log("it was time already: this machine is slow")
	}
	for end := time.Now().Add(40 * time.Second); !b.sees("#begin") && time.Now().Before(end); time.Sleep(time.Second) {
		b.visit(url + ".postern/renew")
	}
	b.click("#begin")
	b.await("#made")
	b.shoot("renewed")
	b.click("#file")
	b.nss("pk12util", "-i", b.download("ben-laptop.p12"), "-W", b.text("#password"))
	if listed := d.run("list", "certificates", "--name", "ben/laptop", "--json"); strings.Count(listed, `"serial"`) != 2 || !strings.Contains(listed, `"via": "renew-unproven"`) {
		t.Errorf("there are to be two: %s", listed)
	}
}

// Joining over a certificate that is still good asks first, and keeps the old
// one on a no.
func TestASecondJoinAsks(t *testing.T) {
	t.Parallel()
	d := newDoor(t, "localhost="+site(t, "the page"))
	d.open()
	dir := d.enrol("ben/laptop")
	before, err := os.ReadFile(filepath.Join(dir, "cert.pem"))
	if err != nil {
		t.Fatal(err)
	}
	link := between(t, d.run("invite", "ben/laptop", "--json"), `"link": "`, `"`)
	for _, c := range []struct {
		typed    string
		code     int
		replaced bool
	}{{"\n", 1, false}, {"n\n", 1, false}, {"y\n", 0, true}} {
		term := d.onTerminal(c.typed, "join", link, "--out", dir)
		term.await("Replace it? [y/N]")
		if got := <-term.code; got != c.code { // its folder's name is longer than a line
			t.Errorf("after %q exit code %d:\n%s", c.typed, got, term)
		}
		if after, err := os.ReadFile(filepath.Join(dir, "cert.pem")); err != nil || bytes.Equal(before, after) == c.replaced {
			t.Errorf("after %q: %v, replaced: %v", c.typed, err, !bytes.Equal(before, after))
		}
	}
}
