package config

import (
	"strings"
	"testing"

	"github.com/postern-project/postern/internal/permit"
)

const acmeConfig = `acme:
  server:
    names: [db.internal, "*.web.internal", 10.0.0.0/8]
    wildcards: true
    networks: [10.0.0.0/8, 192.168.1.7, "fd00::/8"]
    resolver: 10.0.0.53
    http_port: 8080
    tls_port: 8443
    challenges: [http-01, dns-01]
    orders_per_hour: 50
    rules:
      - {names: [db.internal], identities: [services/db], networks: [10.1.0.0/16]}
      - names: ["*.web.internal"]
`

func TestAnACMEServerIsReadAsItIsWritten(t *testing.T) {
	c, warnings, err := Parse("postern.yaml", []byte(acmeConfig))
	if err != nil || len(c.ACME) != 1 {
		t.Fatalf("%+v, %v", c.ACME, err)
	}
	for _, w := range warnings {
		if strings.Contains(w.String(), "acme") {
			t.Errorf("warning %s", w)
		}
	}
	a := c.ACME[0]
	if a.Profile != "server" || a.Resolver.String() != "10.0.0.53:53" || a.HTTPPort != 8080 || a.TLSPort != 8443 || a.OrdersPerHour != 50 || a.Policy.Open {
		t.Errorf("%+v", a)
	}
	if len(a.Networks) != 3 || len(a.Policy.Rules) != 2 || len(a.Challenges) != 2 || len(a.Policy.Names) != 3 {
		t.Errorf("%+v", a)
	}
	if d := a.Policy.Decide(permit.Requester{}, permit.Host{DNS: "a.web.internal"}); !d.Allow || d.Detail != "rule 2" {
		t.Errorf("%+v", d)
	}
}

func TestWhatIsWrongInAnACMEServerHasAPlace(t *testing.T) {
	for sentence, c := range map[string]struct{ text, want string }{
		"no names":                        {"acme:\n  server: {}\n", "2:3: acme server has no names"},
		"nothing at all":                  {"acme:\n  server:\n", "2:3: acme server has no names"},
		"a profile for clients":           {"acme:\n  device: {names: [a.internal]}\n", "2:3: acme: profile device is for clients"},
		"a profile that does not exist":   {"acme:\n  serve: {names: [a.internal]}\n", "2:3: acme: unknown profile"},
		"a profile that names by itself":  {"profiles:\n  x: {usage: server, lifetime: 1h}\nacme:\n  x: {names: [a.internal]}\n", "4:3: acme: profile x does not let requesters name"},
		"a profile twice":                 {"acme:\n  server: {names: [a.internal]}\n  server: {names: [b.internal]}\n", "3:3: profile server is on line 2 already"},
		"a key that is not known":         {"acme:\n  server: {names: [a.internal], opn: true}\n", `2:33: unknown key "opn"`},
		"a pattern with two stars":        {"acme:\n  server: {names: [\"*.*.internal\"]}\n", "2:20: names:"},
		"a network with bits behind it":   {"acme:\n  server: {names: [a.internal], networks: [10.1.2.3/8]}\n", "write 10.0.0.0/8"},
		"a mapped network":                {"acme:\n  server: {names: [a.internal], networks: [\"::ffff:10.0.0.0/104\"]}\n", "IPv4 network itself"},
		"a challenge that does not exist": {"acme:\n  server: {names: [a.internal], challenges: [http-02]}\n", `challenges: "http-02" is none`},
		"a port that is none":             {"acme:\n  server: {names: [a.internal], http_port: 0}\n", "no port between 1 and 65535"},
		"a resolver by name":              {"acme:\n  server: {names: [a.internal], resolver: dns.internal}\n", "no address of a DNS server"},
		"a rule without names":            {"acme:\n  server:\n    names: [a.internal]\n    rules:\n      - {identities: [ben]}\n", "5:9: rule 1 lets nobody have anything"},
		"a rule with an empty list":       {"acme:\n  server:\n    names: [a.internal]\n    rules:\n      - {names: [a.internal], identities: []}\n", "identities is empty"},
		"rules that are no list":          {"acme:\n  server:\n    names: [a.internal]\n    rules: {names: [a.internal]}\n", "a list is wanted"},
	} {
		t.Run(sentence, func(t *testing.T) {
			_, _, err := Parse("postern.yaml", []byte(c.text))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

func TestAnACMEServerThatIsHardlyMeantIsWarnedOf(t *testing.T) {
	for text, want := range map[string]string{
		"acme:\n  server: {names: [a.internal]}\n":                                   "may connect nowhere",
		"acme:\n  server: {names: [a.internal], open: true, challenges: [dns-01]}\n": "is open",
	} {
		_, warnings, err := Parse("postern.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, w := range warnings {
			found = found || strings.Contains(w.String(), want)
		}
		if !found {
			t.Errorf("%q: no warning says %q: %v", text, want, warnings)
		}
	}
}
