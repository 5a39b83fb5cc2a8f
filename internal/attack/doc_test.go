// Package attack tries to break into a running postern: the program as it is
// built, with a real data folder, real sites and raw sockets. Each attack names
// the advisory or the class that it comes from and says what has to happen.
//
// An attack that nothing could let in proves nothing, so each defence has a
// patch in testdata/mutants that takes it away. 'make mutants' applies one after
// the other to a copy of the tree and fails unless the attack that the patch
// names then gets through.
package attack
