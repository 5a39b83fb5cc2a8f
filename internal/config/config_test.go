package config

import (
	"crypto/tls"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/rule"
)

// folder is a place with a page in ./public and a file that is no folder.
func folder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "public"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

const full = `# everything there is
trust_domain: example.com
listen: [":8443", "[::1]:9443"]
public: {host: Join.Example.com.}
sites:
  PW.example.com:
    static: ./public
    allow: [ben, anna/phone, group:family]
    deny: [ben/old]
  orders.internal:
    proxy: http://[::1]:8080/
    allow: enrolled
    stealth: true
    tls_min: 1.2
  "2001:DB8:0::1":
    proxy: unix:/run/app.sock
    allow: [strangers]
metrics: {listen: "127.0.0.1:9464"}
log: {format: json, level: warn}
issuers: {key: ecdsa-p384}
`

func TestEverythingThereIs(t *testing.T) {
	dir := folder(t)
	c, warnings, err := Parse(filepath.Join(dir, "postern.yaml"), []byte(full))
	if err != nil {
		t.Fatal(err)
	}
	if got := c.TrustDomain.String(); got != "example.com" {
		t.Errorf("trust domain %q", got)
	}
	if diff := cmp.Diff([]Address{{"", 8443}, {"::1", 9443}}, c.Listen); diff != "" {
		t.Error(diff)
	}
	if c.Public.Host != "join.example.com" || !c.Public.Listen.IsZero() {
		t.Errorf("public side: %+v", c.Public)
	}
	if c.PublicURL() != "https://join.example.com:8443" {
		t.Errorf("public URL %s", c.PublicURL())
	}
	if c.Metrics.String() != "127.0.0.1:9464" || !c.Metrics.Loopback() {
		t.Errorf("metrics on %s", c.Metrics)
	}
	if c.Log.Format.String() != "json" || c.Log.Level.String() != "WARN" || c.IssuerKey != "ecdsa-p384" {
		t.Errorf("log %+v, key %s", c.Log, c.IssuerKey)
	}
	hosts := []string{}
	for _, s := range c.Sites {
		hosts = append(hosts, s.Host)
	}
	if diff := cmp.Diff([]string{"2001:db8::1", "orders.internal", "pw.example.com"}, hosts); diff != "" {
		t.Error(diff)
	}
	pw, _ := c.Site("pw.example.com")
	if pw.Static != filepath.Join(dir, "public") || pw.MinVersion != tls.VersionTLS13 {
		t.Errorf("%+v", pw)
	}
	if list, _ := rule.Parse([]string{"ben", "anna/phone", "group:family"}, []string{"ben/old"}); !equalList(list, pw.List) {
		t.Errorf("list %v", pw.List)
	}
	orders, _ := c.Site("orders.internal")
	if orders.Target() != "http://[::1]:8080" || !orders.Stealth || orders.MinVersion != tls.VersionTLS12 {
		t.Errorf("%+v", orders)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0].String(), "strangers") {
		t.Errorf("warnings: %v", warnings)
	}
}

func equalList(a, b rule.List) bool {
	return cmp.Equal(words(a.Allow), words(b.Allow)) && cmp.Equal(words(a.Deny), words(b.Deny))
}

func words(terms []rule.Term) []string {
	var all []string
	for _, t := range terms {
		all = append(all, t.String())
	}
	return all
}

