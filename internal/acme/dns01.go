package acme

import (
	"context"
	"strings"
)

// maxRecords bounds how many TXT records are looked at.
const maxRecords = 100

// askDNS reads the challenge's TXT records (RFC 8555 section 8.4).
func (p *served) askDNS(ctx context.Context, t *trace, q query) ([]string, *problemError) {
	name := "_acme-challenge." + strings.TrimPrefix(q.host.Value, "*.")
	ctx, cancel := context.WithTimeout(ctx, dnsTime)
	defer cancel()
	records, err := p.dns.net.LookupTXT(ctx, name+".")
	if err != nil {
		t.say("asked DNS for the TXT records of %s: %s", name, dnsWords(err))
		return nil, problem(dnsProblem, "the TXT records of %s cannot be found: %s", name, dnsWords(err))
	}
	if len(records) > maxRecords {
		records = records[:maxRecords]
	}
	t.say("%s has %d TXT records", name, len(records))
	return records, nil
}
