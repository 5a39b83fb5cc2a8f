package main

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A firefox is a real headless Firefox with a profile of its own, steered by
// Marionette, its own protocol for tests.
type firefox struct {
	t       *testing.T
	profile string
	cmd     *exec.Cmd
	conn    net.Conn
	read    *bufio.Reader
	asked   int
}

// newFirefox prepares a profile that trusts the door's root and, as a person
// may choose, answers a question for a certificate by itself.
func newFirefox(t *testing.T, d *door) *firefox {
	t.Helper()
	f := &firefox{t: t, profile: filepath.Join(t.TempDir(), "profile")}
	if err := os.MkdirAll(filepath.Join(f.profile, "downloads"), 0o700); err != nil {
		t.Fatal(err)
	}
	f.nss("certutil", "-N", "--empty-password")
	f.nss("certutil", "-A", "-n", "postern root", "-t", "C,,", "-i", filepath.Join(d.data, "root.pem"))
	t.Cleanup(f.quit)
	return f
}

func (f *firefox) nss(tool string, args ...string) {
	f.t.Helper()
	if out, err := exec.Command(tool, append(args, "-d", "sql:"+f.profile)...).CombinedOutput(); err != nil {
		f.t.Fatalf("%s: %v\n%s", tool, err, out)
	}
}

// start starts the browser; hosts are names of this machine.
func (f *firefox) start(hosts ...string) {
	f.t.Helper()
	port, err := freePort()
	if err != nil {
		f.t.Fatal(err)
	}
	var prefs strings.Builder
	for name, value := range map[string]any{
		"marionette.port": port, "network.dns.localDomains": strings.Join(hosts, ","), "security.default_personal_cert": "Select Automatically",
		"browser.download.folderList": 2, "browser.download.dir": filepath.Join(f.profile, "downloads"), "browser.download.useDownloadDir": true,
		"browser.download.always_ask_before_handling_new_types": false, "browser.shell.checkDefaultBrowser": false,
		"datareporting.policy.dataSubmissionEnabled": false, "app.update.enabled": false, "network.captive-portal-service.enabled": false,
		"network.connectivity-service.enabled": false,
	} {
		text, err := json.Marshal(value)
		if err != nil {
			f.t.Fatal(err)
		}
		fmt.Fprintf(&prefs, "user_pref(%q, %s);\n", name, text)
	}
	if err := os.WriteFile(filepath.Join(f.profile, "user.js"), []byte(prefs.String()), 0o600); err != nil {
		f.t.Fatal(err)
	}
	f.cmd = exec.Command("firefox-esr", "--headless", "--marionette", "--no-remote", "--profile", f.profile)
	f.cmd.Env = append(os.Environ(), "HOME="+f.profile, "MOZ_CRASHREPORTER_DISABLE=1")
	if err := f.cmd.Start(); err != nil {
		f.t.Fatalf("%v: run scripts/test-tools, which 'make test' does", err)
	}
	for end := time.Now().Add(90 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		if f.conn, err = net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			break
		}
		if time.Now().After(end) {
			f.t.Fatalf("Firefox does not start: %v", err)
		}
	}
	f.read = bufio.NewReader(f.conn)
	if _, err := f.message(); err != nil { // who it is
		f.t.Fatal(err)
	}
	f.do("WebDriver:NewSession", map[string]any{}, nil)
}

// quit ends the browser, so that its database can be changed.
func (f *firefox) quit() {
	if f.cmd == nil {
		return
	}
	f.conn.Close()
	f.cmd.Process.Kill()
	f.cmd.Wait()
	os.Remove(filepath.Join(f.profile, "lock"))
	f.cmd = nil
}

// message reads one message: its length in decimal, a colon, and JSON.
func (f *firefox) message() (json.RawMessage, error) {
	head, err := f.read.ReadString(':')
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(strings.TrimSuffix(head, ":"))
	if err != nil {
		return nil, err
	}
	body := make([]byte, n)
	_, err = io.ReadFull(f.read, body)
	return body, err
}

