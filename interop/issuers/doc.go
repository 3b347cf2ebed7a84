// Package issuers runs guarded services against issuers and clients that others wrote:
// oidc-provider, Keycloak, Ory Hydra and Spring Authorization Server; oauth4webapi,
// openid-client and dpop from npm, curl, golang.org/x/oauth2 on top of dpopclient, and
// Chromium. So does it run gateway, as a process, with each of Kong's configurations.
// What the pages of docs/issuers say is run too.
//
//	../run issuers        # installs what is missing
//	INTEROP_REQUIRED=1 go test .
//
// What is not on the machine is skipped, or fails the test if INTEROP_REQUIRED is set.
// The results are compared with the tables of ../README.md; with INTEROP_UPDATE set, they
// are written there.
package issuers
