package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"

	"github.com/postern-project/postern/internal/backup"
)

// A life is a house with everything switched on whose every word is kept.
type life struct {
	*acmeHouse
	said    map[string]string // what was printed, logged and exported, by where
	secrets map[string]string // in every form, with what they are
}

// say runs a command that has no secret to show, and keeps what it says.
func (l *life) say(args ...string) string {
	l.t.Helper()
	out, errout, code := l.command(args...)
	if code != 0 {
		l.t.Fatalf("postern %s exited with %d:\n%s%s\nserver said:\n%s", strings.Join(args, " "), code, out, errout, l.output)
	}
	l.said[fmt.Sprintf("%s (%d)", strings.Join(args, " "), len(l.said))] = out + errout
	return out
}

// hide keeps a secret in the forms in which somebody could write it down.
func (l *life) hide(what string, secret []byte) {
	if len(secret) < 8 {
		l.t.Fatalf("%s is too short to look for", what)
	}
	for _, form := range []string{
		string(secret), hex.EncodeToString(secret), strings.ToUpper(hex.EncodeToString(secret)),
		base64.StdEncoding.EncodeToString(secret), base64.RawURLEncoding.EncodeToString(secret), fmt.Sprint(secret),
	} {
		l.secrets[strings.TrimRight(form, "=")] = what
	}
}

// hideKey keeps a private key: the whole of it, and the number alone.
func (l *life) hideKey(what string, text []byte) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "PRIVATE KEY" {
			continue
		}
		l.hide(what, block.Bytes)
		// the private number ends in the second line, the public one follows
		for _, line := range strings.Split(string(pem.EncodeToMemory(block)), "\n")[1:3] {
			if len(line) > 40 {
				l.secrets[line] = what
			}
		}
		key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			l.t.Fatal(err)
		}
		if k, ok := key.(*ecdsa.PrivateKey); ok {
			number, err := k.Bytes()
			if err != nil {
				l.t.Fatal(err)
			}
			l.hide(what+", the number", number)
		}
	}
}

// A whole life, from an empty folder on, at the log's most talkative: nothing
// that is a secret stands in the log, in an output, in an export or in a backup;
// every file in the data folder is of a kind that a backup knows; and every
// certificate that came into being is in the ledger, with the door it came by.
func TestAWholeLifeLeavesNoSecretBehind(t *testing.T) {
	t.Parallel()
	l := &life{acmeHouse: newLife(t), said: map[string]string{}, secrets: map[string]string{}}
	// every door: invitation, approval by a second one, request, own key, renewal
	laptop := l.enrol("ben/laptop")
	l.say("renew", laptop)
	l.say("issue", "services/checkout", "--profile", "service", "--out", filepath.Join(l.home, "devices", "checkout"))
	key := newKey(t)
	request := filepath.Join(l.home, "shop.csr")
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	writeTo(t, request, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr}))
	l.say("sign", "shop", request, "--out", filepath.Join(l.home, "devices", "shop.pem"))
	code := l.invitation("anna/phone") // and nobody comes
	chain := l.order(t)
	writeTo(t, filepath.Join(l.home, "devices", "acme.pem"), chain)
	// what keeps it going
	l.say("group", "add", "family", "ben")
	passphrase := filepath.Join(l.data, "secrets", "root-passphrase.txt")
	l.env = append(l.env, "POSTERN_ROOT_PASSPHRASE_FILE="+passphrase)
	l.say("issuer", "rotate", "clients", "--root-key", filepath.Join(l.data, "root.key.age"))
	l.say("issuer", "rotate", "clients")
	l.say("issue", "ben/tablet", "--out", filepath.Join(l.home, "devices", "tablet"))
	l.say("issuer", "rotate", "servers") // a request that waits, with its key
	l.say("revoke", "ben/tablet")
	words := filepath.Join(l.home, "words.txt")
	writeTo(t, words, []byte("correct horse battery staple nine\n"))
	if err := os.Chmod(words, 0o600); err != nil {
		t.Fatal(err)
	}
	id, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	l.say("backup", "--out", "plain.backup")
	l.say("backup", "--out", "sealed.backup", "--with-keys", "--passphrase-file", words)
	l.say("backup", "--out", "sealed2.backup", "--with-keys", "--recipient", id.Recipient().String())
	// a visitor in, one turned away, and somebody who guesses a code
	l.get(l.client(l.tls(laptop, "localhost")), "localhost")
	_, _, refused := l.get(l.client(l.tls("", "localhost")), "localhost")
	l.command("join", strings.Replace(code, "#", "#aaaa", 1), "--out", "nowhere")
	for _, args := range [][]string{
		{"status"}, {"list", "--json"}, {"list", "certificates", "--json"}, {"list", "invites", "--json"}, {"list", "issuers", "--json"},
		{"list", "requests", "--json"}, {"show", "ben", "--json"}, {"acme", "accounts", "--json"}, {"acme", "orders", "--json"},
		{"explain", refused.Reference}, {"crl", "export", "--out", "lists"}, {"ledger", "export"}, {"ledger", "verify"}, {"root", "show", "--transcripts"},
		{"check", "--print"}, {"issuer", "list", "--json"}, {"explain", filepath.Join(laptop, "cert.pem")},
	} {
		l.say(args...)
	}
	first := l.output.String()
	l.kill()
	l.open()
	l.say("ledger", "verify")
	l.said["the log"] = first + l.output.String()

	l.gather(t, map[string][]byte{
		"a code nobody used": []byte(codeOf(t, code)), "the passphrase of a backup": []byte("correct horse battery staple nine"),
		"the identity of a backup": []byte(id.String()),
	})
	l.search(t)
	l.account(t)
}