// try sends a command and reads its answer into value, unless that is nil.
func (f *firefox) try(command string, parameters, value any) error {
	f.asked++
	text, err := json.Marshal([]any{0, f.asked, command, parameters})
	if err != nil {
		return err
	}
	f.conn.SetDeadline(time.Now().Add(90 * time.Second))
	if _, err := fmt.Fprintf(f.conn, "%d:%s", len(text), text); err != nil {
		return err
	}
	body, err := f.message()
	if err != nil {
		return err
	}
	var answer [4]json.RawMessage // 1, the command's number, its error, its result
	if err := json.Unmarshal(body, &answer); err != nil {
		return err
	}
	if string(answer[2]) != "null" {
		return fmt.Errorf("%s: %.400s", command, answer[2])
	}
	if value == nil {
		return nil
	}
	return json.Unmarshal(answer[3], &struct {
		Value any `json:"value"`
	}{value})
}

func (f *firefox) do(command string, parameters, value any) {
	f.t.Helper()
	if err := f.try(command, parameters, value); err != nil {
		f.t.Fatal(err)
	}
}

func (f *firefox) visit(url string) {
	f.t.Helper()
	f.do("WebDriver:Navigate", map[string]any{"url": url}, nil)
}

// text returns what a part of the page says.
func (f *firefox) text(selector string) (text string) {
	f.t.Helper()
	f.do("WebDriver:ExecuteScript", map[string]any{"script": "return document.querySelector(arguments[0]).textContent", "args": []any{selector}}, &text)
	return text
}

// click taps what a selector names, as a person does: what cannot be seen
// cannot be tapped.
func (f *firefox) click(selector string) {
	f.t.Helper()
	var element map[string]string
	f.do("WebDriver:FindElement", map[string]any{"using": "css selector", "value": selector}, &element)
	for _, id := range element {
		f.do("WebDriver:ElementClick", map[string]any{"id": id}, nil)
	}
}

// await waits until an expression in the page is true.
func (f *firefox) await(expression string) {
	f.t.Helper()
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		var yes bool
		if err := f.try("WebDriver:ExecuteScript", map[string]any{"script": "return " + expression, "args": []any{}}, &yes); err == nil && yes {
			return
		}
	}
	f.t.Fatalf("never %s; the page shows %s", expression, f.text("body"))
}

// shoot writes a screenshot into the folder POSTERN_SCREENSHOTS, if it is set.
func (f *firefox) shoot(name string) {
	f.t.Helper()
	dir := os.Getenv("POSTERN_SCREENSHOTS")
	if dir == "" {
		return
	}
	var encoded string
	f.do("WebDriver:TakeScreenshot", map[string]any{"full": true}, &encoded)
	png, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644); err != nil {
		f.t.Fatal(err)
	}
}

// The whole way in Firefox: the key is made in its page and lies in its own
// database afterwards. Before, it is told why not; after revoke, again.
func TestFirefoxComesIn(t *testing.T) {
	t.Parallel()
	const host = "pw.postern.test"
	d := newDoor(t, host+"="+site(t, "the page behind the door"))
	d.open()
	url := "https://" + host + ":" + d.port() + "/"
	f := newFirefox(t, d)
	f.start(host)

	f.visit(url)
	if text := f.text("body"); !strings.Contains(text, "no-certificate") {
		t.Errorf("a stranger's browser shows %s", text)
	}
	f.shoot("firefox-refused")

	invited := d.onTerminal("", "invite", "anna/laptop")
	invited.await("Waiting for anna/laptop")
	f.visit(readQR(t, invited.String()))
	f.click("#begin")
	f.await("!document.querySelector('#made').hidden")
	f.shoot("firefox-made")
	password := f.text("#password")
	f.click("#file")
	file := filepath.Join(f.profile, "downloads", "anna-laptop.p12")
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if info, err := os.Stat(file); err == nil && info.Size() > 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the file was never saved")
		}
	}
	// Its settings have an Import that only a person can reach.
	f.quit()
	f.nss("pk12util", "-i", file, "-W", password)
	f.start(host)
	f.visit(url)
	if text := f.text("body"); !strings.Contains(text, "the page behind the door") {
		t.Errorf("the owner's browser shows %s", text)
	}
	invited.end(0)
	if !strings.Contains(invited.String(), "opened on Linux Firefox") {
		t.Errorf("the operator was told\n%s", invited)
	}

	d.run("revoke", "anna/laptop")
	f.visit(url)
	if text := f.text("body"); !strings.Contains(text, "revoked") {
		t.Errorf("after revoke the owner's browser shows %s", text)
	}
	f.shoot("firefox-revoked")
}
