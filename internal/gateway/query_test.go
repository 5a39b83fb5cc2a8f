package gateway

import (
	"io"
	"net/http"
	"testing"
	"unicode/utf8"
)

// Letters beyond ASCII in a query, as curl sends them, reach what is behind in
// the one encoding that a request line may hold, over either protocol.
func TestAQueryAsPeopleTypeIt(t *testing.T) {
	w := newWorld(t)
	h := w.open(Options{}, Site{Host: "a.example.com", List: allow(t, "ben"), Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		io.WriteString(rw, r.URL.RawQuery+" "+r.URL.Query().Get("q"))
	})})
	ben := w.enrol("ben")
	conn := h.mustDial(w.clientTLS(ben, "a.example.com"))
	for query, want := range map[string]string{
		"q=grün": "q=gr%C3%BCn grün", "q=日本": "q=%E6%97%A5%E6%9C%AC 日本", "q=gr%C3%BCn&x=%2f": "q=gr%C3%BCn&x=%2f grün",
	} {
		if resp, body := askFor(t, conn, "a.example.com", "/?"+query); resp.StatusCode != http.StatusOK || body != want {
			t.Errorf("%s: %s %q, want %q", query, resp.Status, body, want)
		}
	}
}

func FuzzCanonicalQuery(f *testing.F) {
	f.Add("q=grün&x=%2f")
	f.Add("\xff")
	f.Fuzz(func(t *testing.T, query string) {
		if !visible(query) {
			return
		}
		got := canonicalQuery(query)
		for i := range len(got) {
			if got[i] <= ' ' || got[i] >= 0x7f {
				t.Fatalf("%q has a byte that no request line may hold", got)
			}
		}
		if again := canonicalQuery(got); again != got || !utf8.ValidString(got) || !visible(got) {
			t.Fatalf("%q, and once more %q", got, again)
		}
	})
}
