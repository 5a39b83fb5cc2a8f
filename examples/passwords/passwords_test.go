// Package passwords_test works the test vectors of the password maker out once
// more, in another language and from the description in README.md, and has
// Node run the page's own code against them.
package passwords_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// vectors is vectors.json.
type vectors struct {
	Passwords []struct {
		Secret, Site, Account string
		Counter, Length       int
		Chosen                []string
		Salt, Password        string
	}
	Fingerprints []struct {
		Secret string
		Words  []string
	}
}

const iterations = 600_000

// spot is the distance of the vectors that Go works out as well; Node runs all.
// The slow step is the point of the thing, and slower still under -race.
const spot = 3

// classes are the characters of each class, in the order of the alphabet.
var classes = [][2]string{
	{"lower", "abcdefghijkmnopqrstuvwxyz"},
	{"upper", "ABCDEFGHJKLMNPQRSTUVWXYZ"},
	{"digits", "23456789"},
	{"symbols", "!#$%&*+-=?@_"},
}

func load(t *testing.T) (v vectors) {
	t.Helper()
	data, err := os.ReadFile("vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Passwords) < 10 || len(v.Fingerprints) < 3 {
		t.Fatal("vectors are missing")
	}
	return v
}

func TestVectorsFollowFromTheDescription(t *testing.T) {
	t.Parallel()
	v := load(t)
	for i, c := range v.Passwords {
		if i%spot != 0 {
			continue
		}
		if got := password(t, c.Secret, c.Salt, c.Length, c.Chosen); got != c.Password {
			t.Errorf("%q on %q: got %s, want %s", c.Secret, c.Site, got, c.Password)
		}
	}
	words := regexp.MustCompile(`[a-z]+`).FindAllString(wordList(t), -1)
	if len(words) != 64 {
		t.Fatalf("%d words, want 64", len(words))
	}
	for _, c := range v.Fingerprints[:1] {
		out := stretch(t, c.Secret, "postern-passwords-1\nfingerprint")
		got := []string{words[out[0]&63], words[out[1]&63], words[out[2]&63]}
		if !slices.Equal(got, c.Words) {
			t.Errorf("fingerprint of %q: got %v, want %v", c.Secret, got, c.Words)
		}
	}
}

func stretch(t *testing.T, secret, salt string) []byte {
	t.Helper()
	out, err := pbkdf2.Key(sha256.New, secret, []byte(salt), iterations, 32)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func password(t *testing.T, secret, salt string, length int, chosen []string) string {
	var need []string
	for _, class := range classes {
		if slices.Contains(chosen, class[0]) {
			need = append(need, class[1])
		}
	}
	alphabet := strings.Join(need, "")
	key, candidate := stretch(t, secret, salt), []byte(nil)
	for n := uint32(1); ; n++ {
		block := hmac.New(sha256.New, key)
		binary.Write(block, binary.BigEndian, n)
		for _, b := range block.Sum(nil) {
			if int(b) >= 256/len(alphabet)*len(alphabet) {
				continue
			}
			candidate = append(candidate, alphabet[int(b)%len(alphabet)])
			if len(candidate) < length {
				continue
			}
			if !slices.ContainsFunc(need, func(class string) bool { return !bytes.ContainsAny(candidate, class) }) {
				return string(candidate)
			}
			candidate = nil
		}
	}
}

// wordList returns the part of README.md that lists the words.
func wordList(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, ok := strings.Cut(string(text), "<!-- words -->")
	list, _, ok2 := strings.Cut(after, "<!-- end -->")
	if !ok || !ok2 {
		t.Fatal("README.md has no list of words")
	}
	return strings.Trim(list, "`\n")
}

func TestThePageMakesTheVectors(t *testing.T) {
	t.Parallel()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Fatal("node is needed to run the page's code: apt-get install nodejs")
	}
	out, err := exec.CommandContext(t.Context(), node, "testdata/vectors.js").CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestREADMEShowsTheVectors(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range load(t).Passwords[:4] {
		if !bytes.Contains(text, []byte("`"+c.Password+"`")) {
			t.Errorf("README.md lacks %s for %s", c.Password, c.Site)
		}
	}
}

// The page may load only what lies beside it and may send nothing.
func TestThePageKeepsToItself(t *testing.T) {
	html, err := os.ReadFile("index.html")
	if err != nil {
		t.Fatal(err)
	}
	const policy = `content="default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; base-uri 'none'; form-action 'none'"`
	if !bytes.Contains(html, []byte(policy)) {
		t.Error("index.html lacks its policy")
	}
	for _, m := range regexp.MustCompile(`(?:src|href)="([^"]*)"`).FindAllSubmatch(html, -1) {
		if name := string(m[1]); !strings.HasPrefix(name, "data:") {
			if _, err := os.Stat(name); err != nil {
				t.Errorf("index.html loads %s", name)
			}
		}
	}
	if bad := regexp.MustCompile(` (?:style|on[a-z]+)=`).Find(html); bad != nil {
		t.Errorf("index.html uses%s, which its policy blocks", bad)
	}
	for _, name := range []string{"app.js", "derive.js"} {
		code, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range []string{"fetch(", "XMLHttpRequest", "WebSocket", "sendBeacon", "innerHTML", "eval(", "console."} {
			if bytes.Contains(code, []byte(word)) {
				t.Errorf("%s uses %s", name, word)
			}
		}
	}
}
