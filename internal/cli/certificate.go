package cli

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/postern-project/postern/internal/api"
	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/profile"
)

// certificateFlags are those of 'issue' and 'sign'.
type certificateFlags struct {
	profile  string
	dns, ips []string
	lifetime lifetime
}

func (f *certificateFlags) register(a *app, c *cobra.Command) {
	c.Flags().StringVar(&f.profile, "profile", "", "what kind of certificate, `PROFILE`: device, service, server, admin or one of postern.yaml (default device)")
	c.Flags().StringSliceVar(&f.dns, "dns", nil, "a host `NAME` that a server's certificate is for; may be repeated")
	c.Flags().StringSliceVar(&f.ips, "ip", nil, "an IP `ADDRESS` that a server's certificate is for; may be repeated")
	c.Flags().Var(&f.lifetime, "lifetime", "a shorter life than the profile's, such as 12h or 30d")
	c.RegisterFlagCompletionFunc("profile", a.completeProfiles)
}

// request is what the flags ask for, without a key.
func (f *certificateFlags) request(name, via string) (authority.IssueRequest, error) {
	q := authority.IssueRequest{Profile: f.profile, DNSNames: f.dns, Lifetime: f.lifetime.d, Via: via}
	var err error
	if q.Name, err = parseName(name); err != nil {
		return q, err
	}
	for _, s := range f.ips {
		ip, err := netip.ParseAddr(strings.Trim(s, "[]"))
		if err != nil || ip.Zone() != "" {
			return q, usage("write it as 192.0.2.1 or 2001:db8::1", "%q is no IP address", s)
		}
		q.IPs = append(q.IPs, ip.Unmap())
	}
	return q, nil
}

// fitsProfile refuses a request for a profile that is not there, or for a longer life
// than it gives.
func fitsProfile(ctx context.Context, auth api.Authority, q authority.IssueRequest) error {
	p, err := findProfile(ctx, auth, q.Profile)
	if err != nil {
		return err
	}
	if q.Lifetime > p.MaxLifetime {
		return usage("leave --lifetime out for the usual one", "a lifetime of %s is longer than the %s of profile %s", span(q.Lifetime), span(p.MaxLifetime), p.Name)
	}
	return nil
}

// completeProfiles offers the profiles of the data folder to the shell.
func (a *app) completeProfiles(c *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	auth, done, err := a.open(c.Context())
	if err != nil {
		return profile.Names(), cobra.ShellCompDirectiveNoFileComp
	}
	defer done()
	all, err := auth.Profiles(c.Context())
	if err != nil {
		return profile.Names(), cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for _, p := range all {
		names = append(names, p.Name)
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// issuedView is what a new certificate's JSON begins with; scripts rely on its
// names.
type issuedView struct {
	Serial   string    `json:"serial"`
	Name     string    `json:"name"`
	Profile  string    `json:"profile"`
	NotAfter time.Time `json:"not_after"`
	Files    []string  `json:"files"`
}

func viewOf(i authority.Issued, files []string) issuedView {
	return issuedView{i.Serial.String(), i.Name.String(), i.Profile, i.NotAfter, present(files)}
}
