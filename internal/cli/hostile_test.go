package cli

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/gateway"
	"github.com/postern-project/postern/internal/refusal"
)

// evil is what a stranger would write on an operator's terminal: a title, an
// empty screen, a colour by a C1 control, text turned around, a line of its own.
const evil = "\x1b]0;owned\x07\x1b[2J\u009b31m\u202egnp\r\nforged: all is well"

// told is every command that shows something that others wrote, with ways to
// have it shown: in a file, as a word, out of the ledger's tables.
var told = map[string][][]string{
	"access":          {{"access", evil}, {"access", "evil.pem", "--site", evil}, {"access", "--replay", "evil.txt", "--config", "good.yaml"}},
	"acme accounts":   {{"acme", "accounts"}},
	"acme orders":     {{"acme", "orders"}, {"acme", "orders", "--status", evil}},
	"approve":         {{"approve", evil}, {"approve", "a-b-c-d", evil}},
	"deny":            {{"deny", evil}},
	"backup":          {{"backup", "--out", "no" + evil + "/x"}, {"backup", "--out", "x", "--with-keys", "--recipient", evil}},
	"check":           {{"check", "evil.yaml"}},
	"completion":      {{"completion", evil}},
	"crl export":      {{"crl", "export", evil}},
	"explain":         {{"explain", "evil.csr"}, {"explain", "evil.pem"}, {"explain", "evil.txt"}, {"explain", "evil.chain"}, {"explain", evil}, {"explain", "@reference"}, {"explain", "order-0123456789abcdef0123"}},
	"group add":       {{"group", "add", evil, "ben"}, {"group", "add", "friends", evil}},
	"group remove":    {{"group", "remove", evil, "ben"}},
	"group show":      {{"group", "show", evil}},
	"init":            {{"init", "--data", "new", "--trust-domain", evil}, {"init", "--data", "new", "--answer", "evil.txt"}},
	"invite":          {{"invite", evil}, {"invite", "ben/x", "--profile", evil}},
	"issue":           {{"issue", evil}, {"issue", "ben/x", "--dns", evil}},
	"issuer distrust": {{"issuer", "distrust", evil}},
	"issuer list":     {{"issuer", "list"}},
	"issuer rotate":   {{"issuer", "rotate", evil}},
	"join":            {{"join", evil, "--no-install"}},
	"ledger import":   {{"ledger", "import", "evil.txt"}, {"ledger", "import", "evil.json"}},
	"list":            {{"list", evil}, {"list", "certificates", "--name", evil}, {"list", "certificates", "--dns", evil}},
	"postern":         {{evil}, {"--" + evil}},
	"reinstate":       {{"reinstate", evil}},
	"renew":           {{"renew", evil}, {"renew", "evil"}},
	"restore":         {{"restore", "evil.txt", "--data", "other"}, {"restore", "evil.tar", "--data", "other"}},
	"revoke":          {{"revoke", evil}, {"revoke", "--serial", evil}},
	"root apply":      {{"root", "apply", "evil.txt"}, {"root", "apply", "evil.answer"}},
	"root create":     {{"root", "create", "--trust-domain", evil, "--out", "safe"}},
	"root cross-sign": {{"root", "cross-sign", "--root-key", "evil.txt", "--new-key", "evil.txt"}},
	"root request":    {{"root", "request", "--retire", evil}},
	"root show":       {{"root", "show", "evil.request"}, {"root", "show", "evil.answer"}, {"root", "show", "evil.txt"}, {"root", "show", "--transcripts"}},
	"root sign":       {{"root", "sign", "evil.request", "--root-key", "postern-data/root.key.age"}},
	"show":            {{"show", evil}},
	"sign":            {{"sign", "ben/box", "evil.csr", "--out", "@new"}, {"sign", evil, "evil.csr"}},
	"status":          {{"status"}},
	"suspend":         {{"suspend", evil}},
	"token create":    {{"token", "create", evil, "a"}, {"token", "create", "ben", evil}},
	"token list":      {{"token", "list"}},
	"token revoke":    {{"token", "revoke", evil}},
	"trust install":   {{"trust", "install", "evil.pem", "--home", "nowhere"}, {"trust", "install", "evil.txt"}},
	"trust list":      {{"trust", "list"}},
	"trust uninstall": {{"trust", "uninstall", "evil.txt"}},
	"up":              {{"up", "--site", evil}, {"up", "--site", "a=" + evil}, {"up", "--config", "evil.yaml"}},
}

// silent is every command that shows nothing that others wrote.
var silent = []string{
	"acme", "crl", "demo", "group", "issuer", "ledger", "root", "token", "trust", "version",
	"completion bash", "completion fish", "completion powershell", "completion zsh",
	"ledger export", "ledger head", "ledger rebuild", "ledger rotate-key", "ledger verify",
}

// Whatever others have written, no command lets it obey itself: on a terminal
// and, for those who page through it, in a pipe.
func TestNothingThatOthersWroteIsObeyed(t *testing.T) {
	inFolder(t, true)
	reference := hostileHouse(t)
	known := slices.AppendSeq(slices.Clone(silent), maps.Keys(told))
	for _, c := range all(newRoot(&app{})) {
		if name := strings.TrimPrefix(c.CommandPath(), "postern "); c.Runnable() && !slices.Contains(known, name) {
			t.Errorf("%q is in neither list: does it show what others wrote?", name)
		}
	}
	files := 0
	for name, ways := range told {
		for _, args := range ways {
			for _, terminal := range []bool{true, false} {
				files++
				line := slices.Clone(args)
				for i := range line {
					line[i] = strings.NewReplacer("@reference", reference, "@new", "out"+big.NewInt(int64(files)).String()).Replace(line[i])
				}
				w := world{terminal: terminal, env: map[string]string{"HOME": t.TempDir(), "NO_COLOR": "1", "POSTERN_ROOT_PASSPHRASE_FILE": "words.txt"}}
				w.run(t, line...)
				obeyed(t, name, w.out.String()+"\n"+w.err.String())
			}
		}
	}
	// the screen alone keeps it off as well
	var out bytes.Buffer
	if n, err := (screen{&out}).Write([]byte(evil + "\x1b[31mred\x1b[0m\xff\x1b[1A")); err != nil || n != len(evil)+len("\x1b[31mred\x1b[0m\xff\x1b[1A") {
		t.Errorf("%d, %v", n, err)
	}
	obeyed(t, "the screen", strings.NewReplacer("\x1b[31m", "", "\x1b[0m", "", "\nforged", `\nforged`).Replace(out.String()))
}

