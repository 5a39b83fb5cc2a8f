package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/postern-project/postern/internal/access"
	"github.com/postern-project/postern/internal/api"
	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/config"
	"github.com/postern-project/postern/internal/gateway"
	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/refusal"
	"github.com/postern-project/postern/internal/rule"
)

// accessFlags are what 'access' is asked.
type accessFlags struct {
	as, from, method string
	replay, current  string
}

func newAccess(a *app) *cobra.Command {
	var f accessFlags
	c := &cobra.Command{
		Use:   "access SITE[/PATH]",
		Short: "Who could get in there, and why one could or could not",
		Long: `Say who could get into a site, or into the part of it that a path belongs to, by
the rules of postern.yaml and what the ledger says now. With --as say it of one
name and give the reason; the exit code is then 1 when nobody of that name
could.

With --replay read an access log that 'postern up' wrote and say who of those in
it would gain and who would lose access if --config were in force in place of
postern.yaml, or of the file that --current names.`,
		Example: `  postern access app.example.com
  postern access app.example.com/admin/ --as ben
  postern access --replay up.log --config new.yaml`,
		Args: arguments(0, 1, "", ""),
		RunE: func(c *cobra.Command, args []string) error {
			switch {
			case f.replay != "" && len(args) > 0:
				return usage("drop one of the two", "--replay is for all sites of a log, %q names one", args[0])
			case f.replay != "":
				return a.replay(c.Context(), f)
			case len(args) == 0:
				return usage("postern access app.example.com/admin/ --as ben", "the site is missing")
			}
			return a.access(c.Context(), args[0], f)
		},
	}
	c.Flags().StringVar(&f.as, "as", "", "judge only `NAME` and all below it")
	c.Flags().StringVar(&f.from, "from", "", "as if from this `ADDRESS`, for rules with networks")
	c.Flags().StringVar(&f.method, "method", "GET", "as if by this `METHOD`")
	c.Flags().StringVar(&f.replay, "replay", "", "judge the requests of this access `LOG`")
	c.Flags().StringVar(&f.current, "current", "", "with --replay: the `FILE` to compare with (default postern.yaml)")
	return c
}

// accessPolicy says conf's rules in the words of access.
func accessPolicy(conf config.Config) (access.Policy, error) {
	p := access.Policy{Networks: conf.Networks, Zone: conf.Zone}
	for _, s := range conf.Sites {
		var patterns []rule.Pattern
		var parts []access.Part
		for _, r := range s.Routes {
			patterns = append(patterns, r.Match)
			parts = append(parts, access.Part{Match: r.Match.String(), List: r.List, When: r.When, Audit: r.Audit})
		}
		one, err := access.NewSite(s.Host, access.Part{List: s.List, When: s.When, Audit: s.Audit}, patterns, parts)
		if err != nil {
			return access.Policy{}, fmt.Errorf("site %s: %w", s.Host, err)
		}
		p.Sites = append(p.Sites, one)
	}
	return p, nil
}

// people returns everybody in the ledger, with their groups and standing.
func people(ctx context.Context, auth api.Authority) ([]access.Asker, error) {
	all, err := auth.Identities(ctx, authority.IdentityFilter{})
	if err != nil {
		return nil, err
	}
	groups, err := membership(ctx, auth)
	if err != nil {
		return nil, err
	}
	list := make([]access.Asker, len(all))
	for i, id := range all {
		list[i] = access.Asker{Name: id.Name, Groups: groups(id.Name)}
		switch {
		case id.Suspended:
			list[i].Closed = refusal.Suspended
		case id.Certificates == 0:
			list[i].Closed = refusal.NoCertificate
		}
	}
	return list, nil
}

// membership returns what tells the groups of a name: those that hold it or a
// name above it.
func membership(ctx context.Context, auth api.Authority) (func(identity.Name) []identity.Group, error) {
	all, err := auth.Groups(ctx)
	if err != nil {
		return nil, err
	}
	direct := map[identity.Name][]identity.Group{}
	for _, g := range all {
		for _, n := range g.Members {
			direct[n] = append(direct[n], g.Name)
		}
	}
	return func(n identity.Name) []identity.Group {
		var groups []identity.Group
		for above := range n.Lineage() {
			groups = append(groups, direct[above]...)
		}
		return groups
	}, nil
}

// spot is the part of a site that somebody asks about.
type spot struct {
	site  access.Site
	parts []access.Part
	path  string // canonical; "" for the whole site
}

// findSpot reads SITE[/PATH].
func findSpot(p access.Policy, word, method string) (spot, error) {
	word = strings.TrimPrefix(word, "https://")
	name, path, hasPath := strings.Cut(word, "/")
	host, err := config.ParseHost(name)
	if err != nil {
		return spot{}, usage("write a site of postern.yaml, such as app.example.com/admin/", "%v", err)
	}
	site, ok := p.Site(host)
	if !ok {
		known := make([]string, len(p.Sites))
		for i, s := range p.Sites {
			known[i] = s.Host
		}
		hint := "--config names the file that is read"
		if near := config.Nearest(host, known); near != "" {
			hint = "did you mean " + near + "?"
		}
		return spot{}, withHint(fmt.Errorf("there is no site %s in the configuration", host), hint)
	}
	if !hasPath {
		return spot{site: site, parts: append(slices.Clone(site.Parts), site.Rest)}, nil
	}
	canonical, code := gateway.CanonicalPath("/" + path)
	if code != "" {
		return spot{}, withHint(fmt.Errorf("nobody gets to /%s: %s", path, code), refusal.Lookup(code).Sentence)
	}
	return spot{site: site, parts: []access.Part{site.Part(method, canonical)}, path: canonical}, nil
}

