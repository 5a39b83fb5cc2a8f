package keys

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"time"

	"github.com/google/go-tpm/tpm2"
	"github.com/google/go-tpm/tpm2/transport"
	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// openTPM finds a key at its persistent handle, or makes one there that never
// leaves the TPM.
func openTPM(u tpmRef, ask Ask, create bool) (Held, error) {
	t, err := dialTPM(u)
	if err != nil {
		return nil, err
	}
	k := &tpmKey{tpm: t, ref: u}
	if err := k.open(ask, create); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return k, nil
}

// dialTPM opens the device, or the socket of a TPM in software.
func dialTPM(u tpmRef) (transport.TPMCloser, error) {
	info, err := os.Stat(u.path)
	var rw io.ReadWriteCloser
	switch {
	case err != nil:
	case info.Mode()&os.ModeSocket != 0:
		rw, err = net.Dial("unix", u.path)
	default:
		rw, err = os.OpenFile(u.path, os.O_RDWR, 0)
	}
	if err != nil {
		return nil, &TokenError{Msg: "no TPM answers at " + u.path + ": 'tpm:HANDLE?path=FILE' names another, and the user needs the right to open it (group tss)", Tries: -1, Gone: true, Err: err}
	}
	return patient{transport.FromReadWriteCloser(rw), tpmPatience}, nil
}

// tpmPatience is how long a TPM may take over one command. Making an ECDSA key
// takes the slow ones some seconds.
const tpmPatience = 2 * time.Minute

// A patient TPM is waited for so long, and then counts as gone.
type patient struct {
	transport.TPMCloser
	limit time.Duration
}

// Send gives the TPM a command and returns its answer.
func (p patient) Send(command []byte) ([]byte, error) {
	late := time.AfterFunc(p.limit, func() { p.Close() })
	answer, err := p.TPMCloser.Send(command)
	if !late.Stop() {
		return nil, fmt.Errorf("no answer within %s", p.limit)
	}
	return answer, err
}

// A tpmKey is a key that stays in its TPM.
type tpmKey struct {
	tpm transport.TPMCloser
	ref tpmRef
	pub crypto.PublicKey
	// name is the TPM's own hash of the key, so that no other key at the same
	// handle signs in its place.
	name tpm2.TPM2BName
	pin  Passphrase
}

func (k *tpmKey) handle() tpm2.TPMHandle { return tpm2.TPMHandle(k.ref.handle) }

func (k *tpmKey) open(ask Ask, create bool) error {
	tries, err := k.triesLeft()
	if err != nil {
		return err
	}
	_, err = tpm2.ReadPublic{ObjectHandle: k.handle()}.Execute(k.tpm)
	switch free := errors.Is(err, tpm2.TPMRCHandle); {
	case create && err == nil:
		return fmt.Errorf("the TPM holds a key at %#x already: choose another handle, nothing is ever written over", k.ref.handle)
	case create && !free, !create && err != nil && !free:
		return k.lost(err)
	case !create && free:
		return fmt.Errorf("the TPM holds no key at %#x: 'postern root create --root-key tpm:%#x' makes one", k.ref.handle, k.ref.handle)
	}
	if k.pin, err = ask(Question{What: fmt.Sprintf("PIN of the TPM's key %#x", k.ref.handle), PIN: true, Last: tries == 1}); err != nil {
		return err
	}
	if create {
		if err := k.make(); err != nil {
			return err
		}
	}
	return k.readPublic()
}

// make has the TPM make a signing key in the owner's hierarchy and keep it. What
// it is made from includes random bytes, so it is never made again.
func (k *tpmKey) make() error {
	unique := make([]byte, 64)
	rand.Read(unique)
	made, err := tpm2.CreatePrimary{
		PrimaryHandle: tpm2.TPMRHOwner,
		InSensitive: tpm2.TPM2BSensitiveCreate{Sensitive: &tpm2.TPMSSensitiveCreate{
			UserAuth: tpm2.TPM2BAuth{Buffer: []byte(k.pin.Reveal())},
		}},
		InPublic: tpm2.New2B(tpm2.TPMTPublic{
			Type:             tpm2.TPMAlgECC,
			NameAlg:          tpm2.TPMAlgSHA256,
			ObjectAttributes: tpm2.TPMAObject{FixedTPM: true, FixedParent: true, SensitiveDataOrigin: true, UserWithAuth: true, SignEncrypt: true},
			Parameters:       tpm2.NewTPMUPublicParms(tpm2.TPMAlgECC, &tpm2.TPMSECCParms{CurveID: tpm2.TPMECCNistP256}),
			Unique: tpm2.NewTPMUPublicID(tpm2.TPMAlgECC, &tpm2.TPMSECCPoint{
				X: tpm2.TPM2BECCParameter{Buffer: unique[:32]}, Y: tpm2.TPM2BECCParameter{Buffer: unique[32:]},
			}),
		}),
	}.Execute(k.tpm)
	if err != nil {
		return &TokenError{Msg: "the TPM makes no key", Tries: -1, Err: err}
	}
	defer tpm2.FlushContext{FlushHandle: made.ObjectHandle}.Execute(k.tpm)
	_, err = tpm2.EvictControl{
		Auth:             tpm2.TPMRHOwner,
		ObjectHandle:     &tpm2.NamedHandle{Handle: made.ObjectHandle, Name: made.Name},
		PersistentHandle: k.handle(),
	}.Execute(k.tpm)
	if err != nil {
		return &TokenError{Msg: fmt.Sprintf("the TPM does not keep the key at %#x", k.ref.handle), Tries: -1, Err: err}
	}
	return nil
}

