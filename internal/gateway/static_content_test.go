package gateway

import (
	"compress/gzip"
	"crypto/rand"
	"fmt"
	"io"
	"strings"
	"testing"
)

func TestCompressedAndPlainAreTwoThings(t *testing.T) {
	noise := make([]byte, 4096)
	rand.Read(noise)
	dir := folderOf(t, map[string]string{"index.html": page, "small.txt": "small", "noise.txt": string(noise), "a.png": page, "big.js": strings.Repeat("x", keepText+1)})
	s := newStatic(t, dir)
	for name, c := range map[string]struct {
		path, accept string
		gzip, vary   bool
	}{
		"a browser":                  {"/", "gzip, deflate, br, zstd", true, true},
		"gzip alone":                 {"/", "gzip", true, true},
		"in capitals with weights":   {"/", "br;q=1.0, GZIP;q=0.5", true, true},
		"anything":                   {"/", "*", true, true},
		"anything but gzip":          {"/", "gzip;q=0, *", false, true},
		"gzip of no weight":          {"/", "gzip; q=0.000", false, true},
		"a weight that is none":      {"/", "gzip;q=x", false, true},
		"another":                    {"/", "br", false, true},
		"a word that begins like it": {"/", "gzipped", false, true},
		"no word of it":              {"/", "", false, true},
		"too small to pay":           {"/small.txt", "gzip", false, false},
		"nothing to gain":            {"/noise.txt", "gzip", false, false},
		"a kind that is compressed":  {"/a.png", "gzip", false, false},
		"larger than what is kept":   {"/big.js", "gzip", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			res := ask(s, "GET", c.path, "Accept-Encoding", c.accept)
			body := bodyOf(t, res)
			if got := res.Header.Get("Content-Encoding") == "gzip"; got != c.gzip || (res.Header.Get("Vary") == "Accept-Encoding") != c.vary {
				t.Fatal(res.Header)
			}
			if res.Header.Get("Content-Length") != fmt.Sprint(len(body)) {
				t.Errorf("%d bytes, announced %s", len(body), res.Header.Get("Content-Length"))
			}
			if c.gzip && unpack(t, body) != page {
				t.Error("another text")
			}
		})
	}
	plain, packed := ask(s, "GET", "/"), ask(s, "GET", "/", "Accept-Encoding", "gzip")
	tag, zipTag := plain.Header.Get("Etag"), packed.Header.Get("Etag")
	if tag == zipTag || tag == "" || strings.HasPrefix(zipTag, "W/") {
		t.Fatalf("tags %s and %s", tag, zipTag)
	}
	for name, c := range map[string]struct {
		accept, tag string
		status      int
	}{
		"the plain one again":      {"", tag, 304},
		"the packed one again":     {"gzip", zipTag, 304},
		"one of several":           {"gzip", `"x", ` + zipTag, 304},
		"any":                      {"gzip", "*", 304},
		"packed, and plain is had": {"gzip", tag, 200},
		"plain, and packed is had": {"", zipTag, 200},
	} {
		t.Run(name, func(t *testing.T) {
			res := ask(s, "GET", "/", "Accept-Encoding", c.accept, "If-None-Match", c.tag)
			if res.StatusCode != c.status || res.Header.Get("Vary") != "Accept-Encoding" || res.Header.Get("Etag") == "" {
				t.Fatal(res.Status, res.Header)
			}
			if body := bodyOf(t, res); c.status == 200 && res.Header.Get("Content-Length") != fmt.Sprint(len(body)) {
				t.Fatal(res.Header)
			}
		})
	}
}

func unpack(t *testing.T, s string) string {
	t.Helper()
	z, err := gzip.NewReader(strings.NewReader(s))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestRangesAndConditions(t *testing.T) {
	big := strings.Repeat("0123456789", keepOther/10+100)
	s := newStatic(t, folderOf(t, map[string]string{"small.bin": "0123456789", "big.bin": big}))
	for _, file := range []string{"/small.bin", "/big.bin"} {
		first := ask(s, "GET", file)
		whole, tag, date := bodyOf(t, first), first.Header.Get("Etag"), first.Header.Get("Last-Modified")
		for name, c := range map[string]struct {
			fields []string
			status int
			body   string
		}{
			"the start":                    {[]string{"Range", "bytes=0-3"}, 206, "0123"},
			"the end":                      {[]string{"Range", "bytes=-2"}, 206, "89"},
			"from the middle":              {[]string{"Range", fmt.Sprintf("bytes=%d-", len(whole)-3)}, 206, "789"},
			"past the end":                 {[]string{"Range", "bytes=99999999-"}, 416, ""},
			"another unit":                 {[]string{"Range", "lines=1-2"}, 416, ""},
			"the rest of the same":         {[]string{"Range", "bytes=0-1", "If-Range", tag}, 206, "01"},
			"the rest of another":          {[]string{"Range", "bytes=0-1", "If-Range", `"old"`}, 200, whole},
			"the rest by a date":           {[]string{"Range", "bytes=0-1", "If-Range", date}, 200, whole},
			"unchanged by date":            {[]string{"If-Modified-Since", date}, 304, ""},
			"changed by date":              {[]string{"If-Modified-Since", "Mon, 02 Jan 2006 15:04:05 GMT"}, 200, whole},
			"the tag counts, not the date": {[]string{"If-Modified-Since", date, "If-None-Match", `"old"`}, 200, whole},
			"only if it is this one":       {[]string{"If-Match", tag}, 200, whole},
			"only if it is another":        {[]string{"If-Match", `"old"`}, 412, ""},
			"only if not changed since":    {[]string{"If-Unmodified-Since", "Mon, 02 Jan 2006 15:04:05 GMT"}, 412, ""},
		} {
			t.Run(file+" "+name, func(t *testing.T) {
				res := ask(s, "GET", file, c.fields...)
				body := bodyOf(t, res)
				if res.StatusCode != c.status || c.status < 300 && body != c.body {
					t.Fatalf("%s %.40q %v", res.Status, body, res.Header)
				}
				if n := res.Header.Get("Content-Length"); n != "" && n != fmt.Sprint(len(body)) {
					t.Fatalf("%d bytes, announced %s", len(body), n)
				}
			})
		}
	}
}

func FuzzAcceptsGzip(f *testing.F) {
	f.Add("gzip;q=0, *;q=1")
	f.Fuzz(func(t *testing.T, s string) {
		if acceptsGzip([]string{s}) && !strings.Contains(strings.ToLower(s), "gzip") && !strings.Contains(s, "*") {
			t.Fatalf("%q accepts gzip", s)
		}
		if acceptsGzip([]string{s, "gzip;q=0, *;q=0"}) && !acceptsGzip([]string{s}) {
			t.Fatalf("%q accepts gzip only after it was refused", s)
		}
	})
}
