// Package house holds the tests of the layout: who may import whom, what each
// package says of itself, and which modules we depend on.
package house
