package keys

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"strings"

	keyfile "github.com/foxboron/go-tpm-keyfiles"
	"github.com/google/go-tpm/tpm2"
)

// tpmBlock is the PEM type of a key that its TPM has wrapped (ASN.1
// Specification for TPM 2.0 Key Files, section 3).
const tpmBlock = "TSS2 PRIVATE KEY"

// A TPMFile is a key of the kind ECDSAP256 that one TPM made and alone can use:
// what lies in the file is wrapped by it, and worth nothing elsewhere. It has
// no PIN: whoever may read the file and use the TPM signs with it. OpenSSL's
// provider for TPMs reads the same file. It is safe for concurrent use.
type TPMFile struct {
	device string
	key    *keyfile.TPMKey
	pub    *ecdsa.PublicKey
}

// ParseTPM returns the device of the TPM that ref names: "tpm" is the machine's
// own, and tpm:?path=FILE another device or the socket of a TPM in software.
func ParseTPM(ref string) (device string, err error) {
	query, ok := strings.CutPrefix(ref, strings.TrimSuffix(tpmScheme, ":"))
	if !ok || query != "" && !strings.HasPrefix(query, ":?") {
		return "", fmt.Errorf("%q names no TPM: write tpm, or tpm:?path=FILE for another device than %s", ref, defaultTPM)
	}
	return devicePath(strings.TrimPrefix(query, ":?"))
}

// MakeTPMFile has the TPM at device make a key.
func MakeTPMFile(device string) (*TPMFile, error) {
	t, err := dialTPM(tpmRef{path: device})
	if err != nil {
		return nil, err
	}
	key, err := keyfile.NewLoadableKey(t, tpm2.TPMAlgECC, 256, nil)
	if err = errors.Join(err, t.Close()); err != nil {
		return nil, &TokenError{Msg: "the TPM at " + device + " makes no key", Tries: -1, Err: err}
	}
	return newTPMFile(device, key)
}

func newTPMFile(device string, key *keyfile.TPMKey) (*TPMFile, error) {
	pub, err := key.PublicKey()
	if err != nil {
		return nil, fmt.Errorf("the TPM's key cannot be read: %w", err)
	}
	p256, ok := pub.(*ecdsa.PublicKey)
	if !ok || p256.Curve != elliptic.P256() || key.HasAuth() {
		return nil, errors.New("it holds another kind of TPM key than ours, which are ecdsa-p256 without a PIN")
	}
	return &TPMFile{device: device, key: key, pub: p256}, nil
}

// Public returns the key's public half.
func (k *TPMFile) Public() crypto.PublicKey { return k.pub }

// Ready reports whether the TPM is there to sign, as an error if it is not.
func (k *TPMFile) Ready() error {
	t, err := dialTPM(tpmRef{path: k.device})
	if err != nil {
		return err
	}
	return t.Close()
}

// Sign has the TPM sign a digest by SHA-256 or SHA-384. It opens the TPM for
// this signature only.
func (k *TPMFile) Sign(random io.Reader, digest []byte, o crypto.SignerOpts) ([]byte, error) {
	t, err := dialTPM(tpmRef{path: k.device})
	if err != nil {
		return nil, err
	}
	defer t.Close()
	signer, err := k.key.Signer(t, nil, nil)
	if err != nil {
		return nil, err
	}
	sig, err := signer.Sign(random, digest, o)
	if err != nil {
		return nil, &TokenError{Msg: "the TPM at " + k.device + " does not sign with this key: one works in the TPM that made it only, and not after that was cleared", Tries: -1, Err: err}
	}
	return sig, nil
}

// PEM returns the file's text. It is no secret to anybody who lacks the TPM.
func (k *TPMFile) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: tpmBlock, Bytes: keyfile.Marshal(k.key)})
}

// ReadIn reads the key at path as ReadPrivate does, or as one of the TPM at device.
func ReadIn(path, device string) (crypto.Signer, error) {
	if device == "" {
		return ReadPrivate(path)
	}
	data, err := readPrivateFile(path)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	block, _ := pem.Decode(data)
	if block == nil || block.Type != tpmBlock {
		return nil, fmt.Errorf("read key %s: it holds no key of a TPM (%s): put back the file that postern wrote", path, tpmBlock)
	}
	key, err := parseTPMFile(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read key %s: %w", path, err)
	}
	k, err := newTPMFile(device, key)
	if err != nil {
		return nil, fmt.Errorf("read key %s: %w", path, err)
	}
	return k, nil
}

// Read reads the key at path, whether the file holds it or the TPM at device
// does; "" is the machine's own TPM. The TPM is not asked before it signs.
func Read(path, device string) (crypto.Signer, error) {
	data, err := readPrivateFile(path)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	wrapped := false
	if block, _ := pem.Decode(data); block != nil {
		wrapped = block.Type == tpmBlock
		clear(block.Bytes)
	}
	clear(data)
	if wrapped {
		return ReadIn(path, cmp.Or(device, defaultTPM))
	}
	return ReadPrivate(path)
}

func parseTPMFile(der []byte) (key *keyfile.TPMKey, err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("it holds a key of a TPM that is damaged: put back the file that postern wrote")
		}
	}()
	key, err = keyfile.Parse(der)
	if err != nil {
		return nil, fmt.Errorf("it holds a key of a TPM that is damaged (%w): put back the file that postern wrote", err)
	}
	return key, nil
}
