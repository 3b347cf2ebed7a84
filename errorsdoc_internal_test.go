package middleware

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/internal/outage"
	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/exchange"
)

const errorsDoc = "docs/errors.md"

// TestTheErrorsPageIsWhatTheCodeSays generates docs/errors.md
// (go test -run ErrorsPage -update .).
func TestTheErrorsPageIsWhatTheCodeSays(t *testing.T) {
	page := errorsPage(t)
	if slices.ContainsFunc(os.Args, func(arg string) bool {
		return strings.HasSuffix(arg, "update") || strings.HasSuffix(arg, "update=true")
	}) {
		require.NoError(t, os.WriteFile(errorsDoc, []byte(page), 0o644))
	}
	stands, err := os.ReadFile(errorsDoc)
	require.NoError(t, err)
	require.Equal(t, page, string(stands), "run: go test -run ErrorsPage -update .")
}

func errorsPage(t *testing.T) string {
	var b strings.Builder
	b.WriteString(`# Refusals by reason

Generated from the code (` + "`go test -run ErrorsPage -update .`" + `). The **reason** is the key ` + "`reason`" + ` of a log line, ` + "`Outcome.Reason`" + `. It is stable, and part of the API. The client never sees it: it sees the status, the error code of the challenge
and the fixed description. The last column is the hint of the log line; where the guard knows more of the request, the line says more
than this page: the host that was named, the audience that came, the address that is not trusted.

The column **error_code** is what ` + "`middleware.WithErrorMembers(\"error_description\", \"error_code\")`" + ` adds to the JSON body, for programs of
the client. There is one for each description, and never the reason: a client must not learn whether a token was revoked or never known.

`)
	family := func(title, about string, kind func(i int) clientError) {
		fmt.Fprintf(&b, "## %s\n\n%s\n\n| reason | status | error code | the client reads | `error_code` | what to look at |\n|---|---|---|---|---|---|\n", title, about)
		for i := 1; i < 256; i++ {
			e := kind(i)
			r := e.(reasoned).Reason()
			if r == "" {
				continue
			}
			fmt.Fprintf(&b, "| `%s` | %d | %s | %s | %s | %s |\n", r, statusOf(e), code(e.Code()), cell(e.Description()), code(errorCodeOf(e)), cell(e.Hint()))
		}
		b.WriteByte('\n')
	}
	family("The request and the rules", "`middleware.RequestError`.", func(i int) clientError { return RequestError(i) })
	family("The token", "`oidc.TokenError`.", func(i int) clientError { return oidc.TokenError(i) })
	family("The proof", "`dpop.ProofError`. RFC 9449, section 4.3.", func(i int) clientError { return dpop.ProofError(i) })
	family("The certificate", "`mtlspop.BindingError`. RFC 8705, section 3.", func(i int) clientError { return mtlspop.BindingError(i) })
	family("Client id and secret", "`exchange.Error`, with `middleware.WithExchange` only.", func(i int) clientError { return exchange.Error(i) })

	b.WriteString("## No decision\n\nThe fault is not the client's: status 503, without a challenge, so that the client keeps its token.\n\n| reason | what to look at |\n|---|---|\n")
	for _, reason := range append(slices.Clone(outage.Reasons), reasonUnavailable, reasonPanic, reasonMisconfigured) {
		require.NotEmpty(t, outages[reason], reason)
		fmt.Fprintf(&b, "| `%s` | %s |\n", reason, cell(outages[reason]))
	}
	return b.String()
}

func code(c string) string {
	if c == "" {
		return "none"
	}
	return "`" + c + "`"
}

func cell(text string) string { return strings.ReplaceAll(text, "|", "\\|") }

// TestAnOperatorIsHelpedWithEveryKind: a kind without a hint is one about which an
// operator can do nothing, and is listed here.
func TestAnOperatorIsHelpedWithEveryKind(t *testing.T) {
	nothingToDo := []string{
		// The client's mistake, which the description names.
		"malformed_authorization", "bad_target",
		"dpop_malformed", "dpop_claims", "dpop_type", "dpop_signature", "dpop_private_key", "credentials_malformed",
		// What the operator's own rule demands: the hint of the line, which is not fixed.
		"rule_claim", "rule_authentication", "rule_authorization_details", "rule_func",
		// The issuer's mistake, which the description names.
		"token_critical_header", "token_claims", "token_no_expiry", "token_no_issue_time", "token_dpop_without_key",
		// Attacks, or the client's own doing.
		"certificate_revoked",
	}
	for i := 1; i < 256; i++ {
		for _, e := range []clientError{RequestError(i), oidc.TokenError(i), dpop.ProofError(i), mtlspop.BindingError(i), exchange.Error(i)} {
			r := e.(reasoned).Reason()
			if r == "" || slices.Contains(nothingToDo, r) {
				continue
			}
			if e.Hint() == "" {
				t.Errorf("%s has no hint, and is not listed as one about which an operator can do nothing", r)
			}
		}
	}
	require.Equal(t, http.StatusServiceUnavailable, statusOf(RequestError(255)))
}
