package profile

// testKeys are the SHA-256 of the SubjectPublicKeyInfo of the keys that RFC
// 9500 prints with their private halves, as far as their size is let in.
var testKeys = [...]string{
	"8fb6bad671cfe698393c453357da61b56d757ab8c0f3fb9c87f2849e63131878", // section 2.1, RSA with 2048 bits
	"b2b04340cfaee616ec9c2c62d261b208e54bb197498df52e8cadede23ac0ba5e", // section 2.3, P-256
	"c4c10105a0be0ed4dd3354428dc38a9bfee64da141ce16e75c94eda272f9dd3a", // section 2.3, P-384
	"acb1b8327fef995e2458fdf5e3c33b2dc0749feabd6a894cb9bda9d70ac06c24", // section 2.3, P-521
}
