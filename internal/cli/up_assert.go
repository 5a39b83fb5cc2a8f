package cli

import (
	"github.com/postern-project/postern/internal/assertion"
	"github.com/postern-project/postern/internal/gateway"
)

// assertionsFolder holds, inside the data folder, the keys that sign
// statements for applications.
const assertionsFolder = "assertions"

// assert signs for an application who makes a request to its site.
func (s *server) assert(a gateway.Assertion) (string, error) {
	says := assertion.Statement{
		Subject: s.house.Roster.TrustDomain().ID(a.Client.Name).String(), Name: a.Client.Name.String(), Audience: a.Host,
	}
	if a.Client.Certificate != nil { // who came by a token has none
		says.Serial, says.Certificate = a.Client.Ref.Serial.String(), a.Client.Certificate.Raw
	}
	return s.assertions.Sign(says)
}