// order obtains a certificate by ACME with a key for an account, and keeps the
// secrets of that.
func (l *life) order(t *testing.T) []byte {
	t.Helper()
	const host = "life.acme.internal"
	l.dns.setAddress(host, "127.0.0.1")
	s := &solver{answers: map[string]string{}, dns: l.dns}
	b, ctx := l.bind("services/life"), t.Context()
	unused := l.bind("services/unused")
	c := &acmez.Client{
		Client: &acme.Client{
			Directory: b.Directory, PollInterval: 50 * time.Millisecond,
			HTTPClient: &http.Client{Transport: &http.Transport{TLSClientConfig: l.tls("", "localhost")}},
		},
		ChallengeSolvers: map[string]acmez.Solver{acme.ChallengeTypeDNS01: s},
	}
	fine := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%v\nserver said:\n%s", err, l.output)
		}
	}
	account := acme.Account{TermsOfServiceAgreed: true, PrivateKey: newKey(t)}
	fine(account.SetExternalAccountBinding(ctx, c.Client, acme.EAB{KeyID: b.Kid, MACKey: b.HMACKey}))
	account, err := c.NewAccount(ctx, account)
	fine(err)
	csr, err := acmez.NewCSR(newKey(t), []string{host})
	fine(err)
	params, err := acmez.OrderParametersFromCSR(account, csr)
	fine(err)
	chains, err := c.ObtainCertificate(ctx, params)
	fine(err)
	for _, k := range []string{b.HMACKey, unused.HMACKey} {
		raw, err := base64.RawURLEncoding.DecodeString(k)
		fine(err)
		l.hide("a key for an ACME account", raw)
	}
	return chains[0].ChainPEM
}

// newLife has a site with tokens, an ACME server and lists served.
func newLife(t *testing.T) *acmeHouse {
	t.Helper()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	h := &acmeHouse{door: newDoor(t), dns: newDNS(t), httpPort: port, tlsPort: port + 1}
	writeTo(t, filepath.Join(h.home, "postern.yaml"), fmt.Appendf(nil, `log: {level: debug}
sites:
  localhost: {proxy: %s, allow: [ben, anna], identity: [jwt]}
public: {url: "http://pki.example.com"}
acme:
  server:
    names: ["*.acme.internal"]
    networks: [127.0.0.0/8]
    resolver: %s
    http_port: %d
    tls_port: %d
`, echo(t).URL, h.dns.addr(), port, port+1))
	h.open()
	var status struct {
		PublicURL string `json:"public_url"`
	}
	if err := json.Unmarshal([]byte(h.run("status", "--json")), &status); err != nil {
		t.Fatal(err)
	}
	h.directory, h.root = status.PublicURL+"/acme/server/directory", filepath.Join(h.data, "root.pem")
	return h
}