func TestWhatIsWrongHasAPlace(t *testing.T) {
	const site = "sites:\n  a.example:\n    static: public\n    allow: [ben]\n"
	for name, c := range map[string]struct {
		text string
		want string // file omitted
		hint string
	}{
		"unknown key":                      {"lisen: \":8443\"\n", `1:1: unknown key "lisen"`, `did you mean "listen"?`},
		"unknown key far from any":         {"colour: red\n", `1:1: unknown key "colour"`, "known here: acme, blocked_keys, forward_auth"},
		"unknown key in a site":            {site + "    alow: [anna]\n", `5:5: unknown key "alow" in site a.example`, `did you mean "allow"?`},
		"the same key twice":               {"listen: \":1\"\nlisten: \":2\"\n", `2:1: "listen" stands here and on line 1`, ""},
		"a host twice":                     {site + "  a.example:\n    static: public\n", "5:3: site a.example is on line 2 already", ""},
		"a host twice in another case":     {site + "  A.Example:\n    static: public\n", "5:3: site A.Example is the same host as a.example on line 2", ""},
		"a host twice with a trailing dot": {site + "  a.example.:\n    static: public\n", "5:3: site a.example. is the same host as a.example on line 2", ""},
		"a host twice in two scripts":      {"sites:\n  bücher.example: {static: public}\n  xn--bcher-kva.example: {static: public}\n", "3:3: site xn--bcher-kva.example is the same host as bücher.example on line 2", ""},
		"an IPv6 host twice":               {"sites:\n  \"::1\": {static: public}\n  \"[0:0:0::1]\": {static: public}\n", "3:3: site [0:0:0::1] is the same host as ::1 on line 2", ""},
		"a missing folder":                 {"sites:\n  a.example: {static: nowhere}\n", "2:23: static: folder ", ""},
		"a file for a folder":              {"sites:\n  a.example: {static: file}\n", "2:23: static: ", ""},
		"a proxy without a scheme":         {"sites:\n  a.example: {proxy: localhost:80}\n", "2:22: proxy: ", ""},
		"a proxy with a path":              {"sites:\n  a.example: {proxy: \"http://h/app\"}\n", "2:22: proxy: \"http://h/app\" has a path", ""},
		"a proxy with a password":          {"sites:\n  a.example: {proxy: \"http://u:p@h\"}\n", "2:22: proxy: the address of h holds a password", ""},
		"a proxy port out of range":        {"sites:\n  a.example: {proxy: \"http://h:65536\"}\n", "2:22: proxy: ", ""},
		"a relative socket":                {"sites:\n  a.example: {proxy: \"unix:app.sock\"}\n", "2:22: proxy: ", ""},
		"both targets":                     {"sites:\n  a.example: {static: public, proxy: \"http://h\"}\n", "2:3: site a.example has both", "drop one"},
		"no target":                        {"sites:\n  a.example: {allow: [ben]}\n", "2:3: site a.example has nothing behind it", "static: FOLDER"},
		"an empty site":                    {"sites:\n  a.example:\n", "2:3: site a.example has nothing behind it", "static: FOLDER"},
		"a bad term":                       {"sites:\n  a.example:\n    static: public\n    allow: [anna, \"be n\"]\n", `4:19: allow, entry 2: name "be n"`, "an entry is a name"},
		"a mistyped word":                  {"sites:\n  a.example:\n    static: public\n    allow: [\"enroled!\"]\n", `4:13: allow, entry 1:`, `did you mean "enrolled"?`},
		"a port in a host":                 {"sites:\n  \"a.example:8443\": {static: public}\n", `2:3: host "a.example:8443" has a port`, ""},
		"a wildcard host":                  {"sites:\n  \"*.example\": {static: public}\n", `2:3: host "*.example": wildcards`, ""},
		"a host that is a URL":             {"sites:\n  \"https://a.example\": {static: public}\n", `2:3: host "https://a.example": a host name alone is wanted`, ""},
		"a listen address without a port":  {"listen: 127.0.0.1\n", `1:9: listen: "127.0.0.1" is not an address: add the port`, ""},
		"a listen address of a port alone": {"listen: 8443\n", `1:9: listen: "8443" is not an address: write ":8443"`, ""},
		"a bare IPv6 listen address":       {"listen: \"::1\"\n", `1:9: listen: "::1" is not an address: add the port, as in "[::1]:8443"`, ""},
		"an IPv6 address without brackets": {"listen: \"2001:db8::1:70000x\"\n", `1:9: listen: `, ""},
		"a port that is too big":           {"listen: \":70000\"\n", `1:9: listen: `, ""},
		"the same address twice":           {"listen: [\":1\", \":1\"]\n", `1:16: listen: :1 is written twice`, ""},
		"no listen address":                {"listen: []\n", `1:9: listen: no address`, ""},
		"metrics for everybody":            {"metrics: {listen: \"0.0.0.0:9464\"}\n", `1:19: listen: 0.0.0.0:9464 is not on this machine's loopback`, ""},
		"a public certificate for an IP":   {"sites:\n  10.0.0.1: {proxy: \"http://h\", allow: [ben], certificate: public}\n", `2:3: no public authority certifies 10.0.0.1`, "certificate: postern"},
		"trust by a file alone":            {"sites:\n  a.example: {proxy: \"http://h\", allow: [ben], trust: ca/partner.pem}\n", `2:55: trust: a file alone would mean everybody`, "write trust: {partner: {ca: ca/partner.pem, members:"},
		"a bad trust domain":               {"trust_domain: Example.com\n", `1:15: trust_domain: `, ""},
		"a mode that does not exist":       {"sites:\n  a.example: {static: public, mode: stealthy}\n", `2:37: mode: "stealthy" is no mode: did you mean "stealth"?`, ""},
		"mode and stealth at once":         {"sites:\n  a.example: {static: public, mode: ask, stealth: true}\n", `2:3: site a.example has both mode and stealth`, "drop stealth"},
		"a tcp site that asks for nothing": {"sites:\n  a.example: {tcp: \"127.0.0.1:1\", mode: \"off\"}\n", `2:3: site a.example has mode: off`, "drop mode"},
		"a word for a boolean":             {"sites:\n  a.example: {static: public, stealth: yes}\n", `2:40: stealth: neither true nor false`, "write true or false"},
		"an old TLS version":               {"sites:\n  a.example: {static: public, tls_min: 1.1}\n", `2:40: tls_min: "1.1" is not served`, ""},
		"an unknown kind of key":           {"issuers: {key: dsa}\n", `1:16: key: "dsa"`, ""},
		"an unknown log format":            {"log: {format: xml}\n", `1:15: format: log format "xml"`, ""},
		"the public host is a site":        {site + "public: {host: A.example}\n", `2:3: site a.example is also the public host`, "join.a.example"},
		"an empty public side":             {"public: {}\n", `1:9: public: empty`, ""},
		"a list where a mapping belongs":   {"sites: [a, b]\n", `1:8: sites: keys with values`, ""},
		"a mapping where a value belongs":  {"trust_domain: {a: b}\n", `1:15: trust_domain: a single value`, ""},
		"nothing where a value belongs":    {"trust_domain:\n", `1:15: trust_domain: a value is missing`, ""},
		"an alias":                         {"trust_domain: &a example.com\nlisten: *a\n", `1:15: trust_domain: anchors`, ""},
		"a second document":                {"listen: \":1\"\n---\nlisten: \":2\"\n", `3:1: a second document`, ""},
		"a tab for indentation":            {"sites:\n\ta.example:\n", `2:`, ""},
		"a bracket that is never closed":   {"listen: [\":1\"\n", `1:`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := folder(t)
			file := filepath.Join(dir, "postern.yaml")
			got, _, err := Parse(file, []byte(c.text))
			if err == nil {
				t.Fatalf("accepted: %+v", got)
			}
			if len(got.Sites) != 0 || got.Listen != nil {
				t.Error("an error leaves half a configuration")
			}
			first := Errors(err)[0]
			if text, _ := strings.CutPrefix(first.Error(), file+":"); !strings.HasPrefix(text, c.want) {
				t.Errorf("says\n  %s, want\n  %s", text, c.want)
			}
			if !strings.Contains(first.Hint, c.hint) || c.hint == "" && strings.Contains(first.Hint, "did you mean") {
				t.Errorf("hint %q, want %q", first.Hint, c.hint)
			}
		})
	}
}

