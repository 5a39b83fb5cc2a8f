package house

import (
	"go/ast"
	"go/printer"
	"go/token"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// endpoints are all addresses that the program answers at, by package, with
// the doors of the authority (internal/authority, TestEveryDoorOfTheAuthorityIsKnown)
// that lead to a signature and that a request can reach there; "" for none.
var endpoints = map[string]string{
	"internal/acme /acme/{profile}/ + path":                            "",
	"internal/acme account/{id}":                                       "",
	"internal/acme account/{id}/orders":                                "",
	"internal/acme authorization/{id}":                                 "",
	"internal/acme certificate/{id}":                                   "ACMEChain",
	"internal/acme challenge/{id}/{type}":                              "",
	"internal/acme directory":                                          "",
	"internal/acme key-change":                                         "",
	"internal/acme new-account":                                        "",
	"internal/acme new-nonce":                                          "",
	"internal/acme new-order":                                          "",
	"internal/acme order/{id}":                                         "",
	"internal/acme order/{id}/finalize":                                "IssueACME",
	"internal/acme renewal-info/{id}":                                  "",
	"internal/acme revoke-cert":                                        "",
	"internal/acme {rest...}":                                          "",
	"internal/api GET /v1/access":                                      "",
	"internal/api POST /v1/access/deny":                                "",
	"internal/api POST /v1/access/grant":                               "",
	"internal/enroll GET  + invite.AskPath":                            "",
	"internal/enroll GET  + invite.FilePath":                           "",
	"internal/enroll POST  + invite.FilePath":                          "Redeem",
	"internal/enroll POST  + invite.AskPath":                           "",
	"internal/api GET /w1/acme/nonce-key":                              "",
	"internal/api POST /w1/file":                                       "",
	"internal/api GET /w1/due":                                         "",
	"internal/api GET /w1/head":                                        "",
	"internal/api POST /w1/acme/bind":                                  "",
	"internal/api POST /w1/acme/chain":                                 "ACMEChain",
	"internal/api POST /w1/acme/close":                                 "",
	"internal/api POST /w1/acme/find":                                  "",
	"internal/api POST /w1/acme/issue":                                 "IssueACME",
	"internal/api POST /w1/acme/permits":                               "",
	"internal/api POST /w1/acme/record":                                "",
	"internal/api POST /w1/acme/record/by":                             "",
	"internal/api POST /w1/acme/records":                               "",
	"internal/api POST /w1/acme/rekey":                                 "",
	"internal/api POST /w1/acme/renewal":                               "",
	"internal/api POST /w1/acme/revoke":                                "",
	"internal/api POST /w1/acme/sweep":                                 "",
	"internal/api POST /w1/acme/write":                                 "",
	"internal/api POST /w1/crl":                                        "RevocationList",
	"internal/api POST /w1/invite":                                     "",
	"internal/api POST /w1/issue/registration":                         "IssueRegistration",
	"internal/api POST /w1/issue/served":                               "IssueServed",
	"internal/api POST /w1/issue/upstream":                             "IssueUpstream",
	"internal/api POST /w1/ocsp":                                       "AnswerOCSP",
	"internal/api POST /w1/redeem":                                     "Redeem",
	"internal/api POST /w1/redeem/scep":                                "RedeemSCEP",
	"internal/api POST /w1/renew":                                      "Renew",
	"internal/api GET /p1/access":                                      "",
	"internal/api GET /p1/doors":                                       "",
	"internal/api GET /p1/refusals":                                    "",
	"internal/api GET /p1/requests":                                    "",
	"internal/api GET /p1/standing":                                    "",
	"internal/api POST /p1/access/answer":                              "",
	"internal/api POST /p1/access/deny":                                "",
	"internal/api POST /p1/apply":                                      "",
	"internal/api POST /p1/begin":                                      "",
	"internal/api POST /p1/believes":                                   "",
	"internal/api POST /p1/condemn":                                    "",
	"internal/api POST /p1/end":                                        "",
	"internal/api POST /p1/open":                                       "",
	"internal/api POST /p1/refusal":                                    "",
	"internal/api POST /p1/reload":                                     "",
	"internal/api POST /p1/steps":                                      "",
	"internal/api GET /v1/acme/accounts":                               "",
	"internal/api GET /v1/groups":                                      "",
	"internal/api GET /v1/head":                                        "",
	"internal/api GET /v1/hierarchy":                                   "",
	"internal/api POST /v1/identities":                                 "",
	"internal/api GET /v1/tokens":                                      "",
	"internal/api POST /v1/token/create":                               "",
	"internal/api POST /v1/token/revoke":                               "",
	"internal/api GET /v1/invites":                                     "",
	"internal/api GET /v1/issuers":                                     "",
	"internal/api GET /v1/profiles":                                    "",
	"internal/api GET /v1/refusals":                                    "",
	"internal/api GET /v1/refusals/{ref}":                              "",
	"internal/api GET /v1/requests":                                    "",
	"internal/api GET /v1/status":                                      "",
	"internal/api POST /v1/acme/key":                                   "",
	"internal/api POST /v1/acme/order":                                 "",
	"internal/api POST /v1/acme/orders":                                "",
	"internal/api POST /v1/approve":                                    "Approve",
	"internal/api POST /v1/cancel-invite":                              "",
	"internal/api POST /v1/certificates":                               "",
	"internal/api POST /v1/crl":                                        "RevocationList",
	"internal/api POST /v1/group":                                      "",
	"internal/api POST /v1/identity":                                   "",
	"internal/api POST /v1/invite":                                     "",
	"internal/api POST /v1/issue":                                      "Issue",
	"internal/api POST /v1/issuer/distrust":                            "",
	"internal/api POST /v1/issuer/rotate":                              "",
	"internal/api POST /v1/reinstate":                                  "",
	"internal/api POST /v1/revoke":                                     "",
	"internal/api POST /v1/root/apply":                                 "",
	"internal/api POST /v1/root/ask":                                   "",
	"internal/api POST /v1/shards":                                     "",
	"internal/api POST /v1/steps":                                      "",
	"internal/api POST /v1/suspend":                                    "",
	"internal/api POST /v1/verify":                                     "",
	"internal/cli /":                                                   "",
	"internal/cli /acme/":                                              "",
	"internal/cli GET /jwks.json":                                      "",
	"internal/cli GET /ledger/checkpoint":                              "",
	"internal/cli scep.Path":                                           "RedeemSCEP",
	"internal/enroll /":                                                "",
	"internal/enroll GET  + invite.Path":                               "",
	"internal/enroll GET  + invite.RootPath":                           "",
	"internal/enroll GET  + page.JoinFolder + {file}":                  "",
	"internal/enroll GET  + page.Keymaker().In(page.JoinFolder).Path":  "",
	"internal/enroll GET  + page.Keymaker().In(page.RenewFolder).Path": "",
	"internal/enroll GET  + renewPath":                                 "",
	"internal/enroll GET /{$}":                                         "",
	"internal/enroll POST  + invite.Path":                              "Redeem",
	"internal/enroll POST  + invite.ReportPath":                        "",
	"internal/enroll POST  + invite.ProfilePath":                       "",
	"internal/enroll POST  + invite.StatePath":                         "",
	"internal/enroll POST  + renewPath":                                "Renew",
	"internal/publish GET /crl/{issuer}/{file}":                        "RevocationList",
	"internal/publish GET /issuers/{file}":                             "",
	"internal/publish GET /root/{file}":                                "",
	"internal/publish POST  + authority.OCSPPath":                      "AnswerOCSP",
	"internal/telemetry GET /metrics":                                  "",
}

// servers are the functions that make an HTTP server, with who reaches it.
var servers = map[string]string{
	"internal/api.newServer":          "the owner of the data folder, by a socket in it; the two processes of a server each other, over a socket pair",
	"internal/cli.fillForward":        "another server on this machine, by a socket",
	"internal/gateway.newBell":        "nobody: it tells a client of HTTP/2 that its connection ends",
	"internal/gateway.newServer":      "everybody: sites, the public side and renewal",
	"internal/publish.Serve":          "everybody, without TLS: lists, OCSP and issuers",
	"internal/telemetry.ServeMetrics": "this machine, unless an address says otherwise",
}

func TestEveryEndpointIsKnown(t *testing.T) {
	found := map[string]bool{}
	for dir, p := range parse(t) {
		if strings.HasPrefix(dir, "bench") { // the load generator and its servers
			continue
		}
		for _, file := range p.files {
			ast.Inspect(file, func(n ast.Node) bool {
				for pattern, handler := range patterns(p.fset, n) {
					found[dir+" "+pattern] = true
					if reached := reachedBy(handler); dir == "internal/api" && reached != endpoints[dir+" "+pattern] {
						t.Errorf("%s %s reaches %q, and the list says %q", dir, pattern, reached, endpoints[dir+" "+pattern])
					}
				}
				return true
			})
		}
	}
	compare(t, found, endpoints, "answers at an address that is not in the list: say which door to a signature it reaches")
}

func TestEveryServerIsKnown(t *testing.T) {
	found := map[string]bool{}
	for dir, p := range parse(t) {
		for _, file := range p.files {
			for _, d := range file.Decls {
				f, ok := d.(*ast.FuncDecl)
				if !ok {
					continue
				}
				ast.Inspect(f, func(n ast.Node) bool {
					if lit, ok := n.(*ast.CompositeLit); ok && slices.Contains([]string{"http.Server", "http2.Server"}, render(p.fset, lit.Type)) {
						found[dir+"."+f.Name.Name] = true
					}
					return true
				})
			}
		}
	}
	compare(t, found, servers, "is a server that is not in the list: say who reaches it")
}

func compare(t *testing.T, found map[string]bool, known map[string]string, complaint string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(found)) {
		if _, ok := known[name]; !ok {
			t.Errorf("%s: %s", name, complaint)
		}
	}
	for name := range known {
		if !found[name] {
			t.Errorf("%s is in the list and nowhere else: take it out", name)
		}
	}
}

