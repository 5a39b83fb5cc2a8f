package roster

import (
	"sync"

	"github.com/postern-project/postern/internal/identity"
	"github.com/postern-project/postern/internal/ledger"
)

// A Token is an app token as the ledger has it.
type Token struct {
	ledger.TokenIssued
	Revoked bool
}

// tokens are the app tokens by their hash.
type tokens struct{ byHash sync.Map } // ledger.Hash -> Token

// follow brings the tokens up to date with one entry, and reports whether it
// was about them.
func (t *tokens) follow(body ledger.Body) bool {
	switch b := body.(type) {
	case ledger.TokenIssued:
		t.byHash.LoadOrStore(b.Token, Token{TokenIssued: b})
	case ledger.TokenRevoked:
		if v, ok := t.byHash.Load(b.Token); ok {
			t.byHash.Store(b.Token, Token{v.(Token).TokenIssued, true})
		}
	default:
		return false
	}
	return true
}

// withdraw revokes the tokens of a name and of all below it, whether or not the
// ledger lists them: the whole name was revoked.
func (t *tokens) withdraw(n identity.Name) {
	t.byHash.Range(func(hash, v any) bool {
		if token := v.(Token); n.Covers(token.Name) {
			t.byHash.Store(hash, Token{token.TokenIssued, true})
		}
		return true
	})
}

// all returns every token.
func (t *tokens) all() (all []Token) {
	t.byHash.Range(func(_, v any) bool {
		all = append(all, v.(Token))
		return true
	})
	return all
}

// Token returns the app token with that hash. false is the answer of a roster
// that is not complete as well.
func (r *Roster) Token(hash ledger.Hash) (Token, bool) {
	v, ok := r.tokens.byHash.Load(hash)
	if !ok || !r.ready.Load() {
		return Token{}, false
	}
	return v.(Token), true
}
