package rule

// A Partner is the name under which a site trusts a foreign authority. Partners
// compare with ==. The zero Partner is none.
type Partner struct{ name string }

// ParsePartner returns the partner named s, written as a network is.
func ParsePartner(s string) (Partner, error) {
	n, err := ParseNetwork(s)
	return Partner(n), err
}

// String returns the name.
func (p Partner) String() string { return p.name }

// IsZero reports whether p is none.
func (p Partner) IsZero() bool { return p.name == "" }

// Partner returns the partner that the term asks for, and whether it asks for
// one.
func (t Term) Partner() (Partner, bool) { return t.partner, t.kind == partner }
