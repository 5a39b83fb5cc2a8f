package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/postern-project/postern/internal/upstream"
)

func TestEverythingOfAnUpstreamIsRead(t *testing.T) {
	c, warnings, err := Parse("postern.yaml", []byte(`
sites:
  a.example:
    proxy: [http://10.0.0.1:8080, "h2c://10.0.0.2", unix:/run/app.sock]
    allow: [ben]
    upstream:
      balance: least-connections
      retries: 0
      health: {path: /healthz?deep=1, host: app.example, every: 5s, timeout: 500ms}
      timeouts: {connect: 1s, answer: 5m, write: 30s, idle: 10s}
      max_body: 10MiB
  b.example:
    tcp: ["10.0.0.1:5432", "[::1]:5432"]
    allow: [ben]
    upstream: {balance: round-robin, health: {every: 2s}, timeouts: {connect: 1s, write: 5s}}
`))
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	a, _ := c.Site("a.example")
	u := a.Upstream
	if a.Target() != "http://10.0.0.1:8080, h2c://10.0.0.2, unix:/run/app.sock" || u.Balance != upstream.LeastConnections || u.Retries != -1 ||
		u.Health != (upstream.Health{Path: "/healthz?deep=1", Host: "app.example", Every: 5 * time.Second, Timeout: 500 * time.Millisecond}) ||
		u.Connect != time.Second || u.Answer != 5*time.Minute || u.Write != 30*time.Second || u.Idle != 10*time.Second || u.MaxBody != 10<<20 {
		t.Errorf("%+v", a)
	}
	b, _ := c.Site("b.example")
	if b.Target() != "10.0.0.1:5432, [::1]:5432" || b.Upstream.Health.Every != 2*time.Second || b.Upstream.Balance != upstream.RoundRobin {
		t.Errorf("%+v", b)
	}
}

