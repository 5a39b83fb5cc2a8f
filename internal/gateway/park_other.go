//go:build !unix

package gateway

// canPark says that readable cannot tell here.
const canPark = false

func readable(uintptr) bool { return true }
