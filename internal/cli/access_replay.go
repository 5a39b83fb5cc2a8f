package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/postern-project/postern/internal/access"
	"github.com/postern-project/postern/internal/api"
	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/config"
	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/rule"
)

// knownCertificates are what the ledger holds of some certificates.
type knownCertificates struct {
	bySerial map[string]*rule.Certificate
	byName   map[identity.Name]*rule.Certificate // the newest that is good
}

func (k knownCertificates) newest(n identity.Name) *rule.Certificate { return k.byName[n] }

// certificateFacts looks up what conditions ask about certificates, if they do.
func certificateFacts(ctx context.Context, auth api.Authority, under identity.Name, policies ...access.Policy) (knownCertificates, error) {
	known := knownCertificates{map[string]*rule.Certificate{}, map[identity.Name]*rule.Certificate{}}
	if !asksCertificates(policies) {
		return known, nil
	}
	const all = 1 << 30
	certs, err := auth.Certificates(ctx, authority.CertificateFilter{Name: under, Limit: all})
	if err != nil {
		return known, err
	}
	for _, c := range certs { // the newest first
		facts := &rule.Certificate{NotBefore: c.NotBefore, NotAfter: c.NotAfter, Profile: c.Profile}
		known.bySerial[c.Serial.String()] = facts
		if _, newer := known.byName[c.Name]; !newer && c.Status == authority.StatusGood {
			known.byName[c.Name] = facts
		}
	}
	return known, nil
}

func asksCertificates(policies []access.Policy) bool {
	for _, p := range policies {
		for _, s := range p.Sites {
			for _, part := range append([]access.Part{s.Rest}, s.Parts...) {
				if part.When.Asks("certificate.age") || part.When.Asks("certificate.left") || part.When.Asks("certificate.profile") {
					return true
				}
			}
		}
	}
	return false
}

// replay says what another configuration would change for a log's requests.
func (a *app) replay(ctx context.Context, f accessFlags) error {
	if a.configFlag == "" {
		return usage("postern access --replay up.log --config new.yaml", "--replay needs the new configuration: --config is missing")
	}
	current, err := a.readPolicy(cmp.Or(f.current, defaultConfig))
	if errors.Is(err, fs.ErrNotExist) {
		return withHint(errors.New("there is no "+cmp.Or(f.current, defaultConfig)+" to compare with"), "--current names the configuration that is in force")
	}
	if err != nil {
		return err
	}
	next, err := a.readPolicy(a.configFlag)
	if errors.Is(err, fs.ErrNotExist) {
		return withHint(errors.New("no configuration at "+a.configFlag), "--config names the new one")
	}
	if err != nil {
		return err
	}
	log, err := os.Open(f.replay)
	if err != nil {
		return err
	}
	defer log.Close()
	d, err := a.compare(ctx, log, access.Replay{Old: current, New: next})
	if err != nil {
		return fmt.Errorf("%s: %w", f.replay, err)
	}
	d.Gain, d.Lose = present(d.Gain), present(d.Lose)
	return a.show(d, func(w io.Writer) { a.sayDifference(w, d) })
}

func (a *app) readPolicy(file string) (access.Policy, error) {
	conf, _, err := config.Load(file)
	if err != nil {
		return access.Policy{}, err
	}
	return accessPolicy(conf)
}

// compare reads the log. Groups are as the ledger has them now; whether a
// certificate counted is as it was then.
func (a *app) compare(ctx context.Context, log io.Reader, r access.Replay) (access.Difference, error) {
	auth, done, err := a.open(ctx)
	if err != nil {
		return access.Difference{}, err
	}
	defer done()
	groups, err := membership(ctx, auth)
	if err != nil {
		return access.Difference{}, err
	}
	certs, err := certificateFacts(ctx, auth, identity.Name{}, r.Old, r.New)
	if err != nil {
		return access.Difference{}, err
	}
	r.Who = func(q access.Request) access.Asker {
		who := access.Asker{Address: q.Address, Method: q.Method, Path: q.Path, Headers: q.Headers, Time: q.Time}
		if !q.Nameless() {
			who.Name, who.Groups, who.Certificate = q.Name, groups(q.Name), certs.bySerial[q.Serial]
		}
		return who
	}
	for q, err := range access.ReadLog(log) {
		if err != nil {
			return access.Difference{}, err
		}
		r.Add(q)
	}
	d := r.Difference()
	if d.Requests == 0 {
		return d, withHint(errNothingToReplay, "it wants what 'postern up' wrote to standard error at level info, as text or JSON")
	}
	return d, nil
}

func (a *app) sayDifference(w io.Writer, d access.Difference) {
	for _, part := range []struct {
		title string
		all   []access.Change
	}{{"lose", d.Lose}, {"gain", d.Gain}} {
		if len(part.all) == 0 {
			say(w, "Nobody would %s access.", part.title)
			continue
		}
		say(w, "%s would %s access:", count(len(part.all), "name"), part.title)
		rows := make([][]string, len(part.all))
		for i, c := range part.all {
			rows[i] = []string{cmp.Or(c.Who, "(strangers)"), c.Site + " " + c.Example, fmt.Sprint(c.Requests), c.Why}
		}
		table(w, []string{"NAME", "SUCH AS", "REQUESTS", "WHY"}, rows)
		say(w, "")
	}
	say(w, "%s read; %d could not be decided, %d were refused before any rule was asked.", count(d.Requests, "request"), d.Undecided, d.Passed)
	if d.LeftOut > 0 {
		say(w, "The log left out %d requests of strangers.", d.LeftOut)
	}
}
