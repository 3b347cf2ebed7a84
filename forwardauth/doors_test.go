package forwardauth_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/forwardauth"
	"github.com/keybound-go/middleware/internal/corpus"
	"github.com/keybound-go/middleware/internal/doors"
	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/mtlspop/mtlspoptest"
)

// The corpus, through the subrequests of each proxy.
func TestDoors(t *testing.T) {
	for dialect, fields := range dialects {
		t.Run(dialect.String(), func(t *testing.T) {
			doors.Run(t, doors.Door{
				Name: "forwardauth, " + dialect.String(), Folder: "forwardauth",
				Certificates: []mtlspop.Option{mtlspop.WithForwardedCertificate("X-Client-Cert", mtlspop.PEM, proxyPrefix)},
				Cannot: func(c corpus.Case) string {
					if c.Guard.RequireTLS {
						return "The proxy ends TLS, and the operator closes its plain listener."
					}
					return ""
				},
				Open: func(t *testing.T, g *middleware.Guard) func(doors.Question) doors.Answer {
					h, err := forwardauth.New(g, forwardauth.WithProxy(dialect, proxyPrefix))
					require.NoError(t, err)
					return func(q doors.Question) doors.Answer {
						a := ask(h, subrequestOf(fields, q))
						outcome := a.Header().Get("X-Auth-Outcome")
						require.Equal(t, a.Code == http.StatusOK, outcome == "pass")
						return doors.Answer{Passed: a.Code == http.StatusOK, Status: a.Code, Header: a.Header()}
					}
				},
			})
		})
	}
}

// subrequestOf is what the proxy sends about the request of q, whose connection it ends:
// the certificate is in a field, and so is the word on early data.
func subrequestOf(f fields, q doors.Question) *http.Request {
	r := subrequest(f, q.Request.Method, q.Request.RequestURI)
	for name, values := range q.Request.Header {
		r.Header[name] = values
	}
	r.Header.Set(f.host, q.Request.Host)
	if q.Case.Request.Early {
		r.Header.Set("Early-Data", "1")
	}
	if q.Client != nil {
		r.Header.Set("X-Client-Cert", mtlspoptest.Nginx(q.Client))
	}
	return r
}
