package chain

// OwnProtocol is what a client offers in its handshake, beside the protocols
// that it speaks (RFC 7301), when it verifies by this authority's root and
// nothing else: a site that also has a certificate of somebody else's, such as
// a public authority's for browsers, then shows the one of ours. It is never
// agreed to.
const OwnProtocol = "postern-root"
