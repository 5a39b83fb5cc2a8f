package scep

import (
	"errors"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Bounds on what a message may be made of.
const (
	maxMessage  = 32 << 10 // bytes; one with an RSA key of 4096 bits has some 5 KiB
	maxDepth    = 24       // of elements in elements; a message has some 12
	maxElements = 2000     // a message has some 300
)

var errEncoding = errors.New("the message is no BER")

// normalize returns what stands in data, in BER (X.690), as DER: with definite
// lengths, and with strings of bytes in one piece. Apple's systems send the
// other forms. Whatever stands after the first element is an error.
func normalize(data []byte) ([]byte, error) {
	if len(data) > maxMessage {
		return nil, errors.New("the message is too long")
	}
	n := normalizer{budget: maxElements}
	b := cryptobyte.NewBuilder(make([]byte, 0, len(data)))
	rest, err := n.element(b, data, 0)
	if err != nil {
		return nil, err
	}
	if len(rest) > 0 {
		return nil, errors.New("something follows the message")
	}
	return b.Bytes()
}

// A normalizer counts the elements that it has seen, since each costs more
// than its bytes.
type normalizer struct{ budget int }

// element writes the first element of data as DER, and returns what follows it.
func (n *normalizer) element(b *cryptobyte.Builder, data []byte, depth int) (rest []byte, err error) {
	tag, content, rest, indefinite, err := header(data)
	if n.budget--; err != nil || n.budget < 0 || depth > maxDepth {
		return nil, errEncoding
	}
	if tag&constructed == 0 {
		b.AddASN1(tag, func(b *cryptobyte.Builder) { b.AddBytes(content) })
		return rest, nil
	}
	whole := tag
	if tag == asn1.OCTET_STRING|constructed {
		whole = asn1.OCTET_STRING
	}
	b.AddASN1(whole, func(b *cryptobyte.Builder) {
		if indefinite {
			rest, err = n.untilEnd(b, tag, rest, depth)
			return
		}
		for len(content) > 0 && err == nil {
			content, err = n.inside(b, tag, content, depth)
		}
	})
	return rest, err
}

// untilEnd writes the elements up to the two zeros that end an element of
// indefinite length.
func (n *normalizer) untilEnd(b *cryptobyte.Builder, of asn1.Tag, data []byte, depth int) (rest []byte, err error) {
	for {
		if len(data) >= 2 && data[0] == 0 && data[1] == 0 {
			return data[2:], nil
		}
		if data, err = n.inside(b, of, data, depth); err != nil {
			return nil, err
		}
	}
}

// inside writes one element inside of another: of a string in pieces the piece
// without its head.
func (n *normalizer) inside(b *cryptobyte.Builder, of asn1.Tag, data []byte, depth int) (rest []byte, err error) {
	if of != asn1.OCTET_STRING|constructed {
		return n.element(b, data, depth+1)
	}
	tag, content, rest, _, err := header(data)
	if n.budget--; err != nil || n.budget < 0 || tag != asn1.OCTET_STRING {
		return nil, errEncoding
	}
	b.AddBytes(content)
	return rest, nil
}

const constructed = asn1.Tag(0x20)

// header splits data behind the first element. With an indefinite length the
// content is not known yet, and rest begins with it.
func header(data []byte) (tag asn1.Tag, content, rest []byte, indefinite bool, err error) {
	if len(data) < 2 || data[0]&0x1f == 0x1f { // no tag here is longer than a byte
		return 0, nil, nil, false, errEncoding
	}
	tag, length, rest := asn1.Tag(data[0]), int(data[1]), data[2:]
	switch {
	case length == 0x80:
		if tag&constructed == 0 {
			return 0, nil, nil, false, errEncoding
		}
		return tag, nil, rest, true, nil
	case length > 0x80:
		size := length - 0x80
		if size > 4 || len(rest) < size {
			return 0, nil, nil, false, errEncoding
		}
		length = 0
		for _, octet := range rest[:size] {
			length = length<<8 | int(octet)
		}
		rest = rest[size:]
	}
	if length < 0 || length > len(rest) {
		return 0, nil, nil, false, errEncoding
	}
	return tag, rest[:length], rest[length:], false, nil
}
