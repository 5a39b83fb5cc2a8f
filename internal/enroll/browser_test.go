package enroll

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/device"

	"github.com/postern-project/postern/internal/invite"
	"github.com/postern-project/postern/internal/page"
)

// The page of an invitation, in a real browser and under its own policy, fills
// the command in from the address's fragment, and nothing else from there.
func TestTheJoinPageFillsTheCommandIn(t *testing.T) {
	w := newWorld(t)
	ctx := browser(t)
	link := invite.Link{Base: w.URL, Code: invite.New(), Pin: invite.PinOf(w.root)}
	// a number past 128 bits, whose remainder is right: z times 32^25, modulo 1021
	rest := 31
	for range 25 {
		rest = rest * 32 % 1021
	}
	const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"
	tooLarge := "z" + strings.Repeat("0", 25) + string(alphabet[rest/32]) + string(alphabet[rest%32])
	cases := []struct {
		name, address, paste string
		command              string
		mistyped, field      bool
	}{
		{name: "the link", address: link.String(), command: `postern join "` + link.String() + `"`},
		{name: "the link in capitals", address: w.URL + "/join#" + strings.ToUpper(link.Code.String()+"."+link.Pin.String()), command: `postern join "` + link.String() + `"`},
		{name: "no invitation", address: w.URL + "/join", command: `postern join "LINK"`, field: true},
		{name: "a mistyped link", address: strings.Replace(link.String(), "#"+link.Code.String()[:2], "#zz", 1), command: `postern join "LINK"`, mistyped: true, field: true},
		{name: "a code past 128 bits", address: w.URL + "/join#" + tooLarge + "." + link.Pin.String(), command: `postern join "LINK"`, mistyped: true, field: true},
		{name: "a command in the link", address: w.URL + `/join#"; rm -rf ~; echo ".` + link.Pin.String(), command: `postern join "LINK"`, mistyped: true, field: true},
		{name: "a pasted link", address: w.URL + "/join", paste: link.String(), command: `postern join "` + link.String() + `"`, field: true},
		{name: "a pasted fragment", address: w.URL + "/join", paste: link.Code.String() + "." + link.Pin.String(), command: `postern join "` + link.String() + `"`, field: true},
		{name: "a pasted command", address: w.URL + "/join", paste: "https://a$(id)/join#" + link.Code.String() + "." + link.Pin.String(), command: `postern join "LINK"`, mistyped: true, field: true},
	}
	for _, c := range cases {
		if err := chromedp.Do(ctx, chromedp.EmulateViewport(390, 844), chromedp.Navigate("about:blank"), chromedp.Navigate(c.address)); err != nil {
			t.Fatal(err)
		}
		if c.paste != "" {
			if err := chromedp.Do(ctx, chromedp.SendKeys("#link", c.paste)); err != nil {
				t.Fatal(err)
			}
		}
		if got := evaluate[string](t, ctx, `document.getElementById("command").textContent`); got != c.command {
			t.Errorf("%s: the command is %s", c.name, got)
		}
		if got := evaluate[bool](t, ctx, `!document.getElementById("mistyped").hidden`); got != c.mistyped {
			t.Errorf("%s: told that it is mistyped: %v", c.name, got)
		}
		if got := evaluate[bool](t, ctx, `!document.getElementById("paste").hidden`); got != c.field {
			t.Errorf("%s: asked for a link: %v", c.name, got)
		}
		if wide := evaluate[int](t, ctx, `document.documentElement.scrollWidth`); wide != 390 {
			t.Errorf("%s: the page is %d wide on a phone", c.name, wide)
		}
		keepPicture(t, ctx, c.name)
	}
	if w.office.asked() != 0 || strings.Contains(w.log.String(), link.Code.String()) {
		t.Error("looking at the page told the server something")
	}
}

func browser(t *testing.T) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("chromium is needed to open the page: apt-get install chromium")
	}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.IgnoreCertErrors, chromedp.Flag("headless", "new"))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	return ctx
}

func evaluate[T any](t *testing.T, ctx context.Context, expression string) T {
	t.Helper()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return value
}