func (k *tpmKey) readPublic() error {
	read, err := tpm2.ReadPublic{ObjectHandle: k.handle()}.Execute(k.tpm)
	if err != nil {
		return k.lost(err)
	}
	public, err := read.OutPublic.Contents()
	if err != nil {
		return k.lost(err)
	}
	if k.pub, err = tpm2.Pub(*public); err != nil {
		return k.lost(err)
	}
	if _, ok := k.pub.(*ecdsa.PublicKey); !ok || !public.ObjectAttributes.SignEncrypt {
		return fmt.Errorf("the TPM's key at %#x is no ECDSA key that signs", k.ref.handle)
	}
	k.name = read.Name
	return nil
}

// Public returns the key's public half.
func (k *tpmKey) Public() crypto.PublicKey { return k.pub }

// Sign has the TPM sign a digest. The PIN travels as a keyed hash, not in clear.
func (k *tpmKey) Sign(_ io.Reader, digest []byte, o crypto.SignerOpts) ([]byte, error) {
	hash, ok := map[crypto.Hash]tpm2.TPMAlgID{crypto.SHA256: tpm2.TPMAlgSHA256, crypto.SHA384: tpm2.TPMAlgSHA384}[o.HashFunc()]
	if !ok {
		return nil, fmt.Errorf("a TPM's key signs hashes by SHA-256 and SHA-384, not %s", o.HashFunc())
	}
	signed, err := tpm2.Sign{
		KeyHandle: tpm2.AuthHandle{
			Handle: k.handle(), Name: k.name,
			Auth: tpm2.HMAC(tpm2.TPMAlgSHA256, 16, tpm2.Auth([]byte(k.pin.Reveal()))),
		},
		Digest: tpm2.TPM2BDigest{Buffer: digest},
		InScheme: tpm2.TPMTSigScheme{
			Scheme:  tpm2.TPMAlgECDSA,
			Details: tpm2.NewTPMUSigScheme(tpm2.TPMAlgECDSA, &tpm2.TPMSSchemeHash{HashAlg: hash}),
		},
		Validation: tpm2.TPMTTKHashCheck{Tag: tpm2.TPMSTHashCheck, Hierarchy: tpm2.TPMRHNull},
	}.Execute(k.tpm)
	if err != nil {
		return nil, k.refused(err)
	}
	sig, err := signed.Signature.Signature.ECDSA()
	if err != nil {
		return nil, k.lost(err)
	}
	var b cryptobyte.Builder
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1BigInt(new(big.Int).SetBytes(sig.SignatureR.Buffer))
		b.AddASN1BigInt(new(big.Int).SetBytes(sig.SignatureS.Buffer))
	})
	return b.Bytes()
}

// refused says what is wrong with a PIN, or that the TPM is gone.
func (k *tpmKey) refused(err error) error {
	switch {
	case errors.Is(err, tpm2.TPMRCAuthFail), errors.Is(err, tpm2.TPMRCBadAuth):
		tries, triesErr := k.triesLeft()
		if triesErr != nil {
			tries = -1
		}
		return &TokenError{Msg: "wrong PIN of the TPM's key", Tries: tries, WrongPIN: true}
	case errors.Is(err, tpm2.TPMRCLockout):
		return &TokenError{Msg: "the TPM takes no PIN now, after too many wrong ones: wait until it recovers, or reset the lockout as its owner", Tries: 0}
	}
	return k.lost(err)
}

func (k *tpmKey) lost(err error) error {
	return &TokenError{Msg: "the TPM at " + k.ref.path + " has not answered: nothing was changed, see that it runs and begin again", Tries: -1, Gone: true, Err: err}
}

// triesLeft asks the TPM how many wrong PINs it takes before it locks out (TPM
// 2.0 part 1, "Dictionary attack protection").
func (k *tpmKey) triesLeft() (int, error) {
	property := func(p tpm2.TPMPT) (uint32, error) {
		got, err := tpm2.GetCapability{Capability: tpm2.TPMCapTPMProperties, Property: uint32(p), PropertyCount: 1}.Execute(k.tpm)
		if err != nil {
			return 0, k.lost(err)
		}
		all, err := got.CapabilityData.Data.TPMProperties()
		if err != nil || len(all.TPMProperty) == 0 || all.TPMProperty[0].Property != p {
			return 0, k.lost(errors.New("it does not tell how many PINs it takes"))
		}
		return all.TPMProperty[0].Value, nil
	}
	most, err := property(tpm2.TPMPTMaxAuthFail)
	if err != nil {
		return 0, err
	}
	wrong, err := property(tpm2.TPMPTLockoutCounter)
	if err != nil {
		return 0, err
	}
	return int(most) - min(int(wrong), int(most)), nil
}

// Close ends the connection to the TPM.
func (k *tpmKey) Close() error { return k.tpm.Close() }
