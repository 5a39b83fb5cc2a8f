package profile

// testKeys are the SHA-256 of the SubjectPublicKeyInfo of keys that standards
// print with their private halves, as far as their size is let in.
var testKeys = map[string]string{
	"8fb6bad671cfe698393c453357da61b56d757ab8c0f3fb9c87f2849e63131878": "RFC 9500, section 2.1, RSA with 2048 bits",
	"b2b04340cfaee616ec9c2c62d261b208e54bb197498df52e8cadede23ac0ba5e": "RFC 9500, section 2.3, P-256",
	"c4c10105a0be0ed4dd3354428dc38a9bfee64da141ce16e75c94eda272f9dd3a": "RFC 9500, section 2.3, P-384",
	"acb1b8327fef995e2458fdf5e3c33b2dc0749feabd6a894cb9bda9d70ac06c24": "RFC 9500, section 2.3, P-521",
	"5a7a78cca4a0f420d9bc62bb669c3c2759e39f723d3ae10dcbe0f0815a07ecd4": "RFC 6979, appendix A.2.5, P-256",
	"2f95601fa82060b909bfc6b979dbd303d34d34e0afb27ea496beac362f242a4b": "RFC 6979, appendix A.2.6, P-384",
	"2fb6d46385242ea4ad431f7175e7014eb74a5fc60f65b50ca54cc23c5b08de38": "RFC 6979, appendix A.2.7, P-521",
	"2bd1bb0c44a897c30a7aa0991cde38d8062fe441de50da0f46825344f602e827": "RFC 7515, appendix A.3, P-256",
	"51b944cdfa544d4c3273aa6bf350625a7dd53bbb6a71723274f538b19a207760": "RFC 7517, appendix A.2, P-256",
	"ad32320cf6c596d884b05381ba573aba8ddd5749b4de8f4a23a79f9a89ddaeb2": "RFC 7517, appendix A.2, RSA with 2048 bits",
}
