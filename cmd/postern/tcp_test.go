package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Redis, Mosquitto and PostgreSQL stand behind one port, told apart by the
// name that their clients ask for; their own clients pass with a certificate
// and nobody else does.
func TestTCPSitesWithRealServers(t *testing.T) {
	t.Parallel()
	store, broker, db := redis(t), mosquitto(t), postgres(t)
	d := configured(t, fmt.Sprintf(`
sites:
  redis.test: {tcp: %q, allow: [services/cache]}
  localhost: {tcp: %q, allow: [services/sensor]}
  db.test: {tcp: %q, starttls: postgres, allow: [services/orders]}
`, store.addr, broker.addr, db.addr))
	d.open()
	for _, line := range []string{"redis.test:" + d.port() + "", "localhost:" + d.port(), "db.test:" + d.port()} {
		if out := d.run("status"); !strings.Contains(out, line) {
			t.Errorf("status does not show %s:\n%s", line, out)
		}
	}
	cache, sensor, orders := d.issue("services/cache"), d.issue("services/sensor"), d.issue("services/orders")

	redisAs := func(dir string, args ...string) (string, error) {
		return program(t, nil, "redis-cli", append([]string{"-h", "127.0.0.1", "-p", d.port(), "--tls", "--sni", "redis.test",
			"--cacert", dir + "/root.pem", "--cert", dir + "/cert.pem", "--key", dir + "/key.pem"}, args...)...)
	}
	if out, err := redisAs(cache, "set", "greeting", "hello"); err != nil || strings.TrimSpace(out) != "OK" {
		t.Errorf("redis: %v %s", err, out)
	}
	if out, err := redisAs(cache, "get", "greeting"); err != nil || strings.TrimSpace(out) != "hello" {
		t.Errorf("redis: %v %s", err, out)
	}
	if out, err := redisAs(orders, "get", "greeting"); strings.Contains(out, "hello") {
		t.Errorf("another service reads from redis: %v %s", err, out)
	}

	mqtt := func(dir, tool string, args ...string) *exec.Cmd {
		return exec.CommandContext(t.Context(), tool, append([]string{"-h", "localhost", "-p", d.port(), "-t", "door/bell", "--tls-alpn", "mqtt",
			"--cafile", dir + "/root.pem", "--cert", dir + "/cert.pem", "--key", dir + "/key.pem"}, args...)...)
	}
	if out, err := runQuiet(mqtt(sensor, "mosquitto_pub", "-m", "rings", "-r", "-q", "1")); err != nil {
		t.Errorf("mosquitto_pub: %v %s", err, out)
	}
	if out, err := runQuiet(mqtt(sensor, "mosquitto_sub", "-C", "1", "-W", "30")); err != nil || strings.TrimSpace(out) != "rings" {
		t.Errorf("mosquitto_sub: %v %s", err, out)
	}
	if out, err := runQuiet(mqtt(cache, "mosquitto_sub", "-C", "1", "-W", "10")); err == nil {
		t.Errorf("another service hears the bell: %s", out)
	}

	postgresClients(t, d, orders, cache)
}

// dsn is how PostgreSQL's clients reach the door as the one in dir.
func (d *door) dsn(dir string, more ...string) string {
	return fmt.Sprintf("host=db.test hostaddr=127.0.0.1 port=%s user=postgres dbname=postgres sslmode=verify-full sslrootcert=%[2]s/root.pem sslcert=%[2]s/cert.pem sslkey=%[2]s/key.pem %s",
		d.port(), dir, strings.Join(more, " "))
}

func (d *door) pgx(t *testing.T, dir, negotiation string) (*pgx.Conn, error) {
	t.Helper()
	c, err := pgx.ParseConfig(strings.Replace(d.dsn(dir, "sslnegotiation="+negotiation), "hostaddr=127.0.0.1", "", 1))
	if err != nil {
		t.Fatal(err)
	}
	c.LookupFunc = func(context.Context, string) ([]string, error) { return []string{"127.0.0.1"}, nil }
	c.ConnectTimeout = 20 * time.Second
	return pgx.ConnectConfig(t.Context(), c)
}

