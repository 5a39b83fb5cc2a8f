package cli

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// signing says of every command what it has signed, and by which key: through
// a door of the authority (internal/authority, TestEveryDoorOfTheAuthorityIsKnown),
// by the root in a ceremony, or by a key of whoever types it. "" is nothing, and
// "ledger" no more than the checkpoint over what it records.
var signing = map[string]string{
	"issue": "Issue", "sign": "Issue", "approve": "Approve", "renew": "Renew", // renew asks the server by HTTP
	"join":       "Redeem, by HTTP; the request by the device's own key",
	"crl export": "RevocationList",
	"up":         "Issue and IssueResponder, for the server's own certificates; whatever its endpoints reach",
	"demo":       "the demonstration's own authority, in memory",

	"init":              "the root, in a ceremony: itself, two issuers, its list, the beginning of the ledger",
	"root create":       "the root, in a ceremony: itself",
	"root sign":         "the root, in a ceremony: what a request asks for",
	"root cross-sign":   "two roots, in a ceremony: each other",
	"root request":      "the issuer's or ledger's new key: that it is held",
	"issuer rotate":     "as root request; with --root-key as root sign",
	"ledger rotate-key": "as root request; with --root-key as root sign",

	"group add": "ledger", "group remove": "ledger", "invite": "ledger", "issuer distrust": "ledger", "ledger import": "ledger",
	"reinstate": "ledger", "restore": "ledger", "revoke": "ledger", "deny": "ledger", "root apply": "ledger", "suspend": "ledger", "token create": "ledger", "token revoke": "ledger",

	"access": "", "acme": "", "acme accounts": "", "acme orders": "", "backup": "", "check": "", "completion": "",
	"completion bash": "", "completion fish": "", "completion powershell": "", "completion zsh": "", "crl": "", "explain": "",
	"group": "", "group show": "", "token": "", "token list": "", "issuer": "", "issuer list": "", "ledger": "", "ledger export": "", "ledger head": "",
	"ledger rebuild": "", "ledger verify": "", "list": "", "postern": "", "root": "", "root show": "", "show": "", "status": "",
	"trust": "", "trust install": "", "trust list": "", "trust uninstall": "", "version": "",
}

func TestEveryCommandIsKnown(t *testing.T) {
	found := map[string]bool{}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			walk(sub)
		}
		if c.Runnable() {
			found[strings.TrimPrefix(c.CommandPath(), "postern ")] = true
		}
	}
	walk(newRoot(&app{}))
	for name := range found {
		if _, known := signing[name]; !known {
			t.Errorf("%q is a command that is not in the list: say what it has signed, and by whom", name)
		}
	}
	for name := range signing {
		if !found[name] {
			t.Errorf("%q is in the list and no command any more: take it out", name)
		}
	}
}
