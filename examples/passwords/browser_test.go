package passwords_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// A reader types a secret and a site, and the page shows the vector's words
// and password, in a real browser and under the page's own policy.
func TestThePageWorksInABrowser(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.FileServerFS(os.DirFS(".")))
	t.Cleanup(server.Close)
	ctx := browser(t)
	v := load(t)
	want := v.Passwords[0]
	err := chromedp.Do(ctx,
		chromedp.EmulateViewport(390, 844, chromedp.EmulateScale(2)),
		chromedp.Navigate(server.URL+"/index.html"),
		chromedp.SendKeys("#secret", want.Secret),
		chromedp.SendKeys("#site", "https://www.Example.com/login"),
		chromedp.WaitEnabled("#copy"),
		chromedp.WaitVisible("#words span:nth-child(3)"),
	)
	if err != nil {
		t.Fatal(err)
	}
	if words := evaluate(t, ctx, `[...document.querySelectorAll("#words span")].map((s) => s.textContent).join(" ")`); words != strings.Join(v.Fingerprints[0].Words, " ") {
		t.Errorf("words %q, want %v", words, v.Fingerprints[0].Words)
	}
	if hidden := evaluate(t, ctx, `document.getElementById("password").textContent`); hidden != strings.Repeat("•", 12) {
		t.Errorf("the hidden password reads %q", hidden)
	}
	if width := evaluate(t, ctx, `getComputedStyle(document.querySelector(".sheet")).maxWidth`); width == "none" {
		t.Error("the policy blocks the page's style")
	}
	if err := chromedp.Do(ctx, chromedp.Click("#reveal"), chromedp.Click("summary"), chromedp.Click("#remember")); err != nil {
		t.Fatal(err)
	}
	if shown := evaluate(t, ctx, `document.getElementById("password").textContent`); shown != want.Password {
		t.Errorf("password %q, want %q", shown, want.Password)
	}
	kept := evaluate(t, ctx, `JSON.stringify(localStorage) + JSON.stringify(sessionStorage) + document.cookie`)
	if !strings.Contains(kept, "example.com") || strings.Contains(kept, "horse") || strings.Contains(kept, want.Password[:5]) {
		t.Errorf("the browser keeps %s", kept)
	}
	if wide := evaluate(t, ctx, `String(document.documentElement.scrollWidth)`); wide != "390" {
		t.Errorf("on a phone the page is %s wide, want 390", wide)
	}
	keepPicture(t, ctx)
}

func browser(t *testing.T) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("chromium is needed to open the page: apt-get install chromium")
	}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.Flag("headless", "new"))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	return ctx
}

func evaluate(t *testing.T, ctx context.Context, expression string) string {
	t.Helper()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[string](expression))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return value
}

// keepPicture writes a picture of the page to the file that PASSWORDS_PICTURE
// names, for whoever wants to look at it.
func keepPicture(t *testing.T, ctx context.Context) {
	path := os.Getenv("PASSWORDS_PICTURE")
	if path == "" {
		return
	}
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.WriteFile(path, png, 0o644)
	}
	if err != nil {
		t.Error(err)
	}
}
