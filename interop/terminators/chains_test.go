package terminators_test

import (
	"crypto/tls"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/mtlspop"
)

// Where the service looks at who issued a certificate, it needs the certificates in
// between: from the terminator, if it sends them, or from its own configuration.
func TestChains(t *testing.T) {
	all := newCast(t)
	for _, test := range []struct {
		name  string // of the configuration
		also  string
		sends bool // the chain
		opts  []mtlspop.Option
	}{
		{name: "nginx"},
		{name: "Caddy"},
		{name: "HAProxy", also: haproxyChain, sends: true},
		{name: "Apache with spaces", also: apacheChain, sends: true,
			opts: []mtlspop.Option{mtlspop.WithForwardedChain("X-Client-Chain0", mtlspop.PEM)}},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := named(t, test.name)
			c.also = test.also
			find(t, c.server)
			opts := append(test.opts, mtlspop.WithRoots(all.roots))
			begin := func(opts ...mtlspop.Option) *stage {
				s := &stage{cast: all, configuration: c, service: newService(t, c, opts...)}
				s.address = start(t, c, s.service.address(), all.site)
				return s
			}
			leafOnly := begin(opts...)
			both := begin(append(opts, mtlspop.WithIntermediates(all.sub.cert))...)

			for _, s := range []*stage{leafOnly, both} {
				require.Equal(t, 200, s.client(s.right).get(t, s.right.x5t()).status)
				require.Equal(t, 401, s.client(s.wrong).get(t, s.right.x5t()).status)
				require.Equal(t, 401, s.client(s.selfSigned).get(t, s.selfSigned.x5t()).status)
				require.Equal(t, 401, s.client(s.stranger).get(t, s.stranger.x5t()).status)

				// A forged chain never helps.
				forged := s.client(s.selfSigned).get(t, s.selfSigned.x5t(), "Client-Cert-Chain: x", "X-Client-Chain0: x")
				require.Equal(t, 401, forged.status)
			}

			// HAProxy and Apache forget the chain, and only that, when a session is
			// resumed.
			resume := func(s *stage) reply {
				c := s.client(s.underSub)
				c.sessions = tls.NewLRUClientSessionCache(1)
				c.get(t, s.right.x5t()) // Refused, so that the service does not remember the chain.
				return c.get(t, s.underSub.x5t())
			}
			require.Equal(t, 401, resume(leafOnly).status)
			require.Equal(t, 200, resume(both).status)

			unresumed := leafOnly.client(leafOnly.underSub).get(t, leafOnly.underSub.x5t())
			if test.sends {
				require.Equal(t, 200, unresumed.status)
			} else {
				require.Equal(t, 401, unresumed.status)
			}
		})
	}
}

// named returns the configuration of that name.
func named(t *testing.T, name string) configuration {
	t.Helper()
	for _, c := range configurations() {
		if c.name == name {
			return c
		}
	}
	t.Fatalf("no configuration %q", name)
	return configuration{}
}
