// Package page holds the visual language of everything that Postern shows in
// a browser: one layout, one style that follows the reader's choice of light
// or dark, and every text. A page needs no script, no second request and
// nobody else's server.
package page

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"unicode"
)

//go:embed style.css *.js *.html
var files embed.FS

// A Page is a finished page with the policy that lets a browser do no more
// than show it. It is safe for concurrent use.
type Page struct {
	HTML []byte
	// CSP is the value of the Content-Security-Policy header.
	CSP string
}

// Write answers with the page. It is kept by no cache, and its headers forbid
// the browser to guess types, to send the address on, and to frame the page.
func (p Page) Write(w http.ResponseWriter, status int) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(p.HTML)))
	h.Set("Content-Security-Policy", p.CSP)
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	w.WriteHeader(status)
	w.Write(p.HTML)
}

// A Row is a line of a table of facts.
type Row struct{ Label, Value string }

// frame is what the layout itself shows, around a page's own view.
type frame struct {
	Title  string // of the browser's tab
	Site   string // whose door this is; may be empty
	Open   bool   // the door of the mark stands open
	Style  template.CSS
	Script template.JS   // empty for none
	Load   *LoadedScript // nil for none: run first
	Form   bool          // the page holds a form for its own origin
	T      texts
	View   any
}

// The parts that never change, read once when they are first needed: a server
// that starts needs none.
var (
	style     = sync.OnceValue(func() string { return read("style.css") })
	templates = func() map[string]func() *template.Template {
		set := make(map[string]func() *template.Template)
		for _, name := range []string{"refusal", "join", "renew", "ask", "asked", "file", "filemade", "message"} {
			set[name] = sync.OnceValue(func() *template.Template {
				return template.Must(template.ParseFS(files, "layout.html", "made.html", name+".html"))
			})
		}
		return set
	}()
)

func read(name string) string {
	b, err := files.ReadFile(name)
	if err != nil {
		panic(err) // embedded: it is there or nothing was built
	}
	return string(b)
}

// render fills the layout with the page called name.
func render(name string, f frame) Page {
	f.Style, f.T, f.Site = template.CSS(style()), english, clean(f.Site)
	var out bytes.Buffer
	if err := templates[name]().ExecuteTemplate(&out, "layout.html", f); err != nil {
		panic(err) // a template that does not fit its view, which every test shows
	}
	return Page{HTML: out.Bytes(), CSP: policy(string(f.Script), f.Load != nil, f.Form)}
}

// policy allows the one style, the icon inside the page, the script given, and
// what that or a form asks of its own origin.
func policy(script string, load, form bool) string {
	parts := []string{"default-src 'none'", "style-src " + source(style()), "img-src data:"}
	if script != "" {
		parts = append(parts, "script-src "+source(script))
	}
	if load {
		parts[len(parts)-1] += " 'self'"
	}
	if script != "" {
		parts = append(parts, "connect-src 'self'")
	}
	action := "form-action 'none'"
	if form {
		action = "form-action 'self'"
	}
	parts = append(parts, "base-uri 'none'", action, "frame-ancestors 'none'")
	return strings.Join(parts, "; ")
}

// source names an inline text by its hash (CSP level 3, section 2.3.1).
func source(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// maxValue bounds what a stranger can make a page show, in characters.
const maxValue = 256

// clean makes a text from outside fit to be shown: no control characters, no
// marks that turn the direction of writing, and not too long.
func clean(s string) string {
	var out strings.Builder
	n := 0
	for _, r := range s {
		if n++; n > maxValue {
			out.WriteRune('…')
			break
		}
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			r = '·'
		}
		out.WriteRune(r)
	}
	return out.String()
}