func (a *app) access(ctx context.Context, word string, f accessFlags) error {
	conf, warnings, err := a.config()
	if err != nil {
		return err
	}
	if !a.json {
		a.warn(warnings)
	}
	policy, err := accessPolicy(conf)
	if err != nil {
		return err
	}
	at, err := findSpot(policy, word, f.method)
	if err != nil {
		return err
	}
	auth, done, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer done()
	all, err := people(ctx, auth)
	if err != nil {
		return err
	}
	if f.as == "" {
		return a.sayAccess(at, all)
	}
	return a.accessAs(ctx, auth, policy, at, all, f)
}

// admitted is one part of 'access --json'.
type admitted struct {
	Route string `json:"route,omitempty"` // "" for what no route matches
	// Strangers says that everybody may, without a certificate.
	Strangers bool            `json:"strangers"`
	Networks  []string        `json:"networks,omitempty"` // from which everybody may
	Partners  []string        `json:"partners,omitempty"` // whose members may
	When      string          `json:"when,omitempty"`
	Audit     bool            `json:"audit,omitempty"`
	Names     []identity.Name `json:"names"`
}

func (a *app) sayAccess(at spot, all []access.Asker) error {
	crowd := access.NewCrowd(all)
	result := make([]admitted, len(at.parts))
	for i, p := range at.parts {
		result[i] = admitted{Route: p.Match, Strangers: p.List.AdmitsStrangers(), Audit: p.Audit, Names: crowd.Of(p.List)}
		if p.When != nil {
			result[i].When = p.When.String()
		}
		for _, t := range p.List.Allow {
			if n, ok := t.Network(); ok {
				result[i].Networks = append(result[i].Networks, n.String())
			}
			if n, ok := t.Partner(); ok {
				result[i].Partners = append(result[i].Partners, n.String())
			}
		}
	}
	return a.show(result, func(w io.Writer) {
		for _, r := range result {
			route := r.Route
			if route == "" && len(at.site.Parts) > 0 {
				route = "everything else"
			}
			say(w, "%s", strings.TrimSpace(at.site.Host+"  "+route))
			facts(w, "  open to", everybody(r), "  names", fmt.Sprintf("%d of %d with a good certificate", len(r.Names), crowd.Size()),
				"  such as", some(r.Names), "  and to", members(r.Partners), "  only if", r.When, "  mode", map[bool]string{true: "audit: nobody is turned away"}[r.Audit])
		}
	})
}

func everybody(r admitted) string {
	switch {
	case r.Strangers:
		return "everybody, without a certificate"
	case len(r.Networks) > 0:
		return "everybody who comes from " + strings.Join(r.Networks, ", ")
	}
	return ""
}

func members(partners []string) string {
	if len(partners) == 0 {
		return ""
	}
	return "members of " + strings.Join(partners, ", ")
}

// some writes the first few of many names.
func some(names []identity.Name) string {
	const few = 6
	text := words(names[:min(few, len(names))])
	if len(names) > few {
		text += fmt.Sprintf(" and %d more", len(names)-few)
	}
	return text
}

// judged is one line of 'access --as'.
type judged struct {
	Name   identity.Name  `json:"name"`
	Route  string         `json:"route,omitempty"`
	Answer access.Verdict `json:"answer"`
	Code   refusal.Code   `json:"code,omitempty"`
	Why    string         `json:"why"`
}

func (a *app) accessAs(ctx context.Context, auth api.Authority, policy access.Policy, at spot, all []access.Asker, f accessFlags) error {
	name, err := parseName(f.as)
	if err != nil {
		return err
	}
	askers := slices.DeleteFunc(slices.Clone(all), func(p access.Asker) bool { return !name.Covers(p.Name) })
	if len(askers) == 0 {
		groups, err := membership(ctx, auth)
		if err != nil {
			return err
		}
		askers = []access.Asker{{Name: name, Groups: groups(name), Closed: refusal.NoCertificate}}
	}
	var from netip.Addr
	if f.from != "" {
		if from, err = netip.ParseAddr(f.from); err != nil {
			return usage("write --from 192.168.1.7", "--from %q is not an address", f.from)
		}
	}
	certs, err := certificateFacts(ctx, auth, name, policy)
	if err != nil {
		return err
	}
	var result []judged
	any := false
	for _, part := range at.parts {
		for _, who := range askers {
			who.Address, who.Method, who.Path, who.Time = from, f.method, at.path, a.Now()
			who.Certificate = certs.newest(who.Name)
			answer := policy.Decide(at.site.Host, part, who)
			any = any || answer.Verdict != access.No || part.Audit
			if part.Audit && answer.Verdict == access.No {
				answer.Why += " (let in all the same: audit mode)"
			}
			result = append(result, judged{who.Name, part.Match, answer.Verdict, answer.Code, answer.Why})
		}
	}
	if err := a.show(present(result), func(w io.Writer) {
		rows := make([][]string, len(result))
		for i, r := range result {
			rows[i] = []string{r.Name.String(), cmp.Or(r.Route, "/"), r.Answer.String(), r.Why}
		}
		table(w, []string{"NAME", "ROUTE", "IN", "WHY"}, rows)
	}); err != nil {
		return err
	}
	if !any {
		return errSilent
	}
	return nil
}

var errNothingToReplay = errors.New("the log holds no requests")
