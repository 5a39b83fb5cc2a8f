package authority

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/roster"
)

// The states of an Issuer.
const (
	StateActive     = "active"     // its line issues under it
	StateStaged     = "staged"     // known everywhere soon, not yet used
	StateFormer     = "former"     // its line issues under another; its key is kept for its lists
	StateRetired    = "retired"    // its key is gone
	StateDistrusted = "distrusted" // its key is in strange hands
)

// Issuers returns every issuer that was ever added, oldest first.
func (s *Service) Issuers(ctx context.Context) ([]Issuer, error) {
	inUse, err := s.store.GoodByIssuer(ctx, s.now())
	if err != nil {
		return nil, err
	}
	all := []Issuer{}
	for _, i := range s.roster.Issuers() {
		all = append(all, issuerValue(i, inUse[i.KeyID]))
	}
	return all, nil
}

func issuerValue(i roster.Issuer, inUse int) Issuer {
	return Issuer{
		Name: i.Name, Use: i.Use.String(), KeyID: i.KeyID, Certificate: i.Certificate.Raw, NotAfter: i.Certificate.NotAfter,
		Distrusted: i.Distrusted, Line: i.Line(), State: stateOf(i), Root: i.Certificate.Issuer.CommonName, InUse: inUse,
	}
}

func stateOf(i roster.Issuer) string {
	switch {
	case i.Distrusted:
		return StateDistrusted
	case i.Retired:
		return StateRetired
	case i.Active:
		return StateActive
	}
	if i.Used {
		return StateFormer
	}
	return StateStaged
}

// chainOf returns what the holder of a certificate shows: the leaf, its issuer,
// and what leads from there to each root that is trusted beside the issuer's
// own.
func (s *Service) chainOf(leaf []byte, by *issuer) [][]byte {
	chain := [][]byte{leaf, by.Certificate.Raw}
	return append(chain, s.bridgesFrom(by.Certificate)...)
}

// bridgesFrom returns the certificates that certify the issuer's root by the
// roots before and after it.
func (s *Service) bridgesFrom(c *x509.Certificate) [][]byte {
	var all [][]byte
	for _, bridge := range s.roster.Anchors().Bridges() {
		if string(bridge.RawSubject) == string(c.RawIssuer) {
			all = append(all, bridge.Raw)
		}
	}
	return all
}

// A RootStatus is what the ledger knows of one root.
type RootStatus struct {
	Name        string      `json:"name"`
	Certificate []byte      `json:"certificate"` // DER
	SHA256      ledger.Hash `json:"sha256"`
	NotAfter    time.Time   `json:"not_after"`
	Newest      bool        `json:"newest"`
	Retired     bool        `json:"retired"`
	// ListUntil is when its revocation list ends; zero without one.
	ListUntil  time.Time `json:"list_until,omitzero"`
	ListNumber string    `json:"list_number,omitempty"`
	Revoked    int       `json:"revoked"`
	// List is that list, DER.
	List []byte `json:"list,omitempty"`
}

// A Hierarchy is everything above the certificates that people hold.
type Hierarchy struct {
	TrustDomain string       `json:"trust_domain"`
	Roots       []RootStatus `json:"roots"` // newest first
	Issuers     []Issuer     `json:"issuers"`
	// Transcripts are those of every recorded ceremony, oldest first.
	Transcripts []string `json:"transcripts"`
}

// Hierarchy returns the roots, the issuers and the record of what was done with
// the roots' keys.
func (s *Service) Hierarchy(ctx context.Context) (Hierarchy, error) {
	h := Hierarchy{TrustDomain: s.domain.String()}
	roots := s.roster.Anchors().Roots
	for n, r := range slices.Backward(roots) {
		status := RootStatus{
			Name: r.Certificate.Subject.CommonName, Certificate: r.Certificate.Raw, SHA256: sha256.Sum256(r.Certificate.Raw),
			NotAfter: r.Certificate.NotAfter, Newest: n == len(roots)-1, Retired: r.Retired,
		}
		if r.List != nil {
			status.ListUntil, status.ListNumber, status.Revoked = r.List.NextUpdate, r.List.Number.String(), len(r.List.RevokedCertificateEntries)
			status.List = r.List.Raw
		}
		h.Roots = append(h.Roots, status)
	}
	var err error
	if h.Issuers, err = s.Issuers(ctx); err != nil {
		return h, err
	}
	for e, err := range s.store.Entries(ctx, 0) {
		if err != nil {
			return h, err
		}
		if c, ok := e.Body.(ledger.CeremonyRecorded); ok {
			h.Transcripts = append(h.Transcripts, string(c.Transcript))
		}
	}
	return h, nil
}