func writeTo(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// codeOf returns the code in an invitation's link.
func codeOf(t *testing.T, link string) string {
	t.Helper()
	_, fragment, ok := strings.Cut(link, "#")
	words := regexp.MustCompile(`[0-9A-Za-z-]{20,}`).FindAllString(fragment, -1)
	if !ok || len(words) == 0 {
		t.Fatalf("no code in %q", link)
	}
	return words[0]
}

// gather collects every secret that lies in the house.
func (l *life) gather(t *testing.T, others map[string][]byte) {
	t.Helper()
	for what, secret := range others {
		l.hide(what, secret)
	}
	files := 0
	err := filepath.WalkDir(l.home, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(l.data, path)
		switch {
		case filepath.Base(path) == "acme.key":
			raw, err := hex.DecodeString(strings.TrimSpace(string(text)))
			if err != nil {
				return err
			}
			l.hide("acme.key", raw)
		case strings.HasPrefix(rel, "secrets"+string(filepath.Separator)):
			l.hide(rel, bytes.TrimSpace(text))
		case bytes.Contains(text, []byte("-----BEGIN PRIVATE KEY-----")):
			l.hideKey(rel, text)
		default:
			return nil
		}
		files++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if files < 12 {
		t.Errorf("only %d files with secrets were found: the test looks for too little", files)
	}
}

// search looks for every secret in all that was said, in the ledger's database
// and in the backups.
func (l *life) search(t *testing.T) {
	t.Helper()
	for _, name := range []string{"data/postern.db", "data/postern.db-wal", "data/refusals/refusals.jsonl", "plain.backup", "sealed.backup", "sealed2.backup"} {
		if data, err := os.ReadFile(filepath.Join(l.home, name)); err == nil {
			l.said[name] = string(data)
		} else if name != "data/postern.db-wal" {
			t.Error(err)
		}
	}
	// that a secret would be found at all
	l.said["the proof"] = "x" + slices.Sorted(maps.Keys(l.secrets))[0] + "x"
	found := 0
	for where, text := range l.said {
		for secret, what := range l.secrets {
			if !strings.Contains(text, secret) {
				continue
			}
			if found++; where != "the proof" {
				t.Errorf("%s stands in %s", what, where)
			}
		}
	}
	if found == 0 {
		t.Error("the search finds nothing")
	}
}

// account has every file in the data folder and every certificate in the house
// accounted for.
func (l *life) account(t *testing.T) {
	t.Helper()
	found := map[string]string{} // where a certificate is, by its serial number
	err := filepath.WalkDir(l.home, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		if rel, err := filepath.Rel(l.data, path); err == nil && filepath.IsLocal(rel) && backup.TreatmentOf(filepath.ToSlash(rel)) == backup.Unknown {
			t.Errorf("%s is a file in the data folder that internal/backup does not know: say there what a backup does with it", rel)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
			if block.Type != "CERTIFICATE" {
				continue
			}
			c, err := x509.ParseCertificate(block.Bytes)
			if err != nil || c.IsCA {
				continue
			}
			found[hex.EncodeToString(c.SerialNumber.Bytes())] = path // as the ledger writes it: without leading zeros
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	// listed afterwards, since devices renew meanwhile
	var listed []struct{ Serial, Via string }
	if err := json.Unmarshal([]byte(l.run("list", "certificates", "--json")), &listed); err != nil {
		t.Fatal(err)
	}
	via, doors := map[string]string{}, map[string]bool{}
	for _, c := range listed {
		via[c.Serial] = c.Via
	}
	for serial, path := range found {
		door := via[serial]
		if door == "" {
			t.Errorf("%s holds certificate %s, which the ledger does not list", path, serial)
		}
		doors[door] = true
	}
	for _, door := range []string{"invite", "renew", "issue", "sign", "acme", "self"} {
		if !doors[door] && door != "invite" { // it was renewed
			t.Errorf("no certificate came by the door %s, so the test shows nothing of it", door)
		}
	}
}
