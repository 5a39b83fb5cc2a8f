package gateway

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/refusal"
)

func TestAChangedFileIsServedChanged(t *testing.T) {
	dir := folderOf(t, map[string]string{"index.html": page, "big.bin": strings.Repeat("a", keepOther+1)})
	s := newStatic(t, dir)
	for _, name := range []string{"index.html", "big.bin"} {
		path := filepath.Join(dir, name)
		old := ask(s, "GET", "/"+name)
		text := bodyOf(t, old)
		if again := ask(s, "GET", "/"+name); again.Header.Get("Etag") != old.Header.Get("Etag") {
			t.Errorf("%s: the tag changed and the file did not", name)
		}
		for i := range 3 { // of the same size, and with the same date
			text = fmt.Sprint(i) + text[1:]
			write(t, path, text)
			res := ask(s, "GET", "/"+name)
			if bodyOf(t, res) != text || res.Header.Get("Etag") == old.Header.Get("Etag") {
				t.Fatalf("%s, change %d: the old one is served", name, i)
			}
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if res := ask(s, "GET", "/"+name); res.StatusCode != 404 {
			t.Errorf("%s is gone, and answered %s", name, res.Status)
		}
	}
}

// A file in memory is compared with the one on disk once a second, so a change
// shows within that time.
func TestAFileIsLookedAtOnceASecond(t *testing.T) {
	dir := folderOf(t, map[string]string{"index.html": page})
	s, err := NewStatic(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	old := bodyOf(t, ask(s, "GET", "/"))
	for { // what has just been written is not trusted yet
		bodyOf(t, ask(s, "GET", "/"))
		if s.cache.recent("index.html", time.Now()) != nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if s.cache.recent("index.html", time.Now().Add(fileCheck)) != nil {
		t.Error("it is trusted for longer than that")
	}
	write(t, filepath.Join(dir, "index.html"), old+"<p>new")
	for end := time.Now().Add(20 * time.Second); bodyOf(t, ask(s, "GET", "/")) == old; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the old one is served for ever")
		}
	}
	if err := os.Remove(filepath.Join(dir, "index.html")); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); ask(s, "GET", "/").StatusCode != 404; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("a removed file is served for ever")
		}
	}
}

// While a file is written in place and replaced as fast as possible, no
// answer that ended well holds parts of two.
func TestNoAnswerIsHalfOldAndHalfNew(t *testing.T) {
	for name, size := range map[string]int{"small.html": 40_000, "big.bin": 3 << 20} {
		t.Run(name, func(t *testing.T) {
			dir := folderOf(t, map[string]string{name: strings.Repeat("a", size)})
			front := httptest.NewServer(newStatic(t, dir))
			defer front.Close()
			stop := make(chan struct{})
			var wg sync.WaitGroup
			wg.Go(func() { scribble(t, dir, name, size, stop) })
			whole, broken := 0, 0
			for end := time.Now().Add(1500 * time.Millisecond); time.Now().Before(end); {
				res, err := http.Get(front.URL + "/" + name)
				if err != nil {
					broken++
					continue
				}
				body, err := io.ReadAll(res.Body)
				res.Body.Close()
				if err != nil || res.StatusCode == 503 || res.StatusCode == 404 {
					broken++
					continue
				}
				if len(body) == size {
					whole++ // a writer that is held up leaves a short file for a while, which is no mixture
				}
				if res.StatusCode != 200 || len(body) > size || len(body) > 0 && bytes.Count(body, body[:1]) != len(body) {
					t.Errorf("%s: %d bytes, %d of them %q", res.Status, len(body), bytes.Count(body, body[:1]), body[:1])
					break
				}
			}
			close(stop)
			wg.Wait()
			t.Logf("%d whole answers, %d broken off", whole, broken)
			if whole == 0 {
				t.Error("no answer was whole: the test shows nothing")
			}
		})
	}
}

