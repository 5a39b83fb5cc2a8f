package enroll

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The page offers the programs in the operator's folder with their checksums;
// nothing else can be fetched from there, nor from around it.
func TestProgramsAreOffered(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "downloads")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(filepath.Dir(dir), "ledger.key")
	for path, text := range map[string]string{
		filepath.Join(dir, "postern-linux-arm64"): "a program", filepath.Join(dir, "notes.txt"): "private", secret: "a key",
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(secret, filepath.Join(dir, "postern-linux-amd64")); err != nil {
		t.Fatal(err)
	}
	downloads, err := OpenDownloads(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { downloads.Close() })
	root := selfSigned(t)
	h, err := Handler(Options{Authority: &office{}, Roots: func() []*x509.Certificate { return []*x509.Certificate{root} }, Downloads: downloads, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	get := func(path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w
	}
	sum := sha256.Sum256([]byte("a program"))
	text := get("/join").Body.String()
	if !strings.Contains(text, `href="/join/postern-linux-arm64"`) || !strings.Contains(text, hex.EncodeToString(sum[:])) || strings.Contains(text, "amd64") {
		t.Errorf("the page does not offer exactly the one program")
	}
	if w := get("/join/postern-linux-arm64"); w.Body.String() != "a program" || !strings.HasPrefix(w.Header().Get("Content-Disposition"), "attachment") {
		t.Errorf("%q, %v", w.Body, w.Header())
	}
	for _, path := range []string{"/join/notes.txt", "/join/postern-linux-amd64", "/join/postern-darwin-arm64", "/join/..%2fledger.key", "/join/"} {
		if w := get(path); w.Code != http.StatusNotFound || strings.Contains(w.Body.String(), "a key") || strings.Contains(w.Body.String(), "private") {
			t.Errorf("%s: status %d", path, w.Code)
		}
	}
	if none, err := OpenDownloads(filepath.Join(dir, "missing")); err != nil || none.Close() != nil {
		t.Errorf("a folder that is not there: %v", err)
	}
}
