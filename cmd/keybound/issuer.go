package main

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/keybound-go/middleware/cmd/keybound/internal/pen"
)

type issuerFlags struct {
	settings       issuerSettings
	serve          serveFlags
	clients, bound []string
	faults         []string
	rotateEvery    time.Duration
	retireAfter    time.Duration
}

func newIssuer(s *streams) *cobra.Command {
	f := &issuerFlags{}
	c := &cobra.Command{
		Use:   "issuer",
		Short: "Run an issuer for development: DPoP, certificates, introspection, rotation and faults",
		Long: `Runs an authorization server for development and tests until it is interrupted. It
has discovery (OpenID Connect and RFC 8414), keys, a token endpoint (client
credentials, device flow, refresh; DPoP and certificate-bound tokens) and
introspection. It gives a token to any registered client that asks: never
expose it.

It serves https with a CA of its own, which it writes to --ca-file, unless --url is
http on a loopback address or --tls-cert is given.

Faults make it misbehave, to see how a service survives that. --fault takes
endpoint=kind, where the endpoint is metadata, keys, token, introspection or device,
and the kind is a status such as 503, abort, slow:DURATION, huge:BYTES,
redirect:URL, or html (200 with a page in place of JSON).`,
		Example: `  # An issuer with one client, for a compose file
  keybound issuer --url https://issuer.localhost:9443 --listen :9443 \
      --audience https://api.example --client app:secret --ca-file issuer-ca.pem

  # Tokens like Keycloak's, keys that rotate every minute, slow introspection
  keybound issuer --profile keycloak --rotate-every 1m --fault introspection=slow:2s`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return f.run(c.Context(), s) },
	}
	flags := c.Flags()
	flags.StringVar(&f.settings.url, "url", "https://localhost:9443", "issuer identifier, as in iss")
	flags.StringVar(&f.settings.profile, "profile", "rfc9068", "dialect of the tokens: "+strings.Join(slices.Sorted(maps.Keys(profiles)), ", "))
	flags.StringVar(&f.settings.audience, "audience", "https://api.example", "aud of tokens that are asked for without resource or audience")
	flags.StringVar(&f.settings.algorithm, "alg", "ES256", "algorithm that tokens are signed with")
	flags.StringArrayVar(&f.clients, "client", nil, "client as id:secret, or id alone for a public client; may be repeated (default client:secret)")
	flags.StringArrayVar(&f.bound, "certificate-bound", nil, "id of a client whose tokens are bound to its certificate; may be repeated")
	flags.BoolVar(&f.settings.opaque, "opaque", false, "give out opaque tokens, which only introspection can read")
	flags.StringVar(&f.settings.subject, "subject", "", "sub of every token (default: the client, or user-1 for the device flow)")
	flags.StringVar(&f.settings.scope, "scope", "", "scope of every token (default: the one that was asked for)")
	flags.DurationVar(&f.settings.lifetime, "token-lifetime", 5*time.Minute, "how long tokens are good; may be negative")
	flags.StringVar(&f.settings.nonce, "nonce", "", "demand this nonce in proofs at the token endpoint")
	flags.DurationVar(&f.rotateEvery, "rotate-every", 0, "make a new signing key this often")
	flags.DurationVar(&f.retireAfter, "retire-after", 0, "stop publishing the older keys this long after a rotation")
	flags.StringArrayVar(&f.faults, "fault", nil, "endpoint=kind; may be repeated")
	flags.DurationVar(&f.settings.delay, "delay", 0, "answer every request this late")
	flags.BoolVar(&f.settings.down, "down", false, "break every connection")
	f.serve.add(flags, "")
	_ = c.RegisterFlagCompletionFunc("profile", cobra.FixedCompletions(slices.Sorted(maps.Keys(profiles)), cobra.ShellCompDirectiveNoFileComp))
	return c
}

func (f *issuerFlags) run(ctx context.Context, s *streams) error {
	u, err := url.Parse(f.settings.url)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("--url %q is not an http or https URL without query and fragment", f.settings.url)
	}
	if err := f.complete(); err != nil {
		return err
	}
	issuer, err := startIssuer(f.settings)
	if err != nil {
		return err
	}
	defer issuer.close()
	server, err := f.serve.open(u, issuer)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, server.close)
	defer stop()
	go f.rotate(ctx, issuer)
	s.out.Printf("issuer    %s\nprofile   %s\naudience  %s\nlistening on %s\n", f.settings.url, f.settings.profile, f.settings.audience, server.address)
	if f.serve.caFile != "" {
		s.out.Printf("CA        %s\n", f.serve.caFile)
	}
	return server.wait()
}

// complete fills in what follows from other flags, and checks the lists.
func (f *issuerFlags) complete() error {
	if len(f.clients) == 0 {
		f.clients = []string{"client:secret"}
	}
	for _, text := range f.clients {
		id, secret, _ := strings.Cut(text, ":")
		f.settings.clients = append(f.settings.clients, issuerClient{id, secret, slices.Contains(f.bound, id)})
	}
	for _, id := range f.bound {
		if !slices.ContainsFunc(f.settings.clients, func(c issuerClient) bool { return c.id == id }) {
			return fmt.Errorf("--certificate-bound %s: there is no such --client", id)
		}
	}
	f.settings.faults = make(map[string]string)
	for _, text := range f.faults {
		endpoint, kind, ok := strings.Cut(text, "=")
		if _, known := endpoints[endpoint]; !ok || !known {
			return fmt.Errorf("--fault %q is not endpoint=kind with the endpoint one of %s", text, strings.Join(slices.Sorted(maps.Keys(endpoints)), ", "))
		}
		if _, err := parseFault(kind); err != nil {
			return fmt.Errorf("--fault %s: %w", text, err)
		}
		f.settings.faults[endpoint] = kind
	}
	if !slices.Contains(pen.Algorithms, f.settings.algorithm) {
		return fmt.Errorf("--alg %s is not one of %s", f.settings.algorithm, strings.Join(pen.Algorithms, ", "))
	}
	return nil
}

func (f *issuerFlags) rotate(ctx context.Context, issuer *devIssuer) {
	if f.rotateEvery <= 0 {
		return
	}
	ticker := time.NewTicker(f.rotateEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		issuer.rotate()
		if f.retireAfter > 0 {
			time.AfterFunc(f.retireAfter, issuer.retire)
		}
	}
}
