package main

import (
	"crypto/tls"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// More hosts than have their certificates at once are served from the start:
// one that has none yet gets it when it is asked for, and keeps it.
func TestManyHostsDoNotWaitForEachOther(t *testing.T) {
	const hosts = 600
	d := newDoor(t)
	var conf strings.Builder
	folder := site(t, "hello")
	conf.WriteString("trust_domain: many.test\nsites:\n")
	for i := range hosts {
		fmt.Fprintf(&conf, "  host-%03d.test: {static: %q, allow: [enrolled]}\n", i, folder)
	}
	file := filepath.Join(d.home, "postern.yaml")
	if err := os.WriteFile(file, []byte(conf.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	d.args = append(d.args, "--config", file)
	shown := map[string]*big.Int{}
	for _, run := range []string{"first", "second"} {
		d.open()
		for _, i := range []int{hosts - 1, 0, hosts - 2} {
			host := fmt.Sprintf("host-%03d.test", i)
			c, err := tls.Dial("tcp", d.addr, &tls.Config{ServerName: host, InsecureSkipVerify: true}) // the name is looked at below
			if err != nil {
				t.Fatalf("%s run, %s: %v\nserver said:\n%s", run, host, err, d.output)
			}
			leaf := c.ConnectionState().PeerCertificates[0]
			c.Close()
			if err := leaf.VerifyHostname(host); err != nil {
				t.Errorf("%s run: %v", run, err)
			}
			if before := shown[host]; before != nil && before.Cmp(leaf.SerialNumber) != 0 {
				t.Errorf("%s has another certificate after a restart", host)
			}
			shown[host] = leaf.SerialNumber
		}
		d.kill()
	}
}
