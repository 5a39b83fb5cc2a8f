package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// overHTTP3 asks for a site's page on a QUIC connection of its own.
func (d *door) overHTTP3(c *tls.Config) (status int, body string, header http.Header, err error) {
	d.t.Helper()
	c = c.Clone()
	c.NextProtos = []string{http3.NextProtoH3}
	ctx, cancel := context.WithTimeout(d.t.Context(), 10*time.Second)
	defer cancel()
	q, err := quic.DialAddr(ctx, d.addr, c, nil)
	if err != nil {
		return 0, "", nil, err
	}
	defer q.CloseWithError(0, "")
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+c.ServerName+":"+d.port()+"/", nil)
	if err != nil {
		d.t.Fatal(err)
	}
	resp, err := new(http3.Transport).NewClientConn(q).RoundTrip(r)
	if err != nil {
		return 0, "", nil, err
	}
	defer resp.Body.Close()
	all, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(all), resp.Header, err
}

// A site that says so is served over HTTP/3, a proxied one as a folder, and no
// other. A device that comes over TCP is told of it. The setting comes and goes
// with a reload, and the socket with it.
func TestHTTP3(t *testing.T) {
	t.Parallel()
	d := configured(t, "")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, r.Header.Get("X-Postern-Identity"), r.Proto, r.TransferEncoding)
	}))
	t.Cleanup(server.Close)
	app := server.URL
	folder := site(t, "hello")
	text := func(http3 string) string {
		return fmt.Sprintf("sites:\n  pw.test: {static: %s, allow: [ben], http3: %s}\n  app.test: {proxy: %q, allow: [ben], http3: %s}\n  tcp.test: {static: %[1]s, allow: [ben]}\n",
			folder, http3, app, http3)
	}
	d.configure(text("experimental"))
	d.open()
	ben := d.issue("ben/laptop")
	if status, body, _, err := d.overHTTP3(d.tls(ben, "pw.test")); err != nil || status != 200 || !strings.Contains(body, "hello") {
		t.Fatalf("a folder: %d %s %v\n%s", status, body, err, d.output)
	}
	if status, body, _, err := d.overHTTP3(d.tls(ben, "app.test")); err != nil || status != 200 || !strings.Contains(body, "ben/laptop HTTP/1.1 []") {
		t.Errorf("an application: %d %s %v", status, body, err)
	}
	if status, _, header, err := d.overHTTP3(d.tls("", "pw.test")); err != nil || status != 421 || header.Get("Alt-Svc") != "clear" {
		t.Errorf("nobody: %d %v %v", status, header, err)
	}
	if status, _, _, err := d.overHTTP3(d.tls(ben, "tcp.test")); err == nil {
		t.Errorf("a site that does not say so: %d", status)
	}
	d.says("protocol=h3")
	resp, err := d.client(d.tls(ben, "pw.test")).Get("https://pw.test:" + d.port() + "/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if want := fmt.Sprintf(`h3=":%s"; ma=3600`, d.port()); resp.Header.Get("Alt-Svc") != want {
		t.Errorf("told %q over TCP, want %q", resp.Header.Get("Alt-Svc"), want)
	}
	d.run("revoke", "ben/laptop")
	if status, body, _, err := d.overHTTP3(d.tls(ben, "pw.test")); err != nil || status != 403 {
		t.Errorf("revoked: %d %s %v", status, body, err)
	}

	d.configure(text("off"))
	d.says("configuration in force")
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if socket, err := net.ListenPacket("udp", d.addr); err == nil {
			socket.Close()
			break
		} else if time.Now().After(end) {
			t.Fatalf("the socket is not closed: %v", err)
		}
	}
	d.configure(text("experimental"))
	anna := d.issue("ben/phone")
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if status, _, _, err := d.overHTTP3(d.tls(anna, "pw.test")); err == nil && status == 200 {
			break
		} else if time.Now().After(end) {
			t.Fatalf("it does not come back: %d %v\n%s", status, err, d.output)
		}
	}
}

