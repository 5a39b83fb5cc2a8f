package authority

import (
	"crypto"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/postern-project/postern/internal/ledger"
)

// doors says of every method of the authority which signatures it can lead to:
// by sign (certificates), attest (lists) and attestAnswer (OCSP). What a command
// or an endpoint wants signed it can get here and nowhere else. A method that is
// not in the list fails the test until somebody has thought about it.
var doors = map[string]string{
	"Issue": "sign", "IssueResponder": "sign", "Redeem": "sign", "Renew": "sign", "Approve": "sign",
	"IssueACME": "sign", "ACMEChain": "sign", "RedeemSCEP": "sign", "IssueRegistration": "sign",
	"RevocationList": "attest", "AnswerOCSP": "attestAnswer",

	"ACMEAccounts": "", "ACMENonceKey": "", "ACMEOrder": "", "ACMEOrders": "", "ACMEPermits": "", "ACMERecord": "",
	"ACMERecordBy": "", "ACMERecordsOf": "", "ACMERenewal": "", "Advice": "", "ApplyRoot": "", "AskRoot": "", "Await": "",
	"BindACMEAccount": "", "CancelInvite": "", "Certificates": "", "ChangeGroup": "", "CloseACMEAccount": "",
	"CountACMERecords": "", "CreateACMEKey": "", "CreateToken": "", "Distrust": "", "Due": "", "Enforce": "", "FindACMEAccount": "", "Groups": "", "Head": "",
	"Hierarchy": "", "Identities": "", "Identity": "", "Invite": "", "Invites": "", "Issuers": "", "LookInvite": "", "Profiles": "",
	"RekeyACMEAccount": "", "Reinstate": "", "Respond": "", "Revoke": "", "RevokeToken": "", "RevokeACME": "", "Root": "", "Roots": "", "Rotate": "",
	"Shards": "", "Suspend": "", "SweepACMERecords": "", "Tokens": "", "TrustDomain": "", "Verify": "", "WriteACMERecords": "",
}

func TestEveryDoorOfTheAuthorityIsKnown(t *testing.T) {
	for m := range reflect.TypeFor[*Service]().Methods() {
		if _, known := doors[m.Name]; !known {
			t.Errorf("%s is not in the list of doors: say there which signatures it leads to", m.Name)
		}
	}
	calls := callGraph(t)
	for door, want := range doors {
		if _, there := reflect.TypeFor[*Service]().MethodByName(door); !there {
			t.Errorf("%s is in the list and no method any more: take it out", door)
		}
		var got []string
		for _, signs := range []string{"sign", "attest", "attestAnswer"} {
			if reaches(calls, door, signs, map[string]bool{}) {
				got = append(got, signs)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s leads to %q, and the list says %q", door, got, want)
		}
	}
}

// callGraph returns which functions of this package mention which, by name:
// rather one call too many than one too few.
func callGraph(t *testing.T) map[string]map[string]bool {
	t.Helper()
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	graph := map[string]map[string]bool{}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), f.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			if d, ok := d.(*ast.FuncDecl); ok && d.Body != nil {
				mentions(d, graph)
			}
		}
	}
	return graph
}

func mentions(d *ast.FuncDecl, graph map[string]map[string]bool) {
	if graph[d.Name.Name] == nil {
		graph[d.Name.Name] = map[string]bool{}
	}
	ast.Inspect(d.Body, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			switch f := call.Fun.(type) {
			case *ast.Ident:
				graph[d.Name.Name][f.Name] = true
			case *ast.SelectorExpr:
				if x, ok := f.X.(*ast.Ident); !ok || x.Obj != nil || x.Name == "s" { // no function of another package
					graph[d.Name.Name][f.Sel.Name] = true
				}
			}
		}
		return true
	})
}

func reaches(graph map[string]map[string]bool, from, to string, seen map[string]bool) bool {
	if seen[from] {
		return false
	}
	seen[from] = true
	for next := range graph[from] {
		if next == to || reaches(graph, next, to, seen) {
			return true
		}
	}
	return false
}

// A witness is a key that notes for which function it signs, and through which
// door that was reached.
type witness struct {
	crypto.Signer
	seen func(signature string) // door and function
}

func (w witness) Sign(rand io.Reader, digest []byte, o crypto.SignerOpts) ([]byte, error) {
	pcs := make([]uintptr, 64)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	const here = "github.com/postern-project/postern/internal/authority."
	var signs, door string
	for {
		f, more := frames.Next()
		if name, ok := strings.CutPrefix(f.Function, here); ok {
			if signs == "" {
				signs = name
			}
			if m, ok := strings.CutPrefix(name, "(*Service)."); ok {
				m, _, _ = strings.Cut(m, ".")
				if _, known := doors[m]; known {
					door = m
				}
			}
		}
		if !more {
			break
		}
	}
	w.seen(door + " " + signs)
	return w.Signer.Sign(rand, digest, o)
}

// Every signature that an issuer's key made in the running authority was made
// by one of the two functions, on the way from a door that the list has. That
// the ACME doors are of them is shown by the graph.
func TestEverySignatureComesThroughADoor(t *testing.T) {
	h := newPublisher(t)
	seen := map[string]int{} // the authority works in this goroutine
	for _, i := range h.issuers {
		i.key = witness{i.key, func(signature string) { seen[signature]++ }}
	}
	first := h.issue("ben/phone")
	h.renew(first)
	invited, guarded := h.invite("ben/tablet"), InviteRequest{Name: named(t, "ben/tv"), Approve: true}
	if _, err := h.Redeem(t.Context(), RedeemRequest{Code: invited.Code, PublicKey: newSPKI(t)}); err != nil {
		t.Fatal(err)
	}
	waiting, err := h.Invite(t.Context(), guarded)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Approve(t.Context(), ApproveRequest{Hash: waiting.Hash, PublicKey: newSPKI(t)}); err != nil {
		t.Fatal(err)
	}
	h.respond()
	h.revoke(first, ledger.ReasonUnspecified)
	h.list(shard0)
	before := len(h.entries(0))
	for range 3 {
		h.issue("ben/phone")
	}
	want := map[string]int{
		"Issue sign": 1 + 3, "Renew sign": 1, "Redeem sign": 1, "Approve sign": 1, "IssueResponder sign": 2, "RevocationList attest": 1,
	}
	if !maps.Equal(seen, want) {
		t.Errorf("the keys signed for %v, want %v", seen, want)
	}
	// as many signatures as entries: none was made that the ledger has not
	if issued := len(h.entries(0)) - before; issued != 3 || seen["Issue sign"] != 1+3 {
		t.Errorf("3 signatures and %d entries", issued)
	}
	for signature := range seen {
		door, signs, _ := strings.Cut(signature, " ")
		if !slices.Contains(strings.Fields(doors[door]), signs) {
			t.Errorf("%s signs by %s", door, signs)
		}
	}
}
