package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/permit"
)

// acmeInvitation is what 'invite --acme --json' prints; scripts rely on its
// names.
type acmeInvitation struct {
	Directory string    `json:"directory"`
	Kid       string    `json:"kid"`
	HMACKey   string    `json:"hmac_key"`
	Name      string    `json:"name"`
	Profile   string    `json:"profile"`
	Hosts     []string  `json:"hosts,omitempty"`
	Expires   time.Time `json:"expires"`
}

// inviteACME makes a key with which one ACME account is bound to a name.
func (a *app) inviteACME(ctx context.Context, q authority.ACMEKeyRequest) error {
	for _, h := range q.Hosts {
		if _, err := permit.ParsePattern(h); err != nil {
			return &UsageError{err, `--dns takes a name such as db.internal, or "*.web.internal" for all names below it`}
		}
	}
	auth, done, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	base, running, err := a.publicURL(ctx, auth)
	if err != nil {
		return err
	}
	made, err := auth.CreateACMEKey(ctx, q)
	if err != nil {
		return err
	}
	v := acmeInvitation{
		base + "/acme/" + made.Profile + "/directory", made.Key, made.MAC, made.Name.String(), made.Profile, made.Hosts, made.Expires,
	}
	if err := a.showACMEInvitation(v); err != nil {
		return err
	}
	a.adviseACME(made.Profile, running)
	return nil
}

// adviseACME says what else it takes.
func (a *app) adviseACME(profile string, running bool) {
	if c, _, err := a.config(); err == nil {
		on := false
		for _, p := range c.ACME {
			on = on || p.Profile == profile
		}
		if !on {
			a.tell("note: ", fmt.Sprintf("profile %s has no ACME server yet: list its names under 'acme:' in postern.yaml", profile))
		}
	}
	if !running {
		a.tell("note: ", "no server is running on "+here(a.data())+": start 'postern up' before the account is made")
	}
}

// showACMEInvitation prints the key: to a person's terminal, or into JSON that
// was asked for, and else into a file.
func (a *app) showACMEInvitation(v acmeInvitation) error {
	if a.json || a.StdoutTerminal {
		return a.show(v, func(w io.Writer) {
			say(w, "A key for one ACME account of %s, good until %s.\n", v.Name, moment(v.Expires))
			facts(w, "directory", v.Directory, "key id", v.Kid, "hmac key", v.HMACKey, "trust", here(a.data())+"/root.pem", "names", strings.Join(v.Hosts, ", "))
			say(w, "\nWith certbot:\n\n  REQUESTS_CA_BUNDLE=root.pem certbot certonly --standalone \\\n    --server %s \\\n    --eab-kid %s \\\n    --eab-hmac-key %s \\\n    -d HOST", v.Directory, v.Kid, v.HMACKey)
		})
	}
	text := fmt.Sprintf("directory %s\nkid %s\nhmac_key %s", v.Directory, v.Kid, v.HMACKey)
	path, err := keepSecret(a.data(), "acme-"+fileWord(v.Name)+"-"+v.Kid, text)
	if err != nil {
		return err
	}
	say(a.Stdout, "The key for an ACME account of %s is in %s, good until %s.", v.Name, here(path), moment(v.Expires))
	return nil
}