func TestAllErrorsAreFoundInOneLook(t *testing.T) {
	_, _, err := Parse("x.yaml", []byte("lisen: 1\nsites:\n  \"a b\": {}\n  c.example: {tls_min: 9, static: .}\n"))
	lines := []int{}
	for _, e := range Errors(err) {
		lines = append(lines, e.Line)
	}
	if diff := cmp.Diff([]int{1, 3, 4}, lines); diff != "" {
		t.Errorf("%s in\n%v", diff, err)
	}
	if one, ok := errors.AsType[*Error](err); !ok || one.Line != 1 {
		t.Errorf("the first error is not found by its type: %v", one)
	}
}

func TestExcerptPointsAtThePlace(t *testing.T) {
	_, _, err := Parse("x.yaml", []byte("log: {format: xml}\n"))
	if got, want := Errors(err)[0].Excerpt(), "log: {format: xml}\n              ^"; got != want {
		t.Errorf("\n%s\nwant\n%s", got, want)
	}
}

func TestWhatIsHardlyMeantIsSaid(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"an empty list is nobody":       {"sites:\n  a.example: {static: public, allow: []}\n", "2:3: site a.example lets nobody in"},
		"a missing list is nobody":      {"sites:\n  a.example: {static: public}\n", "2:3: site a.example lets nobody in"},
		"an empty value is nobody":      {"sites:\n  a.example: {static: public, allow: }\n", "2:3: site a.example lets nobody in"},
		"strangers":                     {"sites:\n  a.example: {static: public, allow: [strangers]}\n", "2:3: site a.example is open to strangers"},
		"mode off and a list of names":  {"sites:\n  a.example: {static: public, mode: off, allow: [ben]}\n", "2:3: site a.example turns everybody away: mode: off"},
		"strangers and stealth at once": {"sites:\n  a.example: {static: public, stealth: true, allow: [strangers]}\n", "2:3: site a.example allows strangers, but stealth"},
		"no site":                       {"", "no site"},
	} {
		t.Run(name, func(t *testing.T) {
			conf, warnings, err := Parse(filepath.Join(folder(t), "postern.yaml"), []byte(c.text))
			if err != nil {
				t.Fatal(err)
			}
			if len(warnings) != 1 || !strings.Contains(warnings[0].String(), c.want) {
				t.Errorf("warnings %v, want %q", warnings, c.want)
			}
			for _, s := range conf.Sites {
				ben, _ := identity.ParseName("ben")
				if strings.Contains(c.want, "nobody") && s.List.Decide(rule.Subject{Name: ben}).Allow {
					t.Error("an empty list lets somebody in")
				}
			}
		})
	}
}

