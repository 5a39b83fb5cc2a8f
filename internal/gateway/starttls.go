package gateway

import (
	bigendian "encoding/binary"
	"errors"
	"io"
)

// StartTLSPostgres is a Site.StartTLS: PostgreSQL's clients before version 17
// ask in the clear whether they may begin TLS.
const StartTLSPostgres = "postgres"

// What a client of PostgreSQL says first: a length, which counts itself, and
// one of these (PostgreSQL's manual, "Message Formats").
const (
	postgresSSL    = 1234<<16 | 5679
	postgresGSS    = 1234<<16 | 5680
	postgresCancel = 1234<<16 | 5678
	postgresMajor  = 3 // of a startup message: the version's upper half
)

// errInClear ends a connection that was asked for without TLS.
var errInClear = errors.New("the client asked for a session without TLS")

// overture answers what a client may say in the clear before its ClientHello.
// Whoever begins with a TLS record is not kept: what was read of it is read
// again. No more than two questions are answered, and nothing but they is read
// here, so that no byte sent in the clear is ever taken for one that TLS has
// protected (CVE-2021-23214).
func (l *listener) overture(c *conn) error {
	if l.public || !l.g.table.Load().postgres {
		return nil
	}
	for range 2 {
		var head [8]byte
		if _, err := io.ReadFull(c, head[:1]); err != nil {
			return err
		}
		if head[0] != 0 { // a TLS record begins with its type, which is not zero
			c.early = append(head[:1:1], c.early...)
			return nil
		}
		if _, err := io.ReadFull(c, head[1:]); err != nil {
			return err
		}
		length, code := bigendian.BigEndian.Uint32(head[:4]), bigendian.BigEndian.Uint32(head[4:])
		switch {
		case length == 8 && code == postgresSSL:
			c.startTLS = StartTLSPostgres
			_, err := io.WriteString(c, "S")
			return err
		case length == 8 && code == postgresGSS:
			if _, err := io.WriteString(c, "N"); err != nil { // then it asks for TLS
				return err
			}
		case code == postgresCancel:
			return errInClear // it carries a secret that was to be kept by TLS; there is no answer to it
		case code>>16 == postgresMajor:
			c.Write(postgresRefusal)
			c.drain()
			return errInClear
		default:
			return errors.New("neither TLS nor a question of PostgreSQL's")
		}
	}
	return errors.New("too many questions before TLS")
}

// postgresRefusal is an ErrorResponse.
var postgresRefusal = postgresError("SFATAL", "VFATAL", "C28000", "Mthis server is reached by TLS only: add sslmode=require, or sslmode=verify-full with sslrootcert")

func postgresError(fields ...string) []byte {
	var body []byte
	for _, f := range fields {
		body = append(append(body, f...), 0)
	}
	body = append(body, 0)
	return append(bigendian.BigEndian.AppendUint32([]byte{'E'}, uint32(len(body)+4)), body...)
}
