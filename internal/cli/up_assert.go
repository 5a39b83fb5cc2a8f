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
	return s.assertions.Sign(assertion.Statement{
		Subject: s.house.Roster.TrustDomain().ID(a.Client.Name).String(), Name: a.Client.Name.String(),
		Serial: a.Client.Ref.Serial.String(), Certificate: a.Client.Certificate.Raw, Audience: a.Host,
	})
}
