package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"rsc.io/qr"
)

var tenWords = regexp.MustCompile(`[a-z]+(-[a-z]+){9,}`)

// I14: a passphrase is shown to a person, also as the JSON that was asked for,
// and else kept in a file that only its owner reads.
func TestPassphraseGoesToAPersonOrAFile(t *testing.T) {
	for name, c := range map[string]struct {
		terminal, json bool
	}{
		"on a terminal": {terminal: true}, "in a pipe": {}, "as JSON": {json: true}, "as JSON on a terminal": {true, true},
	} {
		t.Run(name, func(t *testing.T) {
			inFolder(t, false)
			w := world{terminal: c.terminal}
			args := []string{"init"}
			if c.json {
				args = append(args, "--json")
			}
			shown := tenWords.FindString(w.do(t, args...))
			if (shown != "") != c.terminal {
				t.Errorf("shown: %q", w.out.String())
			}
			files := keptSecrets(defaultData)
			if (len(files) == 1) != (shown == "") {
				t.Fatalf("files: %v", files)
			}
			if shown == "" {
				checkSecret(t, files[0], tenWords.String())
				if !strings.Contains(w.out.String(), files[0]) {
					t.Errorf("the file is not named: %s", w.out.String())
				}
			}
			if tenWords.MatchString(w.err.String()) {
				t.Error("the passphrase is on standard error")
			}
		})
	}
}

// I14: the same for an invitation.
func TestInvitationGoesToAPersonOrAFile(t *testing.T) {
	for name, c := range map[string]struct {
		terminal, json bool
	}{
		"on a terminal": {terminal: true}, "in a pipe": {}, "as JSON": {json: true},
	} {
		t.Run(name, func(t *testing.T) {
			inFolder(t, true)
			w := world{terminal: c.terminal}
			args := []string{"invite", "anna/phone"}
			if c.json {
				args = append(args, "--json")
			}
			text := w.do(t, args...)
			if shown := strings.Contains(text, "/join#"); shown != (c.terminal || c.json) {
				t.Errorf("shown: %q", text)
			}
			files := keptSecrets(defaultData)
			if len(files) == 1 != (!c.terminal && !c.json) {
				t.Fatalf("files: %v", files)
			}
			if len(files) == 1 {
				checkSecret(t, files[0], `^https://localhost:8444/join#[0-9a-z]+\.[0-9a-z]+\n$`)
				if !strings.Contains(text, files[0]) {
					t.Errorf("the file is not named: %s", text)
				}
			}
			if strings.Contains(w.err.String(), "/join#") {
				t.Error("the link is on standard error")
			}
		})
	}
}

func checkSecret(t *testing.T, path, pattern string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(pattern).Match(data) {
		t.Errorf("%s holds %q", path, data)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%s has mode %v, %v", path, info.Mode(), err)
	}
	if folder, err := os.Stat(filepath.Dir(path)); err != nil || folder.Mode().Perm() != 0o700 {
		t.Errorf("its folder has mode %v, %v", folder.Mode(), err)
	}
}

func TestASecretReplacesNoOther(t *testing.T) {
	dir := t.TempDir()
	first, err := keepSecret(dir, "x", "one")
	if err != nil {
		t.Fatal(err)
	}
	second, err := keepSecret(dir, "x", "two")
	if err != nil || first == second {
		t.Fatalf("%s, %s, %v", first, second, err)
	}
	checkSecret(t, first, "^one\n$")
	checkSecret(t, second, "^two\n$")
	if got := keptSecrets(dir); len(got) != 2 {
		t.Errorf("%v", got)
	}
}

// A phone cannot open localhost, so no code is drawn for it; for a name that
// others can resolve there is one.
func TestQRCodeIsDrawnForPhonesOnly(t *testing.T) {
	inFolder(t, true)
	w := world{terminal: true}
	if text := w.do(t, "invite", "anna/phone"); strings.ContainsAny(text, "█▀▄") || !strings.Contains(text, "A phone cannot open https://localhost:8444") {
		t.Errorf("%s", text)
	}
	if err := os.WriteFile("postern.yaml", []byte("public: {host: join.example.com}\nlisten: \":443\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	text := w.do(t, "invite", "anna/phone")
	if !strings.ContainsAny(text, "█▀▄") || !strings.Contains(text, "postern join 'https://join.example.com/join#") {
		t.Errorf("%s", text)
	}
	for line := range strings.Lines(text) {
		if n := len([]rune(strings.NewReplacer("\x1b[30;107m", "", "\x1b[0m", "", "\n", "").Replace(line))); n > 80 && !strings.Contains(line, "postern join") {
			t.Errorf("%d columns: %q", n, line)
		}
	}
}

// What is drawn reads back as the code that it stands for.
func TestQRCodeIsDrawnRight(t *testing.T) {
	const text = "https://join.example.com/join#72nj6863ja1j6bjpgp7yh4zdz6pf.y13aat4vjdq7tm78s9x80f4ta1w0xc89ny"
	code, err := qr.Encode(text, qr.M)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := drawQR(&b, text); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	for y := range code.Size {
		row := lines[(y+quiet)/2]
		letters := []rune(row[strings.Index(row, "m")+1 : strings.LastIndex(row, "\x1b")])
		for x := range code.Size {
			letter := letters[x+quiet]
			black := letter == '█' || letter == '▀' && (y+quiet)%2 == 0 || letter == '▄' && (y+quiet)%2 == 1
			if black != code.Black(x, y) {
				t.Fatalf("module %d,%d is drawn wrong", x, y)
			}
		}
	}
}

func TestInvitationAsJSON(t *testing.T) {
	inFolder(t, true)
	var w world
	var got map[string]any
	if err := json.Unmarshal([]byte(w.do(t, "invite", "anna/phone", "--json", "--ttl", "1d")), &got); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"link", "code", "name", "expires"} {
		if s, ok := got[key].(string); !ok || s == "" {
			t.Errorf("%s: %v", key, got[key])
		}
	}
}
