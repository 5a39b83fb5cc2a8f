package authority

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/postern-project/postern/internal/ledger"
	"github.com/postern-project/postern/internal/profile"
	"github.com/postern-project/postern/internal/refusal"
	"github.com/postern-project/postern/internal/store"
)

// Certificates returns the certificates that fit f: newest first, or those
// that have ended or are about to by their end.
func (s *Service) Certificates(ctx context.Context, f CertificateFilter) ([]Certificate, error) {
	want, err := s.search(f)
	if err != nil {
		return nil, err
	}
	limit, all := cmp.Or(max(f.Limit, 0), defaultLimit), []Certificate{}
	if f.Status == "" {
		want.Limit = limit
	}
	for c, err := range s.certificates(ctx, want) {
		if err != nil {
			return nil, err
		}
		if f.Status == "" || c.Status == f.Status {
			all = append(all, c)
		}
		if len(all) == limit {
			break
		}
	}
	return all, nil
}

// search turns a filter into the store's words.
func (s *Service) search(f CertificateFilter) (want store.Filter, err error) {
	want = store.Filter{Name: f.Name, Serial: f.Serial, Beginning: strings.ToLower(f.Beginning), Key: f.Key, Issuer: f.Issuer, Via: f.Via, NotVia: f.NotVia}
	if n := len(f.Beginning); n > 2*ledger.MaxSerial || strings.Trim(want.Beginning, "0123456789abcdef") != "" {
		return want, refuse(CodeBadRequest, fmt.Sprintf("write at most %d hex digits", 2*ledger.MaxSerial), "no serial number begins with %q", f.Beginning)
	}
	now := s.now()
	switch f.Status {
	case "":
	case StatusRevoked:
		want.Revoked = true
	case StatusExpired:
		want.Unrevoked, want.EndsBefore = true, now
	case StatusGood:
		want.Unrevoked, want.EndsAfter = true, now
	case StatusSuspended:
		want.Suspended, want.Unrevoked, want.EndsAfter = true, true, now
	default:
		return want, refuse(CodeBadRequest, "use good, revoked, expired or suspended", "%q is no status of a certificate", f.Status)
	}
	if f.Within > 0 {
		if f.Status == StatusRevoked || f.Status == StatusExpired {
			return want, refuse(CodeBadRequest, "leave one of them out", "what is %s does not end any more", f.Status)
		}
		want.Unrevoked, want.EndsAfter, want.EndsBefore = true, now, now.Add(f.Within)
	}
	if f.Due {
		if f.Status != "" && f.Status != StatusGood {
			return want, refuse(CodeBadRequest, "leave one of them out", "what is %s is not to be renewed", f.Status)
		}
		want.Due, want.NotVia, want.Standing, want.Unrevoked, want.EndsAfter = now, viaSelf, true, true, now
		if f.Within == 0 || f.Within > dueWithin {
			want.EndsBefore = now.Add(dueWithin)
		}
	}
	if want.Host, err = hostOf(f.Host); err != nil {
		return want, badRequest(err)
	}
	want.After, err = readPlace(f.After)
	return want, err
}

// dueWithin is how long before its end a certificate should have been renewed
// at the latest.
const dueWithin = 30 * 24 * time.Hour

// Due returns how many certificates CertificateFilter.Due selects, and the one
// that ends first, which is zero when there is none.
func (s *Service) Due(ctx context.Context) (n int, first Certificate, err error) {
	f, err := s.search(CertificateFilter{Due: true})
	if err != nil {
		return 0, Certificate{}, err
	}
	if n, err = s.store.Count(ctx, f); err != nil || n == 0 {
		return 0, Certificate{}, err
	}
	f.Limit = 1
	for first, err = range s.certificates(ctx, f) {
		break
	}
	return n, first, err
}

// hostOf returns a host as it stands in certificates.
func hostOf(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	if ip, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return ip.Unmap().String(), nil
	}
	h, err := profile.ParseHosts([]string{s}, nil)
	if err != nil {
		return "", err
	}
	return h.DNSNames[0], nil
}

// writePlace writes a place: the entry's number and the end in milliseconds.
func writePlace(p store.Place) string {
	return fmt.Sprintf("%d-%d", p.Seq, p.Ends.UnixMilli())
}

func readPlace(s string) (p store.Place, err error) {
	if s == "" {
		return p, nil
	}
	seq, ends, ok := strings.Cut(s, "-")
	n, errSeq := strconv.ParseUint(seq, 10, 63)
	millis, errEnds := strconv.ParseInt(ends, 10, 64)
	if !ok || errSeq != nil || errEnds != nil || n == 0 {
		return p, refuse(CodeBadRequest, "take the place that the page before ended with", "%q is no place in a list", s)
	}
	return store.Place{Seq: n, Ends: time.UnixMilli(millis).UTC()}, nil
}

func (s *Service) certificates(ctx context.Context, f store.Filter) iter.Seq2[Certificate, error] {
	return func(yield func(Certificate, error) bool) {
		now := s.now()
		for row, err := range s.store.Certificates(ctx, f) {
			suspended := err == nil && s.roster.Check(row.Ref, row.NotBefore).Code == refusal.Suspended
			if !yield(certificate(row, suspended, now), err) || err != nil {
				return
			}
		}
	}
}
