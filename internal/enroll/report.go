package enroll

import (
	"encoding/hex"
	"encoding/json"
	"net/http"

	"github.com/postern-project/postern/internal/authority"
	"github.com/postern-project/postern/internal/invite"
	"github.com/postern-project/postern/internal/ledger"
)

// maxReport bounds a report, in bytes.
const maxReport = 1 << 10

// report takes in how far an invitation has come. Every report that can be
// read gets the same empty answer, so that none tells whether there is such an
// invitation.
func (d *desk) report(w http.ResponseWriter, r *http.Request) error {
	if _, ok := d.reports.take(prefixOf(r.RemoteAddr)); !ok {
		return refuse(http.StatusTooManyRequests, authority.CodeRateLimited, "too many reports from this network")
	}
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxReport))
	decoder.DisallowUnknownFields()
	var said invite.Report
	if err := decoder.Decode(&said); err != nil {
		return refuse(http.StatusBadRequest, authority.CodeBadRequest, "the report is not one JSON object")
	}
	hash, err := hex.DecodeString(said.Invite)
	if err != nil || len(hash) != len(ledger.Hash{}) || said.Step != invite.StepOpened && said.Step != invite.StepKey {
		return refuse(http.StatusBadRequest, authority.CodeBadRequest, "the report names no invitation or no step")
	}
	d.options.Course.report(ledger.Hash(hash), said.Step, said.Device, d.options.Now())
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// pending tells a device that a person has to say yes, and both of them the
// same words.
func (d *desk) pending(w http.ResponseWriter, code invite.Code, spki []byte, device string) error {
	hash := ledger.Hash(code.GuardedHash())
	d.options.Course.wait(code, spki, device, d.options.Now())
	w.Header().Set("Retry-After", "2")
	return writeJSON(w, http.StatusAccepted, invite.ProblemType, invite.Problem{
		Type: "about:blank", Title: http.StatusText(http.StatusAccepted), Status: http.StatusAccepted, Code: authority.CodePending,
		Detail: "the person who invited you has to say yes: compare these words with theirs", Words: invite.Words(hash, spki),
	})
}
