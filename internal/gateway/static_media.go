package gateway

import (
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
)

// A mediaType is how files of one kind are announced and kept.
type mediaType struct {
	name []string // the Content-Type field
	text bool     // worth compressing
}

// keep returns the size up to which files of the kind are kept in memory.
func (m mediaType) keep() int64 {
	if m.text {
		return keepText
	}
	return keepOther
}

// Header fields that never change, ready to send.
var (
	gzipEncoding   = []string{"gzip"}
	acceptRanges   = []string{"bytes"}
	varyEncoding   = []string{"Accept-Encoding"}
	noSniff        = []string{"nosniff"}
	revalidate     = []string{"private, no-cache"}
	unknownContent = mediaType{name: []string{"application/octet-stream"}}
)

// describe writes the fields that all answers with such a file share. The
// browser may keep the file but asks each time whether it may show it, and so
// learns at once that it may no longer, or that there is a new one.
func (m mediaType) describe(h http.Header, varies bool) {
	h["Content-Type"], h["X-Content-Type-Options"], h["Cache-Control"] = m.name, noSniff, revalidate
	if varies {
		h["Vary"] = varyEncoding
	}
}

// mediaTypes are the kinds by extension, the same on every machine, whatever
// its own tables say.
var mediaTypes = map[string]mediaType{
	".html": textual("text/html; charset=utf-8"), ".htm": textual("text/html; charset=utf-8"),
	".xhtml": textual("application/xhtml+xml"),
	".css":   textual("text/css; charset=utf-8"),
	".js":    textual("text/javascript; charset=utf-8"), ".mjs": textual("text/javascript; charset=utf-8"),
	".json": textual("application/json"), ".map": textual("application/json"), ".geojson": textual("application/geo+json"),
	".jsonld": textual("application/ld+json"), ".webmanifest": textual("application/manifest+json"),
	".xml": textual("text/xml; charset=utf-8"), ".rss": textual("application/rss+xml"), ".atom": textual("application/atom+xml"),
	".svg": textual("image/svg+xml"), ".wasm": textual("application/wasm"),
	".txt": textual("text/plain; charset=utf-8"), ".log": textual("text/plain; charset=utf-8"),
	".md": textual("text/markdown; charset=utf-8"), ".csv": textual("text/csv; charset=utf-8"),
	".ics": textual("text/calendar; charset=utf-8"), ".vcf": textual("text/vcard; charset=utf-8"),
	".vtt": textual("text/vtt; charset=utf-8"), ".yaml": textual("application/yaml"), ".yml": textual("application/yaml"),
	".ttf": textual("font/ttf"), ".otf": textual("font/otf"), ".ico": textual("image/vnd.microsoft.icon"), ".bmp": textual("image/bmp"),
	".woff": binary("font/woff"), ".woff2": binary("font/woff2"),
	".png": binary("image/png"), ".apng": binary("image/apng"), ".jpg": binary("image/jpeg"), ".jpeg": binary("image/jpeg"),
	".gif": binary("image/gif"), ".webp": binary("image/webp"), ".avif": binary("image/avif"), ".jxl": binary("image/jxl"),
	".tif": binary("image/tiff"), ".tiff": binary("image/tiff"), ".heic": binary("image/heic"),
	".mp3": binary("audio/mpeg"), ".m4a": binary("audio/mp4"), ".ogg": binary("audio/ogg"), ".oga": binary("audio/ogg"),
	".opus": binary("audio/ogg"), ".wav": binary("audio/wav"), ".flac": binary("audio/flac"), ".aac": binary("audio/aac"),
	".mp4": binary("video/mp4"), ".m4v": binary("video/mp4"), ".webm": binary("video/webm"), ".ogv": binary("video/ogg"),
	".mov": binary("video/quicktime"), ".mkv": binary("video/matroska"),
	".pdf": binary("application/pdf"), ".epub": binary("application/epub+zip"), ".zip": binary("application/zip"),
	".gz": binary("application/gzip"), ".tgz": binary("application/gzip"), ".zst": binary("application/zstd"),
	".bz2": binary("application/x-bzip2"), ".xz": binary("application/x-xz"), ".7z": binary("application/x-7z-compressed"),
	".tar": binary("application/x-tar"), ".deb": binary("application/vnd.debian.binary-package"),
	".apk": binary("application/vnd.android.package-archive"), ".p12": binary("application/x-pkcs12"), ".pfx": binary("application/x-pkcs12"),
	".crt": binary("application/x-x509-ca-cert"), ".cer": binary("application/pkix-cert"), ".crl": binary("application/pkix-crl"),
	".pem": binary("application/x-pem-file"), ".mobileconfig": binary("application/x-apple-aspen-config"),
}

func textual(name string) mediaType { return mediaType{name: []string{name}, text: true} }

func binary(name string) mediaType { return mediaType{name: []string{name}} }

// mediaTypeOf returns the kind of a file by its name. An unknown one is
// offered for saving, never shown.
func mediaTypeOf(name string) mediaType {
	ext := path.Ext(name)
	if m, ok := mediaTypes[ext]; ok {
		return m
	}
	ext = strings.ToLower(ext)
	if m, ok := mediaTypes[ext]; ok {
		return m
	}
	if t := mime.TypeByExtension(ext); t != "" {
		return mediaType{name: []string{t}, text: strings.HasPrefix(t, "text/")}
	}
	return unknownContent
}

// conditional reports whether the answer depends on what the client has
// already.
func conditional(h http.Header) bool {
	for _, name := range [...]string{"If-None-Match", "If-Modified-Since", "Range", "If-Match", "If-Unmodified-Since", "If-Range"} {
		if h[name] != nil {
			return true
		}
	}
	return false
}

// acceptsGzip reports whether the client takes gzip (RFC 9110 section
// 12.5.3).
func acceptsGzip(fields []string) bool {
	named, any := -1.0, -1.0
	for _, field := range fields {
		if field == "gzip, deflate, br, zstd" || field == "gzip, deflate, br" || field == "gzip" {
			return true // what browsers send
		}
		for item := range strings.SplitSeq(field, ",") {
			coding, params, _ := strings.Cut(item, ";")
			switch strings.ToLower(strings.TrimSpace(coding)) {
			case "gzip", "x-gzip":
				named = max(named, quality(params))
			case "*":
				any = max(any, quality(params))
			}
		}
	}
	if named >= 0 {
		return named > 0
	}
	return any > 0
}

// quality returns the weight among the parameters of one item; what cannot
// be read weighs nothing.
func quality(params string) float64 {
	for param := range strings.SplitSeq(params, ";") {
		name, value, ok := strings.Cut(param, "=")
		if !ok || !strings.EqualFold(strings.TrimSpace(name), "q") {
			continue
		}
		q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err != nil || !(q >= 0 && q <= 1) {
			return 0
		}
		return q
	}
	return 1
}
