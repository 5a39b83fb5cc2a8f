package keys

import "filippo.io/age"

// Recipient returns what seals to the passphrase, with the work that a
// person's own needs.
func (p Passphrase) Recipient() (*age.ScryptRecipient, error) {
	r, err := age.NewScryptRecipient(p.Reveal())
	if err != nil {
		return nil, err
	}
	r.SetWorkFactor(workOwn)
	return r, nil
}

// Identity returns what opens what Recipient sealed.
func (p Passphrase) Identity() (*age.ScryptIdentity, error) {
	i, err := age.NewScryptIdentity(p.Reveal())
	if err != nil {
		return nil, err
	}
	i.SetMaxWorkFactor(maxWork)
	return i, nil
}
