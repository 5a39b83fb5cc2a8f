package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/postern-project/postern/internal/gateway"
)

// maxLimit bounds the numbers of a limit.
const maxLimit = 1_000_000

// limits reads how much one party may use.
func (r *reader) limits(n ast.Node, to *[]gateway.Limit) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		r.fail(at(n), `write lines such as "- {per: identity, rate: 60/m}"`, "limits is a list")
		return
	}
	for _, v := range seq.Values {
		var l gateway.Limit
		named, bounded := false, false
		r.section(v, "a limit", map[string]func(ast.Node){
			"per":        r.word("per", func(s string) (err error) { named = true; l.Per, err = parseParty(s); return err }),
			"rate":       r.word("rate", func(s string) (err error) { bounded = true; l.Count, l.Interval, err = parseRate(s); return err }),
			"burst":      r.word("burst", func(s string) (err error) { l.Burst, err = parseAmount(s); return err }),
			"concurrent": r.word("concurrent", func(s string) (err error) { bounded = true; l.Concurrent, err = parseAmount(s); return err }),
		})
		switch {
		case !named:
			r.fail(at(v), "say per: identity, group or address", "a limit counts by nothing")
		case !bounded:
			r.fail(at(v), "say rate: 60/m or concurrent: 8", "a limit without a bound")
		case l.Count == 0 && l.Burst > 0 && l.Concurrent > 0:
			r.fail(at(v), "say rate: as well", "a burst without a rate")
		}
		*to = append(*to, l)
	}
}

func parseParty(s string) (gateway.Party, error) {
	for _, p := range []gateway.Party{gateway.PerIdentity, gateway.PerGroup, gateway.PerAddress} {
		if s == p.String() {
			return p, nil
		}
	}
	return 0, fmt.Errorf("%q is none of identity, group and address", s)
}

// parseRate reads 10/s, 60/m or 1000/h.
func parseRate(s string) (int, time.Duration, error) {
	number, unit, _ := strings.Cut(s, "/")
	interval := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}[strings.TrimSpace(unit)]
	n, err := parseAmount(strings.TrimSpace(number))
	if err != nil || interval == 0 {
		return 0, 0, fmt.Errorf("%q is no rate: write 10/s, 60/m or 1000/h", s)
	}
	return n, interval, nil
}

func parseAmount(s string) (int, error) {
	n, err := strconv.Atoi(s)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%q is no number", s)
	case n < 1 || n > maxLimit:
		return 0, errors.New("from 1 to " + strconv.Itoa(maxLimit))
	}
	return n, nil
}
