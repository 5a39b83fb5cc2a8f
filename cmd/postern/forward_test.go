package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// nginx and Caddy from Debian end TLS in front of an application, and ask the
// door about every request; a revocation counts at the next one.
func TestForwardAuthForNginxAndCaddy(t *testing.T) {
	t.Parallel()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello %q %s", r.Header.Values("X-Postern-Identity"), r.URL.Path)
	}))
	defer app.Close()
	nginx, caddy := newServer(t, ""), newServer(t, "")
	socket := nginx.dir + "/auth.sock"
	d := configured(t, fmt.Sprintf(`
forward_auth: {socket: %s, mode: "0666"}
sites:
  app.test: {elsewhere: true, allow: [ben], routes: [{match: /open/, allow: [strangers]}]}
`, socket))
	d.open()
	d.run("issue", "services/web", "--profile", "server", "--dns", "app.test", "--out", d.home+"/web")
	ben, anna := d.issue("ben/laptop"), d.issue("anna/laptop")

	nginx.run("nginx", "-p", nginx.dir, "-c", nginx.file("nginx.conf", fmt.Sprintf(`
daemon off; master_process off; pid %[1]s/pid; error_log stderr;
events {}
http {
  access_log off; client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
  server {
    listen %[2]s ssl;
    ssl_certificate %[3]s/web/cert.pem; ssl_certificate_key %[3]s/web/key.pem;
    ssl_verify_client optional_no_ca;
    location = /.auth {
      internal;
      proxy_pass http://unix:%[4]s:/verify;
      proxy_pass_request_body off;
      proxy_set_header Content-Length "";
      proxy_set_header X-Client-Cert $ssl_client_escaped_cert;
      proxy_set_header X-Forwarded-Host $host;
      proxy_set_header X-Forwarded-Method $request_method;
      proxy_set_header X-Forwarded-Uri $request_uri;
    }
    location / {
      auth_request /.auth;
      auth_request_set $who $upstream_http_x_postern_identity;
      proxy_set_header X-Postern-Identity $who;
      proxy_pass %[5]s;
    }
  }
}`, nginx.dir, nginx.addr, d.home, socket, app.URL)))
	caddy.run("caddy", "run", "--adapter", "caddyfile", "--config", caddy.file("Caddyfile", fmt.Sprintf(`
{
  admin off
  auto_https off
}
https://app.test:%[1]s {
  bind 127.0.0.1
  tls %[2]s/web/cert.pem %[2]s/web/key.pem {
    client_auth {
      mode request
    }
  }
  route {
    request_header -X-Postern-Identity
    forward_auth unix/%[3]s {
      uri /verify
      header_up X-Client-Cert {http.request.tls.client.certificate_der_base64}
      copy_headers X-Postern-Identity
    }
    reverse_proxy %[4]s
  }
}`, caddy.port(), d.home, socket, strings.TrimPrefix(app.URL, "http://"))))

	get := func(s *server, dir, path string, header ...string) (int, string) {
		t.Helper()
		c := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{TLSClientConfig: d.tls(dir, "app.test"), DisableKeepAlives: true,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, "tcp", s.addr)
			}}}
		if dir != "" { // whatever the server says it wants
			pair := c.Transport.(*http.Transport).TLSClientConfig.Certificates[0]
			c.Transport.(*http.Transport).TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
		}
		req, err := http.NewRequest("GET", "https://app.test:"+s.port()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Postern-Identity", "ben/forged")
		req.Header.Set("X-Client-Cert", "MIIB")
		req.Header.Set("X-Forwarded-Uri", "/open/")
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		resp, err := c.Do(req)
		if err != nil {
			t.Fatalf("%v\n%s", err, s.out)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body)
	}
	both := map[string]*server{"nginx": nginx, "caddy": caddy}
	for name, s := range both {
		if status, body := get(s, ben, "/page"); status != 200 || body != `hello ["ben/laptop"] /page` {
			t.Errorf("%s, ben: %d %s\n%s\n%s", name, status, body, s.out, d.output)
		}
		if status, body := get(s, anna, "/page"); status != 403 || strings.Contains(body, "hello") {
			t.Errorf("%s, somebody not on the list: %d %s", name, status, body)
		}
		if status, body := get(s, "", "/page"); status != 403 || strings.Contains(body, "hello") {
			t.Errorf("%s, a stranger: %d %s", name, status, body)
		}
		if status, body := get(s, ben, "/page", "Origin", "https://evil.test", "Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="); status != 403 || strings.Contains(body, "hello") {
			t.Errorf("%s, a WebSocket of another origin's page: %d %s", name, status, body)
		}
		if status, body := get(s, "", "/open/door"); status != 200 || strings.Contains(body, "forged") {
			t.Errorf("%s, a stranger where they are let in: %d %s", name, status, body)
		}
	}
	if _, body := get(caddy, anna, "/page"); !strings.Contains(body, "not-on-list") {
		t.Errorf("caddy hands on no reason: %s", body)
	}
	d.run("revoke", "ben/laptop")
	for name, s := range both {
		if status, body := get(s, ben, "/page"); status != 403 {
			t.Errorf("%s, revoked: %d %s", name, status, body)
		}
	}
}
