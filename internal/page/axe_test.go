package page

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// axe, which knows the Web Content Accessibility Guidelines, finds nothing to
// say about any page, light on a computer and dark on a phone, with every part
// shown that a script may show. PAGE_PICTURES names a folder
// for pictures of them, then in every combination.
func TestPagesAreAccessible(t *testing.T) {
	t.Parallel()
	axe := axeSource(t)
	shown := pages(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if p, ok := shown[strings.TrimPrefix(r.URL.Path, "/")]; ok {
			p.Write(w, http.StatusOK)
			return
		}
		w.Header().Set("Content-Type", "text/html")
		w.Write([]byte(`<!doctype html><html><title>x</title><main><h1>x</h1><img src="x"></main></html>`))
	}))
	t.Cleanup(server.Close)
	for scheme, flag := range map[string]string{"light": "preferredColorScheme=1", "dark": "preferredColorScheme=0"} {
		ctx := axeBrowser(t, flag)
		if found := judgeAt(t, ctx, axe, server.URL+"/broken"); len(found) < 2 {
			t.Fatalf("axe finds nothing wrong where there is: %s", found)
		}
		for name := range shown {
			for size, width := range map[string]int64{"computer": 1000, "phone": 360} {
				if usual := (scheme == "light") == (size == "computer"); !usual && os.Getenv("PAGE_PICTURES") == "" {
					continue
				}
				where := name + "-" + scheme + "-" + size
				if err := chromedp.Do(ctx, chromedp.EmulateViewport(width, 800)); err != nil {
					t.Fatal(err)
				}
				if err := chromedp.Do(ctx, chromedp.Navigate(server.URL+"/"+name)); err != nil {
					t.Fatal(err)
				}
				takePicture(t, ctx, where)
				do(t, ctx, `document.querySelectorAll("[hidden]").forEach((e) => { e.hidden = false; }); document.querySelectorAll("details").forEach((e) => { e.open = true; }); ""`)
				for _, v := range judge(t, ctx, axe) {
					t.Errorf("%s: %s", where, v)
				}
				if wide := do(t, ctx, `String(document.documentElement.scrollWidth)`); width == 360 && wide != "360" {
					t.Errorf("%s: %s wide", where, wide)
				}
				takePicture(t, ctx, where+"-all")
			}
		}
	}
}

func judgeAt(t *testing.T, ctx context.Context, axe, url string) []string {
	t.Helper()
	if err := chromedp.Do(ctx, chromedp.Navigate(url)); err != nil {
		t.Fatal(err)
	}
	return judge(t, ctx, axe)
}

// judge returns what axe has against the page that is open.
func judge(t *testing.T, ctx context.Context, axe string) []string {
	t.Helper()
	do(t, ctx, axe+`;""`)
	found := do(t, ctx, `axe.run({runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}).then((r) =>
		JSON.stringify(r.violations.map((v) => v.id + ": " + v.help + " " + v.nodes.map((n) => n.target.join(" ")).join(", "))))`)
	var violations []string
	if err := json.Unmarshal([]byte(found), &violations); err != nil {
		t.Fatalf("%v in %q", err, found)
	}
	return violations
}

func do(t *testing.T, ctx context.Context, expression string) string {
	t.Helper()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[string](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func takePicture(t *testing.T, ctx context.Context, name string) {
	t.Helper()
	dir := os.Getenv("PAGE_PICTURES")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644)
	}
	if err != nil {
		t.Error(err)
	}
}

// axeSource returns axe-core, which scripts/test-tools installs.
func axeSource(t *testing.T) string {
	t.Helper()
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		cache = filepath.Join(os.Getenv("HOME"), ".cache")
	}
	text, err := os.ReadFile(filepath.Join(cache, "postern-tests", "axe", "node_modules", "axe-core", "axe.min.js"))
	if err != nil {
		t.Fatalf("%v: run scripts/test-tools, which 'make test' does", err)
	}
	return string(text)
}

func axeBrowser(t *testing.T, settings string) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatalf("%v: run scripts/test-tools, which 'make test' does", err)
	}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.Flag("headless", "new"), chromedp.Flag("blink-settings", settings))
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	return ctx
}
