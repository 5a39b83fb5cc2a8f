package page

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"sync"
)

// A Script is a script that a page loads from its own origin. It never
// changes, and its name changes with its text.
type Script struct {
	// Name is the last part of its path, such as keymaker-1f2e3d4c.js.
	Name string
	// Integrity is its hash, as Subresource Integrity writes it.
	Integrity string
	// Text is JavaScript.
	Text []byte
	// Gzip returns it compressed, which takes some milliseconds the first time.
	Gzip func() []byte
}

// A LoadedScript is a script at its address.
type LoadedScript struct {
	*Script
	Path string
}

// In returns where the script lies in a folder such as /join/.
func (s *Script) In(folder string) *LoadedScript { return &LoadedScript{s, folder + s.Name} }

// Where pages load the key-maker from.
const (
	JoinFolder  = "/join/"
	RenewFolder = "/.postern/renew/"
)

// Keymaker returns the script that makes a key, a certificate request and a
// PKCS#12 file in the browser. scripts/keymaker builds it from the folder
// keymaker.
func Keymaker() *Script { return keymaker() }

var keymaker = sync.OnceValue(func() *Script {
	text := []byte(read("keymaker.min.js"))
	sum := sha256.Sum256(text)
	return &Script{
		Name:      "keymaker-" + hex.EncodeToString(sum[:4]) + ".js",
		Integrity: "sha256-" + base64.StdEncoding.EncodeToString(sum[:]),
		Text:      text,
		Gzip:      sync.OnceValue(func() []byte { return compress(text) }),
	}
})

func compress(text []byte) []byte {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		panic(err) // a level that is in the standard library
	}
	w.Write(text) // into memory: it does not fail
	w.Close()
	return out.Bytes()
}
