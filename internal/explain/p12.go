package explain

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/postern-project/postern/internal/chain"
)

// maxIterations bounds the work that a file's password derivation may ask for.
const maxIterations = 10_000_000

// openP12 explains a PKCS#12 file: what it is locked with, which systems open
// it, whether the password fits, and what is in it.
func openP12(f File, o Options, out *opened) {
	lock, err := readLock(f.Data)
	if err != nil {
		out.fail("PKCS#12", "its encoding is damaged or not DER: "+chain.Printable(err.Error()),
			"Make it again: 'openssl pkcs12 -export -in CERT -inkey KEY -out FILE'.")
		return
	}
	out.say(good("PKCS#12", lock.words()))
	out.say(lock.readers())
	if lock.iterations > maxIterations {
		out.fail("password", fmt.Sprintf("it asks for %d rounds of work for each try, which is made to do harm", lock.iterations),
			"Do not open it.")
		return
	}
	unlock(f, o, out)
}

// unlock tries the empty password, which many files have, and then asks.
func unlock(f File, o Options, out *opened) {
	err := take(f.Data, "", out)
	if isWrongPassword(err) && o.Password != nil {
		password, askErr := o.Password(f.Name)
		if errors.Is(askErr, ErrNoPassword) {
			out.say(shut())
			return
		}
		if askErr != nil {
			out.fail("password", "none was given: "+chain.Printable(askErr.Error()), "Give the password to see what is in the file.")
			return
		}
		err = take(f.Data, password, out)
	} else if err == nil {
		out.say(note("password", "the file opens with an empty password, which macOS and iOS read in different ways: use one that is not empty"))
		return
	}
	out.say(unlocked(err, o.Password != nil))
}

func unlocked(err error, asked bool) chain.Step {
	_, unsupported := errors.AsType[pkcs12.NotImplementedError](err)
	switch {
	case err == nil:
		return good("password", "it fits")
	case isWrongPassword(err) && !asked:
		return shut()
	case isWrongPassword(err):
		return bad("password", "it is wrong", "Type the password that the file was made with. Phones say 'wrong password' also when they do not know the encryption: see which systems open the file.")
	case unsupported:
		return bad("encoding", "not supported here, whatever the password: "+chain.Printable(err.Error()),
			"Make the file again: 'postern issue NAME --p12', or 'openssl pkcs12 -export -in CERT -inkey KEY -out FILE'.")
	default:
		return bad("contents", "damaged: "+chain.Printable(err.Error()), "Get the file again from where it was made.")
	}
}

// ErrNoPassword says that there is no password to try and nobody to ask.
var ErrNoPassword = errors.New("no password was given")

func shut() chain.Step {
	return bad("password", "the file is locked: could not look inside",
		"Give its password: --password-file FILE, or a file of the same name with .password at its end beside it.")
}

func isWrongPassword(err error) bool {
	return errors.Is(err, pkcs12.ErrIncorrectPassword) || errors.Is(err, pkcs12.ErrDecryption)
}

var errStumble = errors.New("it makes the parser stumble, so it was made to do harm")

// take puts into out what the file holds. It never panics.
func take(data []byte, password string, out *opened) (err error) {
	defer func() {
		if recover() != nil {
			err = errStumble
		}
	}()
	key, leaf, others, err := pkcs12.DecodeChain(data, password)
	if err != nil && !isWrongPassword(err) {
		if certs, trustErr := pkcs12.DecodeTrustStore(data, password); trustErr == nil {
			out.certs = append(out.certs, certs...)
			return nil
		}
	}
	if err != nil {
		return err
	}
	out.certs = append(append(out.certs, leaf), others...)
	if pub, err := publicPart(key); err == nil {
		out.keys = append(out.keys, foundKey{out.name, crypto.PublicKey(pub)})
	}
	out.rootInside(others)
	return nil
}

// rootInside warns of a root in the file.
func (f *opened) rootInside(certs []*x509.Certificate) {
	for _, c := range certs {
		if c.CheckSignatureFrom(c) == nil {
			f.say(note("root", chain.Quote(chain.NameOf(c))+" is in the file: Windows then asks whether to trust it, and Android may take it for the certificate; leave it out"))
		}
	}
}