func postgresClients(t *testing.T, d *door, orders, cache string) {
	out, err := program(t, nil, "psql", d.dsn(orders), "-Atc", "select 6*7")
	if err != nil || strings.TrimSpace(out) != "42" {
		t.Errorf("psql: %v %s", err, out)
	}
	if out, err := program(t, nil, "psql", d.dsn(cache), "-Atc", "select 6*7"); err == nil {
		t.Errorf("another service reads from the database: %s", out)
	}
	out, err = program(t, nil, "psql", fmt.Sprintf("host=127.0.0.1 port=%s user=postgres sslmode=disable", d.port()), "-c", "select 1")
	if err == nil || !strings.Contains(out, "this server is reached by TLS only") {
		t.Errorf("psql without TLS: %v %s", err, out)
	}

	live := map[string]*pgx.Conn{}
	for _, negotiation := range []string{"direct", "postgres"} {
		conn, err := d.pgx(t, orders, negotiation)
		if err != nil {
			t.Errorf("pgx, sslnegotiation=%s: %v", negotiation, err)
			continue
		}
		defer conn.Close(context.Background())
		var n int
		if err := conn.QueryRow(t.Context(), "select sum(x) from generate_series(1, 100000) x").Scan(&n); err != nil || n != 5000050000 {
			t.Errorf("pgx, sslnegotiation=%s: %d, %v", negotiation, n, err)
		}
		live[negotiation] = conn
	}
	if conn, err := d.pgx(t, cache, "direct"); err == nil {
		conn.Close(t.Context())
		t.Error("another service reads from the database by pgx")
	}
	d.run("revoke", "services/orders")
	for negotiation, conn := range live {
		conn.PgConn().Conn().SetReadDeadline(time.Now().Add(20 * time.Second))
		_, err := conn.PgConn().Conn().Read(make([]byte, 1))
		if timeout, ok := err.(net.Error); err == nil || ok && timeout.Timeout() {
			t.Errorf("the session over sslnegotiation=%s outlives the revocation: %v", negotiation, err)
		}
	}
	if conn, err := d.pgx(t, orders, "direct"); err == nil {
		conn.Close(t.Context())
		t.Error("a revoked service comes back")
	}
}

// nginx behind a tcp site learns the client's address from the PROXY header,
// and the door learns it from its load balancer's.
func TestTheClientsAddressGoesAllTheWay(t *testing.T) {
	t.Parallel()
	app := newServer(t, "")
	conf := app.file("nginx.conf", fmt.Sprintf(`
daemon off; master_process off; pid %[1]s/pid; error_log stderr;
events {}
http {
  access_log off; client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
  server { listen %[2]s proxy_protocol; location / { return 200 "$proxy_protocol_addr $proxy_protocol_port"; } }
}`, app.dir, app.addr))
	app.run("nginx", "-c", conf, "-p", app.dir)
	d := configured(t, fmt.Sprintf(`
proxy_protocol: [127.0.0.1]
sites:
  app.test: {tcp: %q, allow: [enrolled], upstream: {proxy_protocol: v2}}
`, app.addr))
	d.open()
	raw, err := net.Dial("tcp", d.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	raw.SetDeadline(time.Now().Add(30 * time.Second))
	fmt.Fprint(raw, "PROXY TCP4 192.0.2.7 203.0.113.1 4711 443\r\n")
	conn := tls.Client(raw, d.tls(d.issue("ben/laptop"), "app.test"))
	fmt.Fprint(conn, "GET / HTTP/1.0\r\n\r\n")
	answer, err := io.ReadAll(conn)
	if err != nil || !strings.HasSuffix(string(answer), "192.0.2.7 4711") {
		t.Fatalf("%q, %v\n%s", answer, err, d.output)
	}
}