// listWarning is how long before a root's list ends somebody is told.
const listWarning = 30 * 24 * time.Hour

// Advice returns what the hierarchy asks somebody to do, most pressing first.
func (s *Service) Advice() []string {
	var all []string
	issuers := s.roster.Issuers()
	for _, line := range lines(issuers) {
		all = append(all, s.lineAdvice(line, issuers)...)
	}
	for _, r := range s.roster.Anchors().Roots {
		if r.Retired {
			continue
		}
		name := r.Certificate.Subject.CommonName
		renew := "sign another with 'postern root request --list', 'postern root sign' and 'postern root apply'"
		switch left := listLeft(r, s.now()); {
		case r.List == nil && len(s.roster.Anchors().Roots) == 1:
			all = append(all, fmt.Sprintf("the root %s has no revocation list: %s", name, renew))
		case r.List != nil && left <= 0:
			all = append(all, fmt.Sprintf("the revocation list of the root %s ended on %s: %s", name, r.List.NextUpdate.Format(time.DateOnly), renew))
		case r.List != nil && left < listWarning:
			all = append(all, fmt.Sprintf("the revocation list of the root %s ends on %s: %s", name, r.List.NextUpdate.Format(time.DateOnly), renew))
		}
	}
	return all
}

func listLeft(r ledger.Root, now time.Time) time.Duration {
	if r.List == nil {
		return 0
	}
	return r.List.NextUpdate.Sub(now)
}

func (s *Service) lineAdvice(line string, issuers []roster.Issuer) []string {
	var all []string
	active := false
	for _, i := range issuers {
		active = active || i.Line() == line && i.Active
	}
	for _, i := range issuers {
		if i.Line() != line {
			continue
		}
		if i.Distrusted && !active {
			all = append(all, fmt.Sprintf("issuer %s is distrusted and nothing is issued in its place: the root has to sign a successor, 'postern issuer rotate %s'", i.Name, line))
		}
		if i.Distrusted && string(i.Certificate.RawIssuer) == string(s.roster.Root().RawSubject) && !s.listed(i) {
			all = append(all, fmt.Sprintf("issuer %s is distrusted and not on the root's revocation list yet: other programs still believe it, 'postern root request --list'", i.Name))
		}
		if stateOf(i) == StateStaged && active {
			all = append(all, fmt.Sprintf("issuer %s is staged: 'postern issuer rotate %s' switches to it", i.Name, line))
		}
	}
	return all
}

// listed reports whether a root's list holds the issuer.
func (s *Service) listed(i roster.Issuer) bool {
	for _, r := range s.roster.Anchors().Roots {
		if r.List == nil || string(r.List.RawIssuer) != string(i.Certificate.RawIssuer) {
			continue
		}
		for _, e := range r.List.RevokedCertificateEntries {
			if e.SerialNumber.Cmp(i.Certificate.SerialNumber) == 0 {
				return true
			}
		}
	}
	return false
}

// lines returns the lines of issuers in the order of their first.
func lines(issuers []roster.Issuer) []string {
	var all []string
	for _, i := range issuers {
		if !slices.Contains(all, i.Line()) {
			all = append(all, i.Line())
		}
	}
	return all
}

// nextName returns the name of the next issuer of a line, such as clients-3.
func nextName(line string, issuers []roster.Issuer) string {
	last := 0
	for _, i := range issuers {
		number, ok := strings.CutPrefix(i.Name, line+"-")
		if n, err := strconv.Atoi(number); ok && err == nil && n > last {
			last = n
		}
	}
	return line + "-" + strconv.Itoa(last+1)
}

// requestPath is where the request whose file has a hash is kept until its
// answer comes.
func (s *Service) requestPath(h ledger.Hash) string {
	return filepath.Join(s.dir, requestsFolder, hex.EncodeToString(h[:8])+".request")
}

func (s *Service) keepRequest(file []byte) error {
	if err := os.MkdirAll(filepath.Join(s.dir, requestsFolder), 0o700); err != nil {
		return err
	}
	return writePlain(s.requestPath(sha256.Sum256(file)), file)
}
