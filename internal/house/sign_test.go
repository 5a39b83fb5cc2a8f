package house

import (
	"go/ast"
	"maps"
	"slices"
	"strings"
	"testing"
)

// signers are all functions that make a signature or hand a key to what makes
// one, with what is signed there. Whatever is not in this list goes through one
// of them: no endpoint (internal/api, enroll, acme, gateway) and no command
// (internal/cli) has a way of its own to a signature.
var signers = map[string]string{
	"internal/authority.sign":          "certificates by an issuer, once the ledger holds them",
	"internal/authority.attest":        "revocation lists by an issuer",
	"internal/authority.attestAnswer":  "OCSP answers, by the responder's own key",
	"internal/authority.newUnderstudy": "nothing: a throw-away key's signature, to know its length",
	"internal/ceremony.certify":        "issuers and roots, by a root in a ceremony",
	"internal/ceremony.list":           "a root's revocation list",
	"internal/ledger.SignMessage":      "what a root says beside certificates, and the proof that an issuer's key is held",
	"internal/ledger.NewGenesis":       "the beginning of a ledger, by its root",
	"internal/ledger.Sign":             "checkpoints, by the ledger's key",
	"internal/demo.sign":               "the demonstration's own certificates",
	"internal/demo.revoked":            "the demonstration's own list",
	"internal/invite.ProveRenewal":     "a renewal, by the old key of whoever wants it",
	"internal/join.requestPEM":         "a device's request, by its own key",
	"internal/keys.Sign":               "whatever a key in a token is given: it is the key",
	"bench/mtlsload.sign":              "the load generator's own certificates",
}

// makes are the calls by which a signature comes into being.
var makes = map[string]bool{
	"x509.CreateCertificate": true, "x509.CreateRevocationList": true, "x509.CreateCertificateRequest": true,
	"x509.CreateCRL": true, "ocsp.CreateResponse": true, "crypto.SignMessage": true, "ed25519.Sign": true,
	"ecdsa.SignASN1": true, "ecdsa.Sign": true, "rsa.SignPKCS1v15": true, "rsa.SignPSS": true,
}

func TestEverySignatureHasItsPlace(t *testing.T) {
	found := map[string][]string{}
	for dir, p := range parse(t) {
		for _, file := range p.files {
			for _, decl := range file.Decls {
				f, ok := decl.(*ast.FuncDecl)
				if !ok || f.Body == nil {
					continue
				}
				where := dir + "." + f.Name.Name
				ast.Inspect(f.Body, func(n ast.Node) bool {
					// crypto.Signer's method has three arguments
					if call, ok := n.(*ast.CallExpr); ok && len(call.Args) == 3 {
						if sel, ok := call.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "Sign" {
							found[where] = append(found[where], "Sign")
						}
					}
					sel, ok := n.(*ast.SelectorExpr)
					if !ok {
						return true
					}
					if x, ok := sel.X.(*ast.Ident); ok && makes[x.Name+"."+sel.Sel.Name] {
						found[where] = append(found[where], x.Name+"."+sel.Sel.Name)
					}
					return true
				})
			}
		}
	}
	for _, where := range slices.Sorted(maps.Keys(found)) {
		if signers[where] == "" {
			t.Errorf("%s signs by %s and is not in the list: go through one of those there, or say what it signs and why", where, strings.Join(found[where], ", "))
		}
	}
	for where := range signers {
		if len(found[where]) == 0 {
			t.Errorf("%s is in the list and signs nothing any more: take it out", where)
		}
	}
}
