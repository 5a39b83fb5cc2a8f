package gateway

import (
	order "encoding/binary"
	"encoding/hex"
	"net/netip"
	"os"
	"slices"
	"strings"
)

// nextRouters returns the gateways of the routing tables. In a container the
// next router is the bridge, whose address the engine may put in place of any
// client's.
func nextRouters() []netip.Addr {
	v4, _ := os.ReadFile("/proc/net/route")
	v6, _ := os.ReadFile("/proc/net/ipv6_route")
	return slices.Concat(routersIn(string(v4), 2, 4), routersIn(string(v6), 4, 16))
}

// routersIn reads the addresses, in hexadecimal, of one column. Those of four
// bytes stand in the order of the machine.
func routersIn(table string, column, size int) []netip.Addr {
	var found []netip.Addr
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if len(fields) <= column {
			continue
		}
		raw, err := hex.DecodeString(fields[column])
		if err != nil || len(raw) != size {
			continue
		}
		if size == 4 {
			order.NativeEndian.PutUint32(raw, order.BigEndian.Uint32(raw))
		}
		if a, ok := netip.AddrFromSlice(raw); ok && !a.IsUnspecified() {
			found = append(found, a)
		}
	}
	return found
}
