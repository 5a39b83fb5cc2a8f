//go:build !race

package chain

// raceFactor allows for the race detector in tests of time.
const raceFactor = 1