func TestMistakesAboutAnUpstreamHaveAPlace(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ keys, want, hint string }{
		"an unknown key":               {"upstream: {balanced: x}", `4:16: unknown key "balanced" in upstream`, `did you mean "balance"?`},
		"an unknown balance":           {"upstream: {balance: random}", `4:25: balance: "random" is no way to share work: write round-robin or least-connections`, ""},
		"no number of retries":         {"upstream: {retries: 99}", `4:25: retries: "99" is no number from 0 to 15`, ""},
		"a time without a unit":        {"upstream: {timeouts: {answer: 60}}", `4:35: answer: "60" is no time from 1ms to 24h`, ""},
		"no time at all":               {"upstream: {timeouts: {answer: 0s}}", `4:35: answer: "0s" is no time`, ""},
		"a size that is none":          {"upstream: {max_body: ten}", `4:26: max_body: "ten" is no size: write one such as`, ""},
		"no size at all":               {"upstream: {max_body: 0}", `4:26: max_body: "0" is no size`, ""},
		"a relative path to check":     {"upstream: {health: {path: healthz}}", `4:31: path: "healthz" is no path such as /healthz`, ""},
		"checks without a path":        {"upstream: {health: {every: 1s}}", `2:3: site a.example has its health checked without a path`, "/healthz"},
		"an unknown pool":              {"upstream: {pool: mine}", `4:22: pool: "mine" is no kind of pool`, ""},
		"roots that are not there":     {"upstream: {ca: nowhere.pem}", `4:20: ca: `, ""},
		"roots that are empty":         {"upstream: {ca: " + empty + "}", `4:20: ca: ` + empty + `: no certificate in it`, ""},
		"TLS to one that speaks none":  {"upstream: {server_name: app}", `2:3: site a.example says how TLS is spoken to an upstream that speaks none`, "https://"},
		"a certificate without key":    {"upstream: {certificate: {cert: " + empty + "}}", `4:29: certificate: both the certificate and its key`, ""},
		"a certificate of nobody":      {"upstream: {certificate: mine}", `4:29: certificate: "mine" is no certificate: write postern`, ""},
		"a health check with balances": {"upstream: {health: {balance: x}}", `4:25: unknown key "balance" in health`, "known here: every"},
	} {
		t.Run(name, func(t *testing.T) {
			target := "https://h"
			if strings.Contains(c.want, "speaks none") {
				target = "http://h"
			}
			_, _, err := Parse(filepath.Join(dir, "postern.yaml"), []byte("sites:\n  a.example:\n    proxy: "+target+"\n    "+c.keys+"\n"))
			if err == nil {
				t.Fatal("accepted")
			}
			first := Errors(err)[0]
			if _, text, _ := strings.Cut(first.Error(), "postern.yaml:"); !strings.HasPrefix(text, c.want) || !strings.Contains(first.Hint, c.hint) {
				t.Errorf("says\n  %s (%s), want\n  %s", text, first.Hint, c.want)
			}
		})
	}
	for name, c := range map[string]struct{ site, want string }{
		"a folder with an upstream":    {"static: " + dir + ", upstream: {retries: 1}", "a folder has none"},
		"a tcp site with a body limit": {"tcp: \"h:1\", upstream: {max_body: 1KiB}", "for proxy: only"},
		"HTTP/2 kept apart":            {"proxy: \"h2c://h\", upstream: {pool: per-identity}", "keeps connections of HTTP/2 apart"},
		"one of two without TLS":       {"proxy: [\"https://h\", \"http://h\"], upstream: {server_name: x}", "speaks none"},
		"a PROXY header over HTTP":     {"proxy: \"http://h\", upstream: {proxy_protocol: v2}", "which is for tcp sites"},
		"an old PROXY header":          {"tcp: \"h:1\", upstream: {proxy_protocol: v1}", `"v1" is not sent: write v2`},
		"a folder that is told":        {"static: " + dir + ", identity: [jwt]", "has none that is told in HTTP"},
		"an unknown form":              {"proxy: \"http://h\", identity: [token]", `"token" is no form: write client-cert`},
		"a form twice":                 {"proxy: \"http://h\", identity: [jwt, jwt]", "jwt stands here twice"},
		"an address twice":             {"proxy: [\"http://h\", \"http://H\"]", "http://h is written twice"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := Parse("postern.yaml", []byte("sites:\n  a.example: {"+c.site+"}\n"))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("says %v, want %s", err, c.want)
			}
		})
	}
}

