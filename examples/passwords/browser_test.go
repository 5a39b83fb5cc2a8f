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

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/chromedp"
)

// A reader types a secret and a site, and the page shows the vector's words
// and password, in a real browser and under the page's own policy.
func TestThePageWorksInABrowser(t *testing.T) {
	browser, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("chromium is needed to open the page: apt-get install chromium")
	}
	server := httptest.NewServer(http.FileServerFS(os.DirFS(".")))
	t.Cleanup(server.Close)
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.ExecPath(browser), chromedp.NoSandbox)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	chromedp.ListenTarget(ctx, func(event any) {
		if e, ok := event.(*log.EventEntryAdded); ok {
			t.Errorf("the browser complains: %s", e.Entry.Text)
		}
	})

	v := load(t)
	want := v.Passwords[0]
	var words, shown, hidden, kept string
	err = chromedp.Run(ctx,
		log.Enable(),
		chromedp.EmulateViewport(390, 844, chromedp.EmulateScale(2)),
		chromedp.Navigate(server.URL+"/index.html"),
		chromedp.SendKeys("#secret", want.Secret),
		chromedp.SendKeys("#site", "https://www.Example.com/login"),
		chromedp.WaitEnabled("#copy"),
		chromedp.WaitVisible("#words span:nth-child(3)"),
		chromedp.Text("#words", &words),
		chromedp.Text("#password", &hidden),
		chromedp.Click("#reveal"),
		chromedp.Text("#password", &shown),
		chromedp.Click("summary"),
		chromedp.Click("#remember"),
		chromedp.Evaluate("JSON.stringify(localStorage)", &kept),
		keepPicture(),
	)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Fields(words); !slices.Equal(got, v.Fingerprints[0].Words) {
		t.Errorf("words %v, want %v", got, v.Fingerprints[0].Words)
	}
	if shown != want.Password || strings.Contains(hidden, want.Password[:3]) {
		t.Errorf("password %q shown and %q hidden, want %q", shown, hidden, want.Password)
	}
	if !strings.Contains(kept, "example.com") || strings.Contains(kept, "horse") || strings.Contains(kept, want.Password[:5]) {
		t.Errorf("the browser keeps %s", kept)
	}
}

// keepPicture writes a picture of the page to the file that PASSWORDS_PICTURE
// names, for whoever wants to look at it.
func keepPicture() chromedp.Action {
	return chromedp.ActionFunc(func(ctx context.Context) error {
		path := os.Getenv("PASSWORDS_PICTURE")
		if path == "" {
			return nil
		}
		var png []byte
		if err := chromedp.FullScreenshot(&png, 100).Do(ctx); err != nil {
			return err
		}
		return os.WriteFile(path, png, 0o644)
	})
}