// reachedBy returns the doors to a signature that a handler of internal/api
// calls by name.
func reachedBy(handler string) string {
	var all []string
	for door := range strings.FieldsSeq("ACMEChain AnswerOCSP Approve Issue IssueACME IssueRegistration IssueResponder IssueServed IssueUpstream Redeem RedeemSCEP Renew RevocationList") {
		if regexp.MustCompile(`\b[aw]\.` + door + `\b`).MatchString(handler) {
			all = append(all, door)
		}
	}
	return strings.Join(all, " ")
}

// patterns returns the addresses that n gives to a mux with their handlers: the
// arguments of Handle and HandleFunc, or a table of handlers.
func patterns(fset *token.FileSet, n ast.Node) map[string]string {
	switch n := n.(type) {
	case *ast.CallExpr:
		sel, ok := n.Fun.(*ast.SelectorExpr)
		if !ok || len(n.Args) != 2 || sel.Sel.Name != "Handle" && sel.Sel.Name != "HandleFunc" {
			return nil
		}
		if _, variable := n.Args[0].(*ast.Ident); variable { // a table's key
			return nil
		}
		return map[string]string{strings.ReplaceAll(render(fset, n.Args[0]), `"`, ""): render(fset, n.Args[1])}
	case *ast.CompositeLit:
		if render(fset, n.Type) != "map[string]http.Handler" {
			return nil
		}
		all := map[string]string{}
		for _, e := range n.Elts {
			if e, ok := e.(*ast.KeyValueExpr); ok {
				all[strings.Trim(render(fset, e.Key), `"`)] = render(fset, e.Value)
			}
		}
		return all
	}
	return nil
}

func render(fset *token.FileSet, n ast.Node) string {
	if n == nil {
		return ""
	}
	var b strings.Builder
	if err := printer.Fprint(&b, fset, n); err != nil {
		return err.Error()
	}
	return b.String()
}