func TestWhereACertificateComesFrom(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"c", "k"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, _, err := Parse(filepath.Join(dir, "postern.yaml"), []byte("public: {host: join.example.com, certificate: public}\npublic_ca: {directory: https://ca.example/dir, email: ops@example.com}\n"+
		"sites:\n  a.example.com: {static: ., certificate: {cert: c, key: k}}\n  b.example.com: {static: ., certificate: postern}\n"))
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]ServerCertificate{
		"join.example.com": {Public: true}, "a.example.com": {Cert: filepath.Join(dir, "c"), Key: filepath.Join(dir, "k")}, "b.example.com": {}, "other": {},
	} {
		if got := c.Certificate(host); got != want {
			t.Errorf("%s: %+v", host, got)
		}
	}
	for text, want := range map[string]string{
		"public_ca: {directory: \"http://ca\"}":        `1:24: directory: "http://ca" is no directory of an authority`,
		"public_ca: {email: me}":                       "1:20: email: no e-mail address",
		"public_ca: {roots: none.pem}":                 "1:20: roots: ",
		"public: {host: a.example, certificate: mine}": `1:40: certificate: "mine" is no certificate: write postern (the default), public`,
	} {
		if _, _, err := Parse("postern.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestWhoMayAskAboutRequests(t *testing.T) {
	c, _, err := Parse("postern.yaml", []byte("forward_auth: {socket: /run/a.sock, mode: \"0666\", header: Client-Cert, host: auth.example, allow: [services/nginx]}\nsites:\n  a.example: {elsewhere: true, allow: [ben]}\n"))
	if f := c.ForwardAuth; err != nil || f.Socket != "/run/a.sock" || f.Mode != 0o666 || f.Header != "Client-Cert" || f.Host != "auth.example" || len(f.List.Allow) != 1 {
		t.Errorf("%+v, %v", c.ForwardAuth, err)
	}
	if s, _ := c.Site("a.example"); s.Target() != "another server" {
		t.Errorf("%+v", s)
	}
	for text, want := range map[string]string{
		"forward_auth: {header: X}":                                                          "forward_auth: nowhere to ask",
		"forward_auth: {socket: /a, allow: [ben]}":                                           "forward_auth: allow without a host",
		"forward_auth: {host: a.example}":                                                    "a host is for services that are named",
		"forward_auth: {host: a.example, allow: [enrolled]}":                                 "a host is for services that are named",
		"forward_auth: {host: a.example, allow: [strangers]}":                                "a host is for services that are named",
		"forward_auth: {socket: /a, mode: \"0777\"}":                                         `"0777" is no mode of a socket`,
		"forward_auth: {socket: /a, header: \"X Y\"}":                                        `"X Y" is no name of a header field`,
		"forward_auth: {host: a.example, allow: [x]}\nsites: {a.example: {elsewhere: true}}": "host a.example of forward_auth is something else already",
		"sites: {a.example: {elsewhere: true, upstream: {retries: 1}}}":                      "is served elsewhere",
		"sites: {a.example: {elsewhere: true, tcp: \"h:1\"}}":                                "has both elsewhere and tcp",
	} {
		if _, _, err := Parse("postern.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestWhoMaySendProxyHeaders(t *testing.T) {
	c, _, err := Parse("postern.yaml", []byte("proxy_protocol: [10.0.0.5, \"fd00:1::/64\"]\n"))
	if err != nil || len(c.Proxies) != 2 || c.Proxies[0].String() != "10.0.0.5/32" {
		t.Errorf("%v, %v", c.Proxies, err)
	}
	for text, want := range map[string]string{
		"[]":                      "1:17: proxy_protocol: no address",
		"[0.0.0.0/0]":             "1:18: proxy_protocol: 0.0.0.0/0 is everybody",
		"[lb.example]":            `1:18: proxy_protocol: "lb.example" is not an address`,
		"[10.0.0.5/8]":            "1:18: proxy_protocol: 10.0.0.5/8 has bits beyond its prefix",
		"[10.0.0.5, 10.0.0.5/32]": "1:28: proxy_protocol: 10.0.0.5/32 stands here twice",
	} {
		if _, _, err := Parse("postern.yaml", []byte("proxy_protocol: "+text+"\n")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// Two sites share what is behind them only where it is reached alike.
func TestKeysTellSitesApart(t *testing.T) {
	base := Site{Proxy: []string{"http://h"}}
	for name, other := range map[string]Site{
		"another target":         {Proxy: []string{"http://g"}},
		"a folder of that name":  {Static: "http://h"},
		"bytes and not requests": {TCP: []string{"http://h"}},
		"a body limit":           {Proxy: base.Proxy, Upstream: Upstream{MaxBody: 1}},
		"separate pools":         {Proxy: base.Proxy, Upstream: Upstream{Separate: true}},
		"another time to wait":   {Proxy: base.Proxy, Upstream: Upstream{Answer: 1}},
	} {
		if other.Key() == base.Key() {
			t.Errorf("%s: one key", name)
		}
	}
	if (Site{Host: "x", Proxy: base.Proxy}).Key() != base.Key() {
		t.Error("two sites with one application have two keys")
	}
	own := Upstream{Certificate: ClientCertificate{Own: true}}
	if (Site{Host: "x", Proxy: base.Proxy, Upstream: own}).Key() == (Site{Host: "y", Proxy: base.Proxy, Upstream: own}).Key() {
		t.Error("two sites with a certificate each have one key")
	}
}

func FuzzParseSize(f *testing.F) {
	for _, s := range []string{"10MiB", "1", "500 KB", "9999999999GiB", "GiB", "-1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := parseSize(s)
		if err == nil && (n < 1 || n > 1<<61) {
			t.Errorf("%q is %d bytes", s, n)
		}
	})
}
