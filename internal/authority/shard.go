package authority

import (
	"strconv"
	"sync/atomic"

	"github.com/postern-project/postern/internal/profile"
)

// perShard is how many certificates share a revocation list. All of them
// revoked take less than a megabyte: 51 bytes each.
const perShard = 16_384

// A shardCounter counts what an issuer was asked for, so that each certificate
// knows its list before it is signed. It begins with what the ledger holds, and
// runs ahead of it by what was refused since: lists are a little shorter then.
type shardCounter struct{ issued atomic.Uint64 }

// begin sets the counter to what the ledger holds.
func (c *shardCounter) begin(issued uint64, last uint32) {
	if last > 0 {
		issued = max(issued, uint64(last)*perShard+1)
	}
	c.issued.Store(issued)
}

func (c *shardCounter) next() uint32 { return uint32((c.issued.Add(1) - 1) / perShard) }

// shardFor returns the list of the next certificate of an issuer, and the
// addresses that stand in it.
func (s *Service) shardFor(by *issuer) (uint32, profile.Pointers) {
	shard := by.shards.next()
	url := s.policy.Load().PublicURL
	if url == "" {
		return shard, profile.Pointers{}
	}
	return shard, profile.Pointers{
		CRL:    url + CRLPath(by.Name, shard),
		OCSP:   url + OCSPPath,
		Issuer: url + "/issuers/" + by.Name + ".crt",
	}
}

// OCSPPath is where OCSP is served, below the public address.
const OCSPPath = "/ocsp"

// CRLPath is where a shard's list is served, below the public address.
func CRLPath(issuer string, shard uint32) string {
	return "/crl/" + issuer + "/" + strconv.FormatUint(uint64(shard), 10) + ".crl"
}
