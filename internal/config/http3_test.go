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
