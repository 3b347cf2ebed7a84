package extauthz_test

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/extauthz"
	"github.com/keybound-go/middleware/internal/corpus"
	"github.com/keybound-go/middleware/internal/doors"
	"github.com/keybound-go/middleware/mtlspop"
)

var local = netip.MustParsePrefix("127.0.0.0/8")

// The corpus, through Envoy's questions in both forms of the header.
func TestDoors(t *testing.T) {
	for name, merged := range map[string]bool{"header_map": false, "headers": true} {
		t.Run(name, func(t *testing.T) {
			doors.Run(t, doors.Door{
				Name: "ext_authz, " + name, Folder: "extauthz",
				Certificates: []mtlspop.Option{mtlspop.WithForwardedCertificate(extauthz.CertificateField, mtlspop.PEM, local)},
				Cannot: func(c corpus.Case) string {
					if c.Guard.RequireTLS {
						return "Envoy ends TLS, and the operator closes its plain listener."
					}
					return ""
				},
				Open: func(t *testing.T, g *middleware.Guard) func(doors.Question) doors.Answer {
					s, err := extauthz.New(g, extauthz.WithEnvoy(local))
					require.NoError(t, err)
					return func(q doors.Question) doors.Answer {
						var behind service
						e := start(t, s, &behind)
						e.merged = merged
						if q.Case.Request.Early {
							q.Request.Header.Set("Early-Data", "1")
						}
						a := e.ask(t, q.Request, q.Client)
						return doors.Answer{Passed: behind.got != nil, Status: a.Code, Header: a.Header()}
					}
				},
			})
		})
	}
}
