package config

import (
	"strings"
	"testing"
)

func TestHTTP3IsSaidOfASite(t *testing.T) {
	for name, c := range map[string]struct {
		text, wrong, warning string
		on                   bool
	}{
		"experimental":                {text: "sites:\n  a.example: {proxy: \"http://h\", allow: [ben], http3: experimental, certificate: public}\n", on: true},
		"off":                         {text: "sites:\n  a.example: {proxy: \"http://h\", allow: [ben], http3: off}\n"},
		"a certificate of ours":       {text: "sites:\n  a.example: {proxy: \"http://h\", allow: [ben], http3: experimental}\n", on: true, warning: "only with one of a public authority"},
		"behind a load balancer":      {text: "proxy_protocol: [10.0.0.1]\nsites:\n  a.example: {proxy: \"http://h\", allow: [ben], http3: experimental, certificate: public}\n", on: true, warning: "nothing is taken"},
		"true":                        {text: "sites:\n  a.example: {proxy: \"http://h\", allow: [ben], http3: true}\n", wrong: "2:55: http3"},
		"of a tcp site":               {text: "sites:\n  a.example: {tcp: \"h:1\", allow: [ben], http3: experimental}\n", wrong: "speaks no HTTP"},
		"of what is served elsewhere": {text: "sites:\n  a.example: {elsewhere: true, allow: [ben], http3: experimental}\n", wrong: "another server"},
	} {
		conf, warnings, err := Parse("postern.yaml", []byte(c.text))
		switch {
		case c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)):
			t.Errorf("%s: %v, want %q", name, err, c.wrong)
		case c.wrong != "":
		case err != nil:
			t.Errorf("%s: %v", name, err)
		case conf.HTTP3() != c.on:
			t.Errorf("%s: HTTP/3 is %v", name, conf.HTTP3())
		case c.warning == "" && len(warnings) > 0, c.warning != "" && (len(warnings) != 1 || !strings.Contains(warnings[0].String(), c.warning)):
			t.Errorf("%s: warns %v, want %q", name, warnings, c.warning)
		}
	}
}

func TestASiteElsewhereCannotAskForAnAddress(t *testing.T) {
	for name, c := range map[string]struct{ site, want string }{
		"a network in allow":      {"allow: [\"network:lan\"]", "names a network"},
		"a network in deny":       {"allow: [ben], deny: [\"network:lan\"]", "names a network"},
		"a condition":             {"allow: [ben], when: 'client.address == \"10.0.0.1\"'", "condition on the client's address"},
		"a limit by address":      {"allow: [ben], limits: [{per: address, rate: 1/s}]", "limit by address"},
		"a limit of what is open": {"allow: [ben], limits: [{per: identity, concurrent: 2}]", "at once"},
		"a route with a network":  {"allow: [ben], routes: [{match: /a, allow: [\"network:lan\"]}]", "route /a of site a.example names a network"},
		"what can be asked":       {"allow: [ben], limits: [{per: identity, rate: 1/s}], when: request.hour > 3", ""},
	} {
		_, _, err := Parse("postern.yaml", []byte("forward_auth: {socket: /tmp/x.sock}\nnetworks: {lan: [10.0.0.0/8]}\nsites:\n  a.example: {elsewhere: true, "+c.site+"}\n"))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
