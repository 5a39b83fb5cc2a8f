package acme

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// window is how many nonces before the newest one are still good.
const window = 1 << 21

// strangersWindow is that of nonces by other processes: those from before a
// restart, or by another node.
const (
	strangersWindow = 1 << 16
	maxStrangers    = 16
)

// nonces gives out nonces and takes each once (RFC 8555 section 6.5). A nonce
// is the number of its process and a counter sealed under that process's key,
// so that none is stored: what is kept is a window of bits. Every process that
// has the same key knows the nonces of the others, and takes each once.
type nonces struct {
	key []byte
	now func() time.Time
	own *issuerOfNonces

	mu     sync.Mutex // guards others
	others map[[8]byte]*issuerOfNonces
}

// An issuerOfNonces is one process, as this one knows it.
type issuerOfNonces struct {
	id    [8]byte
	block cipher.Block
	next  atomic.Uint64
	used  time.Time // of the others: when a nonce of it was last taken

	mu   sync.Mutex // guards the window
	high uint64     // one more than the newest counter seen
	size uint64
	bits []uint64
}

func newNonces(key []byte, now func() time.Time) (*nonces, error) {
	n := &nonces{key: key, now: now, others: map[[8]byte]*issuerOfNonces{}}
	var id [8]byte
	rand.Read(id[:])
	var err error
	n.own, err = n.issuer(id, window)
	return n, err
}

func (n *nonces) issuer(id [8]byte, size uint64) (*issuerOfNonces, error) {
	key, err := hkdf.Key(sha256.New, n.key, nil, "nonces of "+string(id[:]), 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return &issuerOfNonces{id: id, block: block, size: size, bits: make([]uint64, size/64)}, nil
}

// new returns a fresh nonce: base64url, 32 characters.
func (n *nonces) new() string {
	var b [24]byte
	copy(b[:8], n.own.id[:])
	binary.BigEndian.PutUint64(b[8:16], n.own.next.Add(1)-1)
	// One block of a cipher is a permutation: the eight zero bytes behind the
	// counter come out again only if nobody touched it.
	n.own.block.Encrypt(b[8:], b[8:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// take reports whether the nonce is good, which it is once.
func (n *nonces) take(nonce string) bool {
	var b [24]byte
	if len(nonce) != 32 {
		return false
	}
	if k, err := base64.RawURLEncoding.Strict().Decode(b[:], []byte(nonce)); err != nil || k != len(b) {
		return false
	}
	by := n.find([8]byte(b[:8]), b[8:])
	if by == nil {
		return false
	}
	var open [16]byte
	by.block.Decrypt(open[:], b[8:])
	if binary.BigEndian.Uint64(open[8:]) != 0 {
		return false
	}
	counter := binary.BigEndian.Uint64(open[:8])
	if by == n.own && counter >= by.next.Load() {
		return false
	}
	return by.spend(counter)
}

// find returns the process that gave out a nonce. Of another one it keeps the
// window only once a nonce has proved that it knows the key.
func (n *nonces) find(id [8]byte, sealed []byte) *issuerOfNonces {
	if id == n.own.id {
		return n.own
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if by, ok := n.others[id]; ok {
		by.used = n.now()
		return by
	}
	by, err := n.issuer(id, strangersWindow)
	if err != nil {
		return nil
	}
	var open [16]byte
	by.block.Decrypt(open[:], sealed)
	if binary.BigEndian.Uint64(open[8:]) != 0 {
		return nil
	}
	if len(n.others) >= maxStrangers {
		n.forget()
	}
	by.used = n.now()
	n.others[id] = by
	return by
}

// forget drops the process that was not heard of for the longest time. n.mu is
// held.
func (n *nonces) forget() {
	var oldest [8]byte
	at := time.Unix(math.MaxInt32, 0)
	for id, by := range n.others {
		if by.used.Before(at) {
			oldest, at = id, by.used
		}
	}
	delete(n.others, oldest)
}

// spend marks a counter as used, and reports whether it was not before.
func (i *issuerOfNonces) spend(counter uint64) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if counter == math.MaxUint64 {
		return false
	}
	if counter >= i.high {
		i.advance(counter + 1)
	}
	if i.high-counter > i.size {
		return false // too old to know
	}
	word, bit := counter%i.size/64, uint64(1)<<(counter%64)
	if i.bits[word]&bit != 0 {
		return false
	}
	i.bits[word] |= bit
	return true
}

// advance moves the window's end, and clears what comes into it.
func (i *issuerOfNonces) advance(high uint64) {
	if high-i.high >= i.size {
		clear(i.bits)
		i.high = high
		return
	}
	for c := i.high; c < high; c++ {
		i.bits[c%i.size/64] &^= uint64(1) << (c % 64)
	}
	i.high = high
}
