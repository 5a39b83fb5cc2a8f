package http1

import (
	"bufio"
	"bytes"
	"net/http"
	"reflect"
	"testing"
)

// plain are requests that Parse accepts.
var plain = []string{
	"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n",
	"GET /a/b?c=d&e=%20f HTTP/1.1\r\nhost: app.test:8443\r\nUser-Agent: curl/8\r\nAccept: */*\r\n\r\n",
	"GET /%41%2f?a?b HTTP/1.1\r\nHost: [::1]:8443\r\nX-a-B:\t v \t\r\nx-A-b: w\r\nCookie: a=b; c=\"d\"\r\nCookie: e\r\n\r\nGET / HTTP/1.1\r\nHost: app.test\r\n\r\n",
	"GET /;a=b/!$&'()*+,;=:@ HTTP/1.1\r\nHost: a\r\n\r\nrest",
	"GET /? HTTP/1.1\r\nHost: a\r\nEmpty:\r\n\r\n",
}

// odd are requests that it hands on, each for its own reason.
var odd = map[string]string{
	"another method":                   "POST / HTTP/1.1\r\nHost: a\r\n\r\n",
	"a method in small letters":        "get / HTTP/1.1\r\nHost: a\r\n\r\n",
	"an empty line first":              "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"two spaces":                       "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
	"a space in the target":            "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
	"a tab for a space":                "GET /\tHTTP/1.1\r\nHost: a\r\n\r\n",
	"a whole URL":                      "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
	"two slashes first":                "GET //b/ HTTP/1.1\r\nHost: a\r\n\r\n",
	"an asterisk":                      "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
	"a fragment":                       "GET /#a HTTP/1.1\r\nHost: a\r\n\r\n",
	"a bad escape":                     "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n",
	"a letter outside ASCII":           "GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n",
	"HTTP/1.0":                         "GET / HTTP/1.0\r\nHost: a\r\n\r\n",
	"HTTP/1.2":                         "GET / HTTP/1.2\r\nHost: a\r\n\r\n",
	"HTTP/0.9":                         "GET /\r\n\r\n",
	"no host":                          "GET / HTTP/1.1\r\nAccept: a\r\n\r\n",
	"an empty host":                    "GET / HTTP/1.1\r\nHost:\r\n\r\n",
	"two hosts":                        "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
	"two hosts, one in other letters":  "GET / HTTP/1.1\r\nHost: a\r\nhOST: b\r\n\r\n",
	"a host with a user":               "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n",
	"a host with a slash":              "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
	"a line feed alone":                "GET / HTTP/1.1\nHost: a\r\n\r\n",
	"a line feed alone in the header":  "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
	"a carriage return alone":          "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
	"a carriage return too many":       "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n",
	"a header that ends in line feeds": "GET / HTTP/1.1\r\nHost: a\r\n\n",
	"a space before the colon":         "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
	"a space before another colon":     "GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n",
	"a line that goes on":              "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n",
	"a line that goes on like a field": "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n\tY: d\r\n\r\n",
	"a first line that goes on":        "GET / HTTP/1.1\r\n Host: a\r\nHost: a\r\n\r\n",
	"a line without a colon":           "GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n",
	"a field without a name":           "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
	"a name with an underscore":        "GET / HTTP/1.1\r\nHost: a\r\nX_Y: b\r\n\r\n",
	"a NUL in a value":                 "GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n",
	"a length":                         "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
	"a length in other letters":        "GET / HTTP/1.1\r\nHost: a\r\ncontent-lengtH: 5\r\n\r\nhello",
	"a coding":                         "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"a connection that ends":           "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
	"an upgrade":                       "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
	"an expectation":                   "GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n",
	"a trailer":                        "GET / HTTP/1.1\r\nHost: a\r\nTrailer: X\r\n\r\n",
	"trailers wanted":                  "GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n",
	"a field that another is made of":  "GET / HTTP/1.1\r\nHost: a\r\nPragma: no-cache\r\n\r\n",
	"the opening of HTTP/2":            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	"half a head":                      "GET / HTTP/1.1\r\nHost: a\r\n",
	"nothing":                          "",
}

func TestParseLeavesToOthersWhatIsNotPlain(t *testing.T) {
	for name, text := range odd {
		if r, n, ok := Parse([]byte(text)); ok || r != nil || n != 0 {
			t.Errorf("%s: Parse accepted %q", name, text)
		}
	}
	long := "GET / HTTP/1.1\r\nHost: a\r\nX: " + string(bytes.Repeat([]byte("a"), MaxHead)) + "\r\n\r\n"
	many := "GET / HTTP/1.1\r\nHost: a\r\n" + string(bytes.Repeat([]byte("X: a\r\n"), maxFields)) + "\r\n"
	for name, text := range map[string]string{"a long head": long, "many fields": many} {
		if _, _, ok := Parse([]byte(text)); ok {
			t.Errorf("%s: Parse accepted it", name)
		}
	}
}

func TestParseReadsWhatIsPlain(t *testing.T) {
	for _, text := range plain {
		if _, _, ok := Parse([]byte(text)); !ok {
			t.Errorf("Parse hands on %q", text)
		}
		alike(t, []byte(text))
	}
}

// alike checks that the standard library reads what Parse accepts, and the
// same of it.
func alike(t *testing.T, b []byte) {
	t.Helper()
	got, n, ok := Parse(b)
	if !ok {
		return
	}
	source := bytes.NewReader(b)
	buffered := bufio.NewReaderSize(source, 16)
	want, err := http.ReadRequest(buffered)
	if err != nil {
		t.Fatalf("the standard library refuses %q: %v", b, err)
	}
	if used := len(b) - source.Len() - buffered.Buffered(); used != n {
		t.Errorf("of %q Parse used %d bytes, the standard library %d", b, n, used)
	}
	if want.Body != http.NoBody || want.ContentLength != 0 || want.Close || want.TransferEncoding != nil || want.Trailer != nil {
		t.Errorf("of %q the standard library reads more than a plain request", b)
	}
	if got.Method != want.Method || got.Proto != want.Proto || got.ProtoMajor != want.ProtoMajor || got.ProtoMinor != want.ProtoMinor ||
		got.Host != want.Host || got.RequestURI != want.RequestURI || *got.URL != *want.URL || got.Body != http.NoBody || got.ContentLength != 0 {
		t.Errorf("of %q Parse reads\n%#v with %#v\nand the standard library\n%#v with %#v", b, got, got.URL, want, want.URL)
	}
	want.Header.Del("Host") // as its server does
	if !reflect.DeepEqual(got.Header, want.Header) {
		t.Errorf("of %q Parse reads the fields %v, the standard library %v", b, got.Header, want.Header)
	}
}

func FuzzParseReadsAsTheStandardLibraryDoes(f *testing.F) {
	for _, text := range plain {
		f.Add([]byte(text))
	}
	for _, text := range odd {
		f.Add([]byte(text))
	}
	f.Fuzz(alike)
}

func BenchmarkParse(b *testing.B) {
	text := []byte("GET / HTTP/1.1\r\nHost: app.test\r\nUser-Agent: mtlsload\r\nAccept: */*\r\n\r\n")
	b.ReportAllocs()
	for b.Loop() {
		if _, _, ok := Parse(text); !ok {
			b.Fatal("not plain")
		}
	}
}
