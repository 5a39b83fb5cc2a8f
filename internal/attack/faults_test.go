package attack

import (
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// faults are what can be wrong with a file that trust or a secret is read from.
func faults(t testing.TB, good []byte) map[string]func(path string) {
	put := func(content []byte) func(string) {
		return func(path string) { must(t, os.RemoveAll(path)); must(t, os.WriteFile(path, content, 0o600)) }
	}
	block, _ := pem.Decode(good)
	if block == nil {
		block = &pem.Block{Type: "CERTIFICATE", Bytes: good}
	}
	return map[string]func(string){
		"missing":                func(path string) { must(t, os.RemoveAll(path)) },
		"empty":                  put(nil),
		"white":                  put([]byte("\n \n")),
		"garbage":                put([]byte("\x00\xff\x17garbage")),
		"a PEM frame of garbage": put([]byte("-----BEGIN " + block.Type + "-----\nAAAA\n-----END " + block.Type + "-----\n")),
		"cut off":                put(good[:len(good)/2]),
		"of another type":        put(pem.EncodeToMemory(&pem.Block{Type: "DH PARAMETERS", Bytes: block.Bytes})),
		"good, then garbage":     put(append(append([]byte{}, good...), []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")...)),
		"a folder":               func(path string) { must(t, os.RemoveAll(path)); must(t, os.Mkdir(path, 0o700)) },
		"unreadable": func(path string) {
			must(t, os.RemoveAll(path))
			if os.Getuid() != 0 {
				must(t, os.WriteFile(path, good, 0o000))
				return
			}
			must(t, os.Symlink("/proc/self/mem", path)) // root reads everything else
		},
		"endless": func(path string) { must(t, os.RemoveAll(path)); must(t, os.Symlink("/dev/zero", path)) },
	}
}

const faultySites = `%LISTEN%
acme: {server: {names: ["*.attack.test"], networks: [127.0.0.0/8]}}
sites:
  ben.attack.test: {proxy: "%APP%", allow: [ben], identity: [jwt]}
  partner.attack.test:
    proxy: "%APP%"
    allow: [foreign:acme]
    trust: {acme: {ca: "%HOME%/acme.pem", members: [{dns: api.acme.test}]}}
  files.attack.test: {proxy: "%APP%", allow: [ben], certificate: {cert: "%HOME%/site.pem", key: "%HOME%/site.key"}}
  behind.attack.test: {proxy: "https://127.0.0.1:1", allow: [ben], upstream: {ca: "%HOME%/behind.pem", certificate: {cert: "%HOME%/site.pem", key: "%HOME%/site.key"}}}
`

// siteFiles writes what faultySites refers to.
func (h *house) siteFiles(t testing.TB) {
	t.Helper()
	dir := filepath.Join(h.home, "files")
	h.run(t, "issue", "services/files", "--profile", "server", "--dns", "files.attack.test", "--out", dir)
	for from, to := range map[string]string{filepath.Join(dir, "cert.pem"): "site.pem", filepath.Join(dir, "key.pem"): "site.key", filepath.Join(dir, "root.pem"): "behind.pem"} {
		text, err := os.ReadFile(from)
		must(t, err)
		must(t, os.WriteFile(filepath.Join(h.home, to), text, 0o600))
	}
}

// A file of trust or a secret that is not as it should be opens nothing: the
// server does not start, and a running one keeps what it had and says so.
//
// Caddy CVE-2026-27586, GO-2026-4539; Traefik CVE-2022-46153, CVE-2026-54762;
// dsx-exchange's empty pool.
func TestFaultyFilesOnReload(t *testing.T) {
	t.Parallel()
	h, err := newHouse(t.TempDir())
	must(t, err)
	t.Cleanup(h.kill)
	h.app, h.partner = theHouse(t).app, theHouse(t).partner
	must(t, os.WriteFile(filepath.Join(h.home, "acme.pem"), h.partner.pem(), 0o600))
	h.write(t, `%LISTEN%`)
	h.siteFiles(t)
	h.write(t, h.fill(faultySites))
	h.mustOpen(t)
	ben, member := h.identity(t, "ben/laptop"), h.partner.sign(t, dnsDevice("api.acme.test"))
	stranger, err := newAuthority("acme root", nil)
	must(t, err)
	evil := stranger.sign(t, dnsDevice("api.acme.test"))
	reloads := func() int { return strings.Count(h.output.String(), "configuration ") }
	for _, name := range []string{"acme.pem", "site.pem", "site.key", "behind.pem"} {
		path := filepath.Join(h.home, name)
		good, err := os.ReadFile(path)
		must(t, err)
		for sentence, spoil := range faults(t, good) {
			if !long && name != "acme.pem" && sentence != "missing" && sentence != "empty" && sentence != "garbage" {
				continue
			}
			spoil(path)
			before, mark := reloads(), len(h.output.String())
			must(t, h.cmd.Process.Signal(syscall.SIGHUP))
			until(t, "a reload is answered in the log", func() bool { return reloads() > before })
			for c, want := range map[string]string{
				"ben at his":            h.get(t, ben, "ben.attack.test", "/").String() + " 200",
				"nobody at Ben's":       h.get(t, nil, "ben.attack.test", "/").String() + " no-certificate",
				"a member":              h.get(t, member, "partner.attack.test", "/").String() + " 200",
				"another authority's":   h.get(t, evil, "partner.attack.test", "/").String() + " unknown-issuer",
				"Ben at the partner's":  h.get(t, ben, "partner.attack.test", "/").String() + " not-on-list",
				"nobody at the files's": h.get(t, nil, "files.attack.test", "/").String() + " no-certificate",
			} {
				if got, want, _ := strings.Cut(want, " "); got != want {
					t.Errorf("%s %s, %s: %s, want %s", name, sentence, c, got, want)
				}
			}
			until(t, "the log says that "+name+" is "+sentence, func() bool {
				return strings.Contains(h.output.String()[mark:], h.home+"/site.") || strings.Contains(h.output.String()[mark:], name)
			})
			must(t, os.RemoveAll(path))
			must(t, os.WriteFile(path, good, 0o600))
		}
	}
}

func TestFaultyFilesAtStart(t *testing.T) {
	t.Parallel()
	whole, err := newHouse(t.TempDir())
	must(t, err)
	whole.app, whole.partner = theHouse(t).app, theHouse(t).partner
	must(t, os.WriteFile(filepath.Join(whole.home, "acme.pem"), whole.partner.pem(), 0o600))
	whole.write(t, `%LISTEN%`)
	whole.siteFiles(t)
	whole.write(t, whole.fill(faultySites))
	whole.mustOpen(t) // as it is, it starts
	whole.kill()
	assertions, err := filepath.Glob(filepath.Join(whole.data, "assertions", "*.key"))
	must(t, err)
	if len(assertions) != 1 {
		t.Fatalf("keys for assertions: %q", assertions)
	}
	// an issuer's certificate is in the ledger; its file is for people
	for _, name := range []string{"data/acme.key", "data/assertions/" + filepath.Base(assertions[0]), "acme.pem", "site.pem", "site.key", "behind.pem", "data/root.pem", "data/ledger.key", "data/issuers/clients-1.key", "data/issuers/servers-1.key"} {
		path := filepath.Join(whole.home, name)
		good, err := os.ReadFile(path)
		must(t, err)
		for sentence, spoil := range faults(t, good) {
			if !long && (name == "acme.pem") != (sentence != "empty" && sentence != "garbage") {
				continue
			}
			if own := strings.HasPrefix(name, "data/a"); own && sentence == "missing" {
				continue // another one is made
			}
			if name == "site.key" && sentence == "good, then garbage" {
				continue // a file may hold both, the certificate and its key
			}
			spoil(path)
			said := whole.refusesToStart(t)
			whole.kill()
			if !strings.Contains(said, filepath.Base(name)) {
				t.Errorf("%s %s: it does not say so: %.300s", name, sentence, said)
			}
			must(t, os.RemoveAll(path))
			must(t, os.WriteFile(path, good, 0o600))
		}
	}
}

// A configuration that means nothing, or could mean two things, is refused as a
// whole: an unknown word never opens anything.
//
// Traefik CVE-2022-46153, CVE-2025-66491; Caddy#7860 (overlapping wildcards,
// which do not exist here: a site is one host).
func TestConfigurationsThatOpenNothing(t *testing.T) {
	t.Parallel()
	h := ownHouse(t, "")
	for sentence, site := range map[string]string{
		"a wildcard":             `"*.attack.test": {static: page, allow: [strangers]}`,
		"a wildcard for all":     `"*": {static: page, allow: [strangers]}`,
		"one host twice":         "a.attack.test: {static: page, allow: [ben]}\n  A.attack.test.: {static: page, allow: [strangers]}",
		"an unknown key":         `a.attack.test: {static: page, alow: [ben]}`,
		"an unknown mode":        `a.attack.test: {static: page, allow: [ben], mode: of}`,
		"an unknown term":        `a.attack.test: {static: page, allow: ["ben/*"]}`,
		"everybody, in a way":    `a.attack.test: {static: page, allow: ["*"]}`,
		"an unknown partner":     `a.attack.test: {static: page, allow: [foreign:nobody]}`,
		"an unknown network":     `a.attack.test: {static: page, allow: [network:nowhere]}`,
		"a partner of nobody":    `a.attack.test: {static: page, allow: [foreign:p], trust: {p: {ca: x.pem}}}`,
		"old TLS":                `a.attack.test: {static: page, allow: [ben], tls_min: "1.1"}`,
		"a broken condition":     `a.attack.test: {static: page, allow: [ben], when: "identity.nam == 'ben'"}`,
		"off, and a list":        `a.attack.test: {static: page, allow: [ben], mode: "off"}`,
		"a folder that is none":  `a.attack.test: {static: /etc/passwd, allow: [ben]}`,
		"conflicting routes":     `a.attack.test: {static: page, allow: [ben], routes: [{match: "/{a}/b", allow: [strangers]}, {match: "/a/{b}", allow: [ben]}]}`,
		"Postern's own prefix":   `a.attack.test: {static: page, allow: [ben], routes: [{match: "/.postern/x", allow: [strangers]}]}`,
		"a list that is a text":  `a.attack.test: {static: page, allow: {ben: true}}`,
		"stealth and audit mode": `a.attack.test: {static: page, allow: [ben], stealth: true, mode: audit}`,
	} {
		h.write(t, "sites:\n  "+site+"\n")
		out, errout, code, err := h.command("check", h.config)
		must(t, err)
		if warned := strings.Contains(out+errout, "warning"); code == 0 && !(sentence == "off, and a list" && warned) {
			t.Errorf("%s is taken: %s%s", sentence, out, errout)
		}
		if !strings.Contains(out+errout, "postern.yaml:") && code != 0 {
			t.Errorf("%s: no place is named: %s%s", sentence, out, errout)
		}
	}
	if got, err := os.ReadFile(h.config); err != nil || len(got) == 0 {
		t.Error(fmt.Sprint("nothing was tried: ", err))
	}
}