func obeyed(t *testing.T, what, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		if bad := strings.IndexFunc(strings.TrimSuffix(line, "\n"), func(r rune) bool { return !unicode.IsPrint(r) && r != '\t' }); bad >= 0 || strings.HasPrefix(line, "forged") {
			t.Errorf("%s writes %q", what, line)
		}
	}
}

// hostileHouse fills the folder with files that a stranger made, and the
// authority with what strangers could have left there. It returns the reference
// of a refusal.
func hostileHouse(t *testing.T) string {
	t.Helper()
	write := func(name string, data []byte) {
		t.Helper()
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	subject := pkix.Name{CommonName: evil, Organization: []string{evil}, OrganizationalUnit: []string{"\u202e"}}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: subject, DNSNames: []string{"a\x1b[2J", "b.example"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: subject, NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"a\x1b[2J"},
		EmailAddresses: []string{"a\x1b[2J"}, IsCA: true, BasicConstraintsValid: true, CRLDistributionPoints: []string{"http://x/\x1b[2J"},
	}, &x509.Certificate{Subject: subject, PublicKey: key.Public()}, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	write("evil.csr", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr}))
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	write("evil.pem", certPEM)
	write("evil.chain", append([]byte(evil+"\n"), append(certPEM, pem.EncodeToMemory(&pem.Block{Type: evil[:4], Headers: map[string]string{"A": "b\x1b[2J"}, Bytes: []byte{1}})...)...))
	write("evil.txt", []byte(evil+"\n"))
	write("evil.yaml", []byte("trust_domain: \"\\e[2J\\u202e\"\nsites: {\"\\e]0;x\\a\": {proxy: \"\\e[2J\", allow: [\"\\e[2J\"]}}\n"))
	write("good.yaml", []byte("sites: {}\n"))
	hostile, err := json.Marshal(map[string]any{"trust_domain": evil, "kind": evil, "name": evil, "seq": evil, evil: evil})
	if err != nil {
		t.Fatal(err)
	}
	write("evil.json", append(hostile, '\n'))
	write("evil.request", []byte("postern root request 1\n"+evil+"\n"+string(hostile)))
	write("evil.answer", []byte("postern root answer 1\n"+evil+"\n"+string(hostile)))
	write("evil.tar", append([]byte("postern-backup.json"), make([]byte, 600)...))
	if err := os.Mkdir("evil", 0o700); err != nil {
		t.Fatal(err)
	}
	write("evil/postern.json", hostile)
	write("evil/cert.pem", certPEM)
	write("words.txt", []byte("not the right words\n"))
	return hostileRecords(t)
}

// record writes a document as the ACME server does.
func record(t *testing.T, h *House, kind, id string, v any) {
	t.Helper()
	data, err := json.Marshal(v)
	if err == nil {
		err = h.Authority.WriteACMERecords(t.Context(), authority.ACMERecord{Kind: kind, ID: id, Owner: "acct", Body: data, Expires: time.Now().Add(time.Hour)})
	}
	if err != nil {
		t.Fatal(err)
	}
}

func hostileRecords(t *testing.T) string {
	t.Helper()
	h, err := openHouse(t, defaultData)
	if err != nil {
		t.Fatal(err)
	}
	problem := &authority.ACMEProblem{Type: evil, Detail: evil}
	ids := []authority.ACMEIdentifier{{Type: evil, Value: evil}}
	record(t, h, authority.ACMEKindAccount, "acct", authority.ACMEAccount{ID: "acct", Profile: evil, Status: evil, Name: evil, Contact: []string{evil}})
	record(t, h, authority.ACMEKindOrder, "order-0123456789abcdef0123", authority.ACMEOrder{
		ID: "order-0123456789abcdef0123", Account: "acct", Profile: evil, Status: "invalid", Identifiers: ids, Authorizations: []string{"authz"}, Error: problem,
	})
	record(t, h, authority.ACMEKindAuthorization, "authz", authority.ACMEAuthorization{
		ID: "authz", Account: "acct", Order: "order-0123456789abcdef0123", Identifier: ids[0], Status: evil,
		Challenges: []authority.ACMEChallenge{{Type: evil, Status: evil, Error: problem, Attempts: []authority.ACMEAttempt{{Steps: []string{evil}, Expected: evil, Seen: evil}}}},
	})
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if err := settleRefusals(defaultData); err != nil {
		t.Fatal(err)
	}
	j, err := gateway.OpenJournal(filepath.Join(defaultData, refusalsFile), gateway.JournalOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ref := refusal.NewReference()
	j.Record(gateway.Refused{
		Reference: ref, Time: time.Now(), Code: refusal.BadCertificate, Detail: evil, Site: evil, Host: evil, Method: evil, Path: evil, Address: evil,
		Client: gateway.Shown{Name: evil, Claims: evil, Serial: evil, Subject: evil, Issuer: evil, IssuerKeyID: evil},
	})
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return ref.String()
}
