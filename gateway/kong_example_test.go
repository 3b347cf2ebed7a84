package main

import (
	"crypto/x509"
	"log"
	"net/netip"
	"os"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/mtlspop/revocation"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/clientauth"
	"github.com/keybound-go/middleware/oidc/exchange"
	"github.com/keybound-go/middleware/oidc/introspect"
	"github.com/keybound-go/middleware/session"
)

// The examples are the Go of docs/kong.md. A test holds the two against each other.

func use(_ *middleware.Guard, err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func Example_dpop() {
	guard, err := middleware.New(
		middleware.WithTokens(oidc.New("https://keycloak.example/realms/main", "https://api.example", oidc.WithProfile(oidc.Keycloak))),
		middleware.WithDPoP(dpop.New("https://api.example")),
		middleware.WithRules(middleware.DPoPBound()),
	)
	use(guard, err)
}

func Example_certificateOfTheHandshake() {
	guard, err := middleware.New(
		middleware.WithTokens(oidc.New("https://keycloak.example/realms/main", "https://api.example", oidc.WithProfile(oidc.Keycloak))),
		middleware.WithMTLS(mtlspop.New()), // and serve with mtlspop.RequestClientCert
		middleware.WithRules(middleware.CertificateBound()),
	)
	use(guard, err)
}

func Example_certificateInAHeader() {
	var roots *x509.CertPool // of the CAs of clients
	guard, err := middleware.New(
		middleware.WithTokens(oidc.New("https://keycloak.example/realms/main", "https://api.example", oidc.WithProfile(oidc.Keycloak))),
		middleware.WithMTLS(mtlspop.New(
			mtlspop.WithForwardedCertificate("X-Client-Cert", mtlspop.DER, netip.MustParsePrefix("10.1.2.3/32")),
			mtlspop.WithRoots(roots),
			mtlspop.WithRevocation(revocation.New(revocation.DangerouslyPassUnknown())))),
		middleware.WithRules(middleware.CertificateBound()),
	)
	use(guard, err)
}

func Example_introspectionAndSessions() {
	issuer, err := oidc.NewIssuer("https://keycloak.example/realms/main")
	if err != nil {
		log.Fatal(err)
	}
	guard, err := middleware.New(
		middleware.WithTokens(introspect.New(issuer, "https://api.example", clientauth.SecretBasic("kong", os.Getenv("CLIENT_SECRET")))),
		middleware.WithDPoP(dpop.New("https://api.example", dpop.WithNonces(dpop.NewNonces([]byte(os.Getenv("NONCE_KEY")))))),
		middleware.WithSession(session.New([]byte(os.Getenv("SESSION_SECRET")))),
		middleware.WithRules(middleware.DPoPBound()),
	)
	use(guard, err)
}

func Example_clientCredentials() {
	issuer, err := oidc.NewIssuer("https://keycloak.example/realms/main")
	if err != nil {
		log.Fatal(err)
	}
	guard, err := middleware.New(
		middleware.WithTokens(issuer.Verifier("https://api.example", oidc.WithProfile(oidc.Keycloak))),
		middleware.WithExchange(exchange.New(issuer, exchange.WithScopes("openid"))),
		middleware.RequireExchange(), // callers bring no tokens
		middleware.AllowUnbound(),
	)
	use(guard, err)
}