// keepPicture writes a picture of the page into the folder that JOIN_PICTURES
// names, for whoever wants to look at it.
func keepPicture(t *testing.T, ctx context.Context, name string) {
	dir := os.Getenv("JOIN_PICTURES")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, strings.ReplaceAll(name, " ", "-")+".png"), png, 0o644)
	}
	if err != nil {
		t.Error(err)
	}
}

// A browser from which no key can be installed is told which one to use, and
// may go on all the same.
func TestTheJoinPageKnowsTheWrongBrowser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := browser(t)
	link := invite.Link{Base: w.URL, Code: invite.New(), Pin: invite.PinOf(w.root)}
	const (
		android = "Mozilla/5.0 (Linux; Android 15; Pixel 9%s) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/142.0.0.0 Mobile Safari/537.36"
		iphone  = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
	)
	cases := map[string]struct{ ua, wrong string }{
		"Chrome on Android":            {fmt.Sprintf(android, ""), ""},
		"a messenger on Android":       {fmt.Sprintf(android, "; wv"), "app"},
		"Safari on an iPhone":          {iphone + "Version/18.1 Mobile/15E148 Safari/604.1", ""},
		"Chrome on an iPhone":          {iphone + "CriOS/142.0 Mobile/15E148 Safari/604.1", "safari"},
		"a messenger on an iPhone":     {iphone + "Mobile/15E148 Instagram 300.0", "app"},
		"an app that names itself not": {iphone + "Mobile/15E148", "app"},
		"an old Firefox on Android":    {"Mozilla/5.0 (Android 14; Mobile; rv:137.0) Gecko/137.0 Firefox/137.0", "firefox"},
		"a new Firefox on Android":     {"Mozilla/5.0 (Android 14; Mobile; rv:145.0) Gecko/145.0 Firefox/145.0", ""},
		"Firefox on Linux":             {"Mozilla/5.0 (X11; Linux x86_64; rv:100.0) Gecko/20100101 Firefox/100.0", ""},
	}
	for name, c := range cases {
		if err := chromedp.Do(ctx, chromedp.Emulate(pretending(c.ua)), chromedp.Navigate("about:blank"), chromedp.Navigate(link.String())); err != nil {
			t.Fatal(err)
		}
		const told = `[...document.querySelectorAll("[data-wrong]")].filter((e) => !e.hidden).map((e) => e.dataset.wrong).join()`
		if got := evaluate[string](t, ctx, told); got != c.wrong {
			t.Errorf("%s: told %q, want %q", name, got, c.wrong)
		}
		if got := evaluate[bool](t, ctx, `document.getElementById("make").hidden`); got != (c.wrong != "") {
			t.Errorf("%s: the key is offered: %v", name, !got)
		}
		keepPicture(t, ctx, name)
		if c.wrong == "" {
			continue
		}
		evaluate[bool](t, ctx, `document.querySelector("[data-wrong=`+c.wrong+`] [data-anyway]").click() || true`)
		if evaluate[bool](t, ctx, `document.getElementById("make").hidden`) {
			t.Errorf("%s: there is no way on", name)
		}
	}
	if w.office.asked() != 0 {
		t.Error("looking at the page spent something")
	}
}

// pretending is a phone-sized device with this user agent.
type pretending string

func (p pretending) Device() device.Info {
	return device.Info{Name: "test", UserAgent: string(p), Width: 390, Height: 844, Scale: 1, Mobile: true, Touch: true}
}

// The key-maker is kept by browsers, and comes compressed to those that can.
func TestTheKeymakerIsServed(t *testing.T) {
	w := newWorld(t)
	for encoding, want := range map[string][]byte{"gzip": page.Keymaker().Gzip(), "identity": page.Keymaker().Text} {
		response, text := w.do(t, "GET", page.Keymaker().In(page.JoinFolder).Path, "", http.Header{"Accept-Encoding": {encoding}})
		if text != string(want) || response.Header.Get("Content-Type") != "text/javascript; charset=utf-8" ||
			!strings.Contains(response.Header.Get("Cache-Control"), "immutable") {
			t.Errorf("%s: %d bytes, %v", encoding, len(text), response.Header)
		}
	}
}