// The program is replaced with HTTP/3 open: the new one answers at the same
// socket.
func TestHTTP3OutlivesAnUpgrade(t *testing.T) {
	t.Parallel()
	d := newReplaceable(t)
	d.configure("sites: {pw.test: {static: " + site(t, "hello") + ", allow: [ben], http3: experimental}}\n")
	for i, arg := range d.args {
		if arg == "--site" {
			d.args = append(append([]string{}, d.args[:i]...), d.args[i+2:]...)
			break
		}
	}
	d.args = append(d.args, "--config", filepath.Join(d.home, "postern.yaml"))
	cmd := d.serve()
	first := d.await()
	ben := d.issue("ben/laptop")
	answers := func() {
		t.Helper()
		for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
			status, _, _, err := d.overHTTP3(d.tls(ben, "pw.test"))
			if err == nil && status == 200 {
				return
			}
			if time.Now().After(end) {
				said, _ := os.ReadFile(d.log)
				t.Fatalf("no answer over HTTP/3: %d %v\n%s", status, err, said)
			}
		}
	}
	answers()
	if err := cmd.Process.Signal(syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	second := d.await(first)
	answers()
	syscall.Kill(second, syscall.SIGUSR2)
	d.await(first, second)
	answers()
}

// Chromium speaks HTTP/3 with us where nobody is asked for a certificate. Where
// it is, it tries and breaks off, and shows the page over TCP each time.
func TestChromiumAndHTTP3(t *testing.T) {
	t.Parallel()
	d := configured(t, "")
	folder := site(t, "hello")
	d.configure("sites: {localhost: {static: " + folder + "}, h3.postern.test: {static: " + folder + ", allow: [ben], http3: experimental}, " +
		"open.postern.test: {static: " + folder + ", allow: [strangers], mode: off, http3: experimental}}\n")
	d.open()
	dir := d.enrol("ben/laptop", "--p12")
	password, err := os.ReadFile(filepath.Join(dir, "identity.p12.password"))
	if err != nil {
		t.Fatal(err)
	}
	b := newBrowser(t, d)
	b.nss("pk12util", "-i", filepath.Join(dir, "identity.p12"), "-W", strings.TrimSpace(string(password)))
	b.options = []chromedp.ExecAllocatorOption{
		chromedp.Flag("enable-quic", true),
		chromedp.Flag("origin-to-force-quic-on", "open.postern.test:"+d.port()),
		// It uses QUIC with a private root only if it is told to.
		chromedp.Flag("ignore-certificate-errors-spki-list", d.pin("h3.postern.test")+","+d.pin("open.postern.test")),
	}
	b.start()
	for i := range 5 {
		if i%2 == 1 { // its connections end, so that the next visit chooses anew
			d.run("suspend", "ben/laptop")
			d.run("reinstate", "ben/laptop")
		}
		if _, text := b.visit("https://h3.postern.test:" + d.port() + "/"); !strings.Contains(text, "hello") {
			t.Fatalf("visit %d shows %s\n%s", i, text, d.output)
		}
	}
	if _, text := b.visit("https://open.postern.test:" + d.port() + "/"); !strings.Contains(text, "hello") {
		t.Fatalf("over HTTP/3 it shows %s\n%s", text, d.output)
	}
	d.says("site=open.postern.test protocol=h3")
}

// pin returns the hash of the key that a site shows, as browsers write it.
func (d *door) pin(host string) string {
	d.t.Helper()
	conn, err := tls.Dial("tcp", d.addr, d.tls("", host))
	if err != nil {
		d.t.Fatal(err)
	}
	defer conn.Close()
	sum := sha256.Sum256(conn.ConnectionState().PeerCertificates[0].RawSubjectPublicKeyInfo)
	return base64.StdEncoding.EncodeToString(sum[:])
}
