//go:build !linux

package gateway

import "syscall"

const canSayMore = false

func (c *conn) writeMore(_ syscall.RawConn, b []byte) (int, error) { return c.Conn.Write(b) }
