package chain

import (
	"crypto/x509"
	"errors"
	"strings"
	"testing"
)

func TestPathLengthReadsAsASentence(t *testing.T) {
	for name, c := range map[string]struct {
		change change
		want   string
	}{
		"none below":        {func(c *x509.Certificate) { c.MaxPathLenZero = true }, "may issue certificates, no further authorities"},
		"one below":         {func(c *x509.Certificate) { c.MaxPathLen = 1 }, "may issue certificates, and one more level of authorities"},
		"two below":         {func(c *x509.Certificate) { c.MaxPathLen = 2 }, "may issue certificates, and 2 more levels of authorities"},
		"as many as wanted": {func(*x509.Certificate) {}, "may issue certificates"},
	} {
		t.Run(name, func(t *testing.T) {
			if s := (judge{}).basicConstraints(authority(t, "CA", nil, c.change).Certificate, 1); !s.OK || s.Detail != c.want {
				t.Errorf("got %+v, want %q", s, c.want)
			}
		})
	}
	tooLong := authority(t, "CA", nil, func(c *x509.Certificate) { c.MaxPathLenZero = true })
	if s := (judge{}).basicConstraints(tooLong.Certificate, 2); s.OK || s.Detail != "'CA' allows no authority below it, and there is 1 (path length)" {
		t.Errorf("got %+v", s)
	}
}

// What has ended cannot renew itself, which the remedy must not promise.
func TestTheRemedyForAnExpiredCertificate(t *testing.T) {
	h := newHouse(t)
	for name, c := range map[string]struct {
		cert *entity
		want string
	}{
		"a device":       {leaf(t, "phone", h.clients, past), "invite the device again: 'postern invite ben/phone'"},
		"a server":       {leaf(t, "shop", h.servers, past, server), "'postern issue ben/phone'"},
		"without a name": {leaf(t, "x", h.clients, past, func(c *x509.Certificate) { c.URIs = nil }), "'postern invite NAME'"},
	} {
		t.Run(name, func(t *testing.T) {
			got := ExpiredRemedy(c.cert.Certificate)
			if !strings.Contains(got, c.want) || strings.Contains(got, "postern renew") {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestACutOffFileIsToldFromADamagedOne(t *testing.T) {
	const begin, body, end = "-----BEGIN CERTIFICATE-----\n", "MAA=\n", "-----END CERTIFICATE-----\n"
	for name, c := range map[string]struct {
		text string
		want bool
	}{
		"no END":                {begin + body, true},
		"no END before a BEGIN": {begin + body + begin + body + end, true},
		"half of an END":        {begin + body + end[:12], true},
		"a wrong character":     {begin + "M*A=\n" + end, false},
		"other text":            {"hello\n" + begin + body + end, false},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Blocks([]byte(c.text))
			e, ok := errors.AsType[*SyntaxError](err)
			if !ok || e.CutOff != c.want {
				t.Errorf("%v: cut off %v, want %v", err, ok && e.CutOff, c.want)
			}
		})
	}
}