func TestUnknownGroupsHaveAPlace(t *testing.T) {
	c, _, err := Parse(filepath.Join(folder(t), "postern.yaml"), []byte("sites:\n  a.example:\n    static: public\n    allow: [group:family, group:famly]\n"))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.CheckGroups(func(identity.Group) bool { return true }, identity.Group.String); err != nil {
		t.Error(err)
	}
	err = c.CheckGroups(func(g identity.Group) bool { return g.String() == "family" }, func(g identity.Group) string { return "postern group add " + g.String() })
	if got := Errors(err); len(got) != 1 || got[0].Line != 4 || got[0].Column != 27 || !strings.Contains(got[0].Hint, "postern group add famly") {
		t.Errorf("%+v", got)
	}
}

func TestListsReadTheSameInEveryStyle(t *testing.T) {
	for name, text := range map[string]string{
		"in lines":             "sites:\n  a.example:\n    static: public\n    allow:\n      - ben\n      - group:family\n",
		"in brackets":          "sites:\n  a.example:\n    static: public\n    allow: [ben, group:family]\n",
		"in braces":            "sites:\n  a.example: {static: public, allow: [ben, group:family]}\n",
		"in braces and quotes": "sites: {a.example: {static: public, allow: [\"ben\", 'group:family']}}\n",
	} {
		t.Run(name, func(t *testing.T) {
			c, _, err := Parse(filepath.Join(folder(t), "postern.yaml"), []byte(text))
			if err != nil {
				t.Fatal(err)
			}
			if got := words(c.Sites[0].List.Allow); !cmp.Equal(got, []string{"ben", "group:family"}) {
				t.Errorf("%v", got)
			}
		})
	}
	for name, term := range map[string]string{"a space after the colon": "group: family", "a quoted key": `"group":family`, "a pair in braces": "{group: family}"} {
		t.Run(name, func(t *testing.T) {
			if c, _, err := Parse("x.yaml", []byte("sites: {a.example: {static: ., allow: ["+term+"]}}")); err == nil {
				t.Errorf("%v", c.Sites[0].List)
			}
		})
	}
}