// scribble changes a file again and again, in place and by replacing it.
func scribble(t *testing.T, dir, name string, size int, stop <-chan struct{}) {
	path := filepath.Join(dir, name)
	for i := 0; ; i++ {
		text := bytes.Repeat([]byte{'a' + byte(i%26)}, size)
		target := path
		if i%2 == 0 {
			target = filepath.Join(dir, ".new")
		}
		if err := os.WriteFile(target, text, 0o644); err != nil {
			t.Error(err)
			return
		}
		if target != path {
			if err := os.Rename(target, path); err != nil {
				t.Error(err)
				return
			}
		}
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(i%5) * 30 * time.Millisecond):
		}
	}
}

func TestAFolderThatVanishesIsAClosedSiteUntilItIsBack(t *testing.T) {
	dir := folderOf(t, map[string]string{"index.html": "one", "sub/x.txt": "x"})
	s := newStatic(t, dir)
	var code refusal.Code
	var detail string
	h := s.Handler(func(w http.ResponseWriter, _ *http.Request, c refusal.Code, d string) {
		code, detail = c, d
		w.WriteHeader(refusal.Lookup(c).Status)
	})
	if res := ask(h, "GET", "/"); bodyOf(t, res) != "one" {
		t.Fatal(res.Status)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/", "/sub/x.txt", "/nothing"} {
		if res := ask(h, "GET", path); res.StatusCode != 503 || code != refusal.NotConfigured || !strings.Contains(detail, dir) || bodyOf(t, res) != "" {
			t.Fatalf("%s: %s %s %s", path, res.Status, code, detail)
		}
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "index.html"), "two")
	s.folder.due.Store(0) // as a second later
	if res := ask(h, "GET", "/"); bodyOf(t, res) != "two" {
		t.Fatal("the new folder is not served: ", res.Status)
	}
	// Replaced by another at one stroke, as deploying does.
	next := filepath.Join(filepath.Dir(dir), "next")
	write(t, filepath.Join(next, "index.html"), "three")
	if err := os.Rename(dir, dir+".old"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, dir); err != nil {
		t.Fatal(err)
	}
	s.folder.due.Store(0)
	if res := ask(h, "GET", "/"); bodyOf(t, res) != "three" {
		t.Fatal("the folder moved away is served")
	}
	s.Close()
	if res := ask(h, "GET", "/"); res.StatusCode != 503 {
		t.Fatal(res.Status)
	}
}

func TestMemoryStaysWithinTheBudget(t *testing.T) {
	files := map[string]string{}
	for i := range 60 {
		files[fmt.Sprintf("%d.txt", i)] = strings.Repeat(fmt.Sprint(i), 5000)
	}
	s := newStatic(t, folderOf(t, files))
	s.cache = newContentCache(100_000)
	for range 2 {
		for name, text := range files {
			if bodyOf(t, ask(s, "GET", "/"+name)) != text {
				t.Fatal(name)
			}
			s.cache.mu.Lock()
			used, sum := s.cache.used, int64(0)
			for _, e := range s.cache.entries {
				sum += e.Value.(*cached).content.cost()
			}
			s.cache.mu.Unlock()
			if used > 100_000 || used != sum {
				t.Fatalf("%d bytes used, %d counted", used, sum)
			}
		}
	}
}

func TestOneReadServesAllWhoAskAtOnce(t *testing.T) {
	c := newContentCache(1 << 20)
	reads := 0
	begun, release := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	read := func() (*content, error) {
		reads++
		close(begun)
		<-release
		return &content{plain: newVariant([]byte("x"))}, nil
	}
	ask := func() {
		if got, err := c.content("a", stamp{}, read); err != nil || string(got.plain.bytes) != "x" {
			t.Error(got, err)
		}
	}
	wg.Go(ask)
	<-begun
	for range 10 {
		wg.Go(ask)
	}
	time.Sleep(20 * time.Millisecond)
	close(release)
	wg.Wait()
	if reads != 1 {
		t.Fatalf("%d reads", reads)
	}
}
