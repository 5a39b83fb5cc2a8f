package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// Two nginx that demand Postern's own certificate stand behind one site: the
// authority's short-lived one opens them, a third that is down is noticed by
// nobody, and a body over the limit is refused.
func TestUpstreamsThatDemandOurCertificate(t *testing.T) {
	t.Parallel()
	first, second := newServer(t, ""), newServer(t, "")
	down := freePair(t)
	d := configured(t, "")
	d.run("init")
	d.configure(fmt.Sprintf(`
sites:
  app.test:
    proxy: ["https://%s", "https://%s", "https://%s"]
    allow: [enrolled]
    upstream:
      ca: %s/root.pem
      server_name: app.internal
      certificate: postern
      max_body: 1KiB
`, first.addr, second.addr, down, d.data))
	d.run("issue", "services/app", "--profile", "server", "--dns", "app.internal", "--out", d.home+"/app")
	for i, s := range []*server{first, second} {
		conf := s.file("nginx.conf", fmt.Sprintf(`
daemon off; master_process off; pid %[1]s/pid; error_log stderr;
events {}
http {
  access_log off; client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
  server {
    listen %[2]s ssl;
    ssl_certificate %[3]s/app/cert.pem; ssl_certificate_key %[3]s/app/key.pem;
    ssl_client_certificate %[3]s/app/root.pem; ssl_verify_client on; ssl_verify_depth 2;
    location / { return 200 "%[4]d $ssl_client_s_dn $http_x_postern_identity\n"; }
  }
}`, s.dir, s.addr, d.home, i))
		s.run("nginx", "-c", conf, "-p", s.dir)
	}
	d.open()
	client := d.client(d.tls(d.issue("ben/laptop"), "app.test"))
	seen := map[string]int{}
	for range 12 {
		status, body, p := d.get(client, "app.test")
		if status != 200 || !strings.HasSuffix(strings.TrimSpace(body), "ben/laptop") || !strings.Contains(body, "CN=sites/app.test/upstream") {
			t.Fatalf("%d %q %+v\n%s\n%s", status, body, p, first.out, d.output)
		}
		seen[body[:1]]++
	}
	if seen["0"] < 2 || seen["1"] < 2 {
		t.Errorf("work is shared %v", seen)
	}
	resp, err := client.Post("https://app.test:"+d.port()+"/", "text/plain", strings.NewReader(strings.Repeat("x", 1025)))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("a body over the limit: %d", resp.StatusCode)
	}
}

// A change of how a site's application is reached takes effect with the file.
func TestAnUpstreamIsReplacedByAReload(t *testing.T) {
	t.Parallel()
	apps := [2]*httptest.Server{}
	for i := range apps {
		apps[i] = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, i) }))
		defer apps[i].Close()
	}
	text := func(urls ...string) string {
		return fmt.Sprintf("sites:\n  app.test: {proxy: [%s], allow: [enrolled], upstream: {health: {path: /, every: 50ms}}}\n", strings.Join(urls, ", "))
	}
	d := configured(t, text(apps[0].URL))
	d.open()
	client := d.client(d.tls(d.issue("ben/laptop"), "app.test"))
	if _, body, p := d.get(client, "app.test"); body != "0" {
		t.Fatalf("%q %+v", body, p)
	}
	d.configure(text(apps[1].URL))
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		_, body, p := d.get(client, "app.test")
		if body == "1" {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("still %q %+v\n%s", body, p, d.output)
		}
	}
}
