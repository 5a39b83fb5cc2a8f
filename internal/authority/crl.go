package authority

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/revocation"
	"github.com/postern-project/postern/internal/roster"
)

// How long revocation lists are good. One is made anew at half its life, and
// as soon as it lacks a revocation.
const (
	listLife = 72 * time.Hour
	maxList  = 1 << 20 // bytes
)

// A RevocationList is one list as it is published.
type RevocationList struct {
	Issuer string `json:"issuer"`
	// Shard is the list's number; All is set when the list holds every shard.
	Shard      uint32    `json:"shard"`
	All        bool      `json:"all,omitempty"`
	Number     uint64    `json:"number"`
	ThisUpdate time.Time `json:"this_update"`
	NextUpdate time.Time `json:"next_update"`
	Revoked    int       `json:"revoked"`
	DER        []byte    `json:"der"`
}

// A ListRequest asks for a revocation list.
type ListRequest struct {
	Issuer string `json:"issuer"`
	Shard  uint32 `json:"shard"`
	// All asks for every shard in one list, which no certificate points to.
	All bool `json:"all,omitempty"`
}

// lists are the revocation lists that were made. Each is made when it is asked
// for, so that a list that nobody reads costs nothing.
type lists struct {
	mu     sync.Mutex // guards byName
	byName map[ListRequest]*listed
}

// listed is a list with what it was made from.
type listed struct {
	mu sync.Mutex // held while the list is made
	RevocationList
	url string
}

func (l *lists) entry(r ListRequest) *listed {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byName == nil {
		l.byName = map[ListRequest]*listed{}
	}
	if l.byName[r] == nil {
		l.byName[r] = &listed{}
	}
	return l.byName[r]
}

// RevocationList returns the newest list of a shard, with every revocation
// that the ledger holds. A shard that no certificate has is not found, and
// neither is one of an issuer that is distrusted: its key signs nothing more,
// and the issuer itself is on the root's list.
func (s *Service) RevocationList(_ context.Context, r ListRequest) (RevocationList, error) {
	by, err := s.publisher(r.Issuer)
	if err != nil {
		return RevocationList{}, err
	}
	if r.All {
		r.Shard = 0
	}
	if shards := s.shards(by); r.Shard >= shards {
		return RevocationList{}, refuse(CodeNotFound, "", "issuer %s has %d revocation lists, from 0 on", by.Name, shards)
	}
	if !r.All && s.policy.Load().PublicURL == "" {
		if s.shards(by) > 1 {
			return RevocationList{}, refuse(CodeBadRequest, "set public: {http: …, host: …} in postern.yaml, or use 'postern crl export --all'",
				"a list of one shard has to name its address, and none is configured")
		}
		r.All = true // the only shard is all there is
	}
	l := s.lists.entry(r)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := s.refresh(l, r, by); err != nil {
		return RevocationList{}, err
	}
	return l.RevocationList, nil
}

// shards returns how many lists an issuer has.
func (s *Service) shards(by *issuer) uint32 {
	return uint32(max(1, (by.shards.issued.Load()+perShard-1)/perShard))
}

// Shards returns how many revocation lists an issuer has, from 0 on.
func (s *Service) Shards(_ context.Context, issuer string) (uint32, error) {
	by, err := s.publisher(issuer)
	if err != nil {
		return 0, err
	}
	return s.shards(by), nil
}

// publisher returns an issuer that may say what it revoked.
func (s *Service) publisher(name string) (*issuer, error) {
	for _, k := range s.roster.Issuers() {
		if k.Name != name {
			continue
		}
		if k.Distrusted {
			return nil, refuse(CodeNotFound, "the root's list names the issuer itself", "issuer %s is distrusted and signs no list any more", name)
		}
		for _, i := range s.held() {
			if i.KeyID == k.KeyID {
				return i, nil
			}
		}
	}
	return nil, refuse(CodeNotFound, "'postern list issuers' shows those there are", "there is no issuer %q with a key here", name)
}

// refresh makes the list anew unless it says all that there is to say and has
// half of its life before it. l.mu is held.
func (s *Service) refresh(l *listed, r ListRequest, by *issuer) error {
	shards := s.shards(by)
	now, url := s.now().UTC().Truncate(time.Second), s.listURL(r, by)
	if l.DER != nil && s.revokedCount(r, by.KeyID, shards) == l.Revoked && url == l.url && now.Before(l.ThisUpdate.Add(listLife/2)) && !now.Before(l.ThisUpdate) {
		return nil
	}
	revoked, ok := s.revoked(r, by.KeyID, shards)
	if !ok {
		return errors.New("the ledger is not complete here, so no revocation list is made: look at 'postern ledger verify'")
	}
	next := RevocationList{
		Issuer: by.Name, Shard: r.Shard, All: r.All, Revoked: len(revoked),
		Number:     s.numbers.next(s.roster.Epoch(), s.now()),
		ThisUpdate: now, NextUpdate: now.Add(listLife),
	}
	var err error
	next.DER, err = attest(revocation.List{
		Number: next.Number, ThisUpdate: next.ThisUpdate, NextUpdate: next.NextUpdate, URL: url, Revoked: revoked,
	}, by)
	if err != nil {
		return err
	}
	if len(next.DER) > maxList && !r.All {
		return fmt.Errorf("revocation list %d of %s has %d bytes, more than the %d that programs read", r.Shard, by.Name, len(next.DER), maxList)
	}
	l.RevocationList, l.url = next, url
	s.log.Info("revocation list made", "issuer", by.Name, "shard", r.Shard, "revoked", next.Revoked, "bytes", len(next.DER))
	return nil
}

func (s *Service) listURL(r ListRequest, by *issuer) string {
	url := s.policy.Load().PublicURL
	if url == "" || r.All {
		return ""
	}
	return url + CRLPath(by.Name, r.Shard)
}

func (s *Service) revokedCount(r ListRequest, issuer ledger.KeyID, shards uint32) (n int) {
	if !r.All {
		return s.roster.RevokedCount(issuer, r.Shard)
	}
	for shard := range shards {
		n += s.roster.RevokedCount(issuer, shard)
	}
	return n
}

// revoked returns what a list has to name.
func (s *Service) revoked(r ListRequest, issuer ledger.KeyID, shards uint32) (all []roster.Revocation, ok bool) {
	if !r.All {
		return s.roster.Revoked(issuer, r.Shard)
	}
	for shard := range shards {
		some, ok := s.roster.Revoked(issuer, shard)
		if !ok {
			return nil, false
		}
		all = append(all, some...)
	}
	return all, true
}
