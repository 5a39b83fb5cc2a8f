package attack

import (
	"os/exec"
	"strings"
	"testing"
	"time"
)

// Whoever asks for new keys without end is cut off, and the server goes on.
//
// Go CVE-2026-32283, CVE-2026-56862.
func TestAFloodOfKeyUpdates(t *testing.T) {
	h := theHouse(t)
	ben := h.identity(t, "ben/laptop")
	before, _ := h.usage(t)
	n := either(2_000, 200_000)
	cmd := exec.CommandContext(t.Context(), "openssl", "s_client", "-connect", h.addr, "-servername", "open.attack.test", "-tls1_3")
	in, err := cmd.StdinPipe()
	must(t, err)
	var out output
	cmd.Stdout, cmd.Stderr = &out, &out
	must(t, cmd.Start())
	until(t, "the handshake", func() bool { return strings.Contains(out.String(), "Verify return code") })
	sent := 0
	for ; sent < n; sent++ { // a line K asks for new keys on both sides
		if _, err := in.Write([]byte("K\n")); err != nil {
			break
		}
		if strings.Contains(out.String(), "\nclosed") {
			break
		}
	}
	cmd.Wait() // by itself: nobody has told it to end
	in.Close()
	t.Logf("%d lines, %d updates", sent, strings.Count(out.String(), "KEYUPDATE"))
	if got := h.get(t, ben, "ben.attack.test", "/"); got.String() != "200" {
		t.Errorf("afterwards Ben gets %s", got)
	}
	if after, _ := h.usage(t); after-before > 20*time.Second {
		t.Errorf("%d updates cost %v", sent, after-before)
	}
	if updates := strings.Count(out.String(), "KEYUPDATE"); updates < 2 || updates > n/4 {
		t.Errorf("openssl came to %d updates:\n%s", updates, out.String())
	}
}
