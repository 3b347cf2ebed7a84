package dpop

import (
	"net/http"
	"time"
)

// Explanation is what a proof claims beside what was expected; nothing in it is verified. For logs only.
type Explanation struct {
	HTU, ExpectedHTU string // without query and fragment, printable, truncated
	HTM              string
	Skew             time.Duration // iat minus now; zero if there is no iat
	HasIssuedAt      bool
}

// Explain re-reads the proof of a refused request for the operator.
func (v *Verifier) Explain(r *http.Request) Explanation { panic("todo") }
