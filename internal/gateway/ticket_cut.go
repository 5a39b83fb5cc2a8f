package gateway

import (
	"bytes"
	"cmp"
	varint "encoding/binary"
	"slices"
)

// cutOut appends state to dst with each of ders in it replaced by its number.
// The encoding of a session is the standard library's and opaque to us; that
// certificates stand in it as they are is all that this makes use of, and if
// they did not, tickets would be longer and nothing else.
//
// What is appended is, again and again, a length, as many bytes as they are,
// and the number of a certificate that follows them, counting from 1, or 0 at
// the end.
func cutOut(dst, state []byte, ders [][]byte) []byte {
	type hit struct{ at, which int }
	var hits []hit
	for i, der := range ders {
		for from := 0; len(der) > 0; {
			at := bytes.Index(state[from:], der)
			if at < 0 {
				break
			}
			hits = append(hits, hit{from + at, i})
			from += at + len(der)
		}
	}
	slices.SortFunc(hits, func(a, b hit) int { return cmp.Compare(a.at, b.at) })
	pos := 0
	for _, h := range hits {
		if h.at < pos { // within the one before
			continue
		}
		dst = appendPiece(dst, state[pos:h.at], h.which+1)
		pos = h.at + len(ders[h.which])
	}
	return appendPiece(dst, state[pos:], 0)
}

func appendPiece(dst, piece []byte, which int) []byte {
	dst = varint.AppendUvarint(dst, uint64(len(piece)))
	dst = append(dst, piece...)
	return varint.AppendUvarint(dst, uint64(which))
}

// putBack undoes cutOut with the same certificates, and reports false for what
// cutOut did not make.
func putBack(cut []byte, ders [][]byte) (state []byte, ok bool) {
	size := len(cut)
	for _, der := range ders {
		size += len(der)
	}
	state = make([]byte, 0, size)
	for {
		n, used := varint.Uvarint(cut)
		if used <= 0 || n > uint64(len(cut)-used) {
			return nil, false
		}
		state, cut = append(state, cut[used:used+int(n)]...), cut[used+int(n):]
		which, used := varint.Uvarint(cut)
		if used <= 0 || which > uint64(len(ders)) {
			return nil, false
		}
		cut = cut[used:]
		if which == 0 {
			return state, len(cut) == 0
		}
		state = append(state, ders[which-1]...)
	}
}
