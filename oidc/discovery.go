package oidc

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/keybound-go/middleware/internal/remote"
	"github.com/keybound-go/middleware/internal/strictjson"
)

const (
	wellKnownOIDC  = "/.well-known/openid-configuration"       // OpenID Connect Discovery, section 4
	wellKnownOAuth = "/.well-known/oauth-authorization-server" // RFC 8414, section 3
)

// maxMetadataDepth limits how deep a discovery document is nested.
const maxMetadataDepth = 16

// providerConfig is how an issuer is reached.
type providerConfig struct {
	metadataURL  string
	jwksURI      string
	client       *http.Client
	loopbackHTTP bool
	cooldown     time.Duration // of the keys; 0: the default
}

// metadata is what this package reads of a discovery document (RFC 8414,
// section 2; RFC 8705, section 5). It is shared and must not be modified. The
// URLs are as the issuer wrote them: who calls one checks it first.
type metadata struct {
	Issuer                string      // issuer
	JWKSURI               string      // jwks_uri
	TokenEndpoint         string      // token_endpoint
	IntrospectionEndpoint string      // introspection_endpoint
	MTLS                  mtlsAliases // mtls_endpoint_aliases
}

func (m *metadata) read(raw []byte) error {
	var o strictjson.Object
	for o.StartDocument(raw, maxMetadataDepth); o.Next(); {
		switch string(o.Name()) {
		case "issuer":
			o.Text(&m.Issuer)
		case "jwks_uri":
			o.Text(&m.JWKSURI)
		case "token_endpoint":
			o.Text(&m.TokenEndpoint)
		case "introspection_endpoint":
			o.Text(&m.IntrospectionEndpoint)
		case "mtls_endpoint_aliases":
			if m.MTLS.read(o.Value()) != nil {
				o.Refuse()
			}
		}
	}
	return o.Err()
}

// mtlsAliases are the endpoints that a client which authenticates with a
// certificate, or wants its tokens bound to one, uses instead.
type mtlsAliases struct {
	TokenEndpoint         string // token_endpoint
	IntrospectionEndpoint string // introspection_endpoint
}

func (a *mtlsAliases) read(raw []byte) error {
	var o strictjson.Object
	for o.StartDocument(raw, maxMetadataDepth); o.Next(); {
		switch string(o.Name()) {
		case "token_endpoint":
			o.Text(&a.TokenEndpoint)
		case "introspection_endpoint":
			o.Text(&a.IntrospectionEndpoint)
		}
	}
	return o.Err()
}

// provider is one issuer's discovery document, fetched when first needed and
// kept fresh from then on.
type provider struct {
	issuer   string
	loopback bool
	doc      *remote.Resource[*metadata]
}

// newProvider starts nothing and touches no network.
//
// Precondition: issuer has passed checkIssuer.
func newProvider(issuer string, c providerConfig) (*provider, error) {
	urls := metadataURLs(issuer)
	if c.metadataURL != "" {
		if err := checkURL(c.metadataURL, c.loopbackHTTP); err != nil {
			return nil, fmt.Errorf("oidc: WithMetadataURL: %w", err)
		}
		urls = []string{c.metadataURL}
	}
	p := &provider{issuer: issuer, loopback: c.loopbackHTTP}
	doc, err := remote.New(remote.Config[*metadata]{
		Locate:            remote.At(urls...),
		Decode:            p.decode,
		Client:            c.client,
		AllowLoopbackHTTP: c.loopbackHTTP,
	})
	if err != nil {
		return nil, err
	}
	p.doc = doc
	return p, nil
}

// metadata returns the discovery document. Its error, if the issuer cannot be
// reached or is not the configured one, is no TokenError and may have a method
// RetryAfter.
func (p *provider) metadata(ctx context.Context) (*metadata, error) {
	s, err := p.doc.Get(ctx)
	if err != nil {
		return nil, fmt.Errorf("oidc: discovery of %s: %w", p.issuer, err)
	}
	return s.Value, nil
}

// jwksURI is the locate function of the issuer's key source.
func (p *provider) jwksURI(ctx context.Context) (string, error) {
	return p.endpoint(ctx, "jwks_uri", func(m *metadata) string { return m.JWKSURI })
}

// endpoint returns the URL that pick chooses from the discovery document, after
// checking that it is one to call: https (RFC 8414, section 2).
func (p *provider) endpoint(ctx context.Context, name string, pick func(*metadata) string) (string, error) {
	m, err := p.metadata(ctx)
	if err != nil {
		return "", err
	}
	raw := pick(m)
	if raw == "" {
		return "", fmt.Errorf("oidc: the discovery document of %s has no %s", p.issuer, name)
	}
	if err := checkURL(raw, p.loopback); err != nil {
		return "", fmt.Errorf("oidc: %s of %s: %w", name, p.issuer, err)
	}
	return raw, nil
}

// decode accepts a document of the configured issuer only. RFC 8414, section
// 3.3: otherwise the data MUST NOT be used.
func (p *provider) decode(body []byte, h http.Header) (*metadata, error) {
	if mediaType, _, err := mime.ParseMediaType(h.Get("Content-Type")); err != nil || mediaType != "application/json" {
		return nil, errors.New("oidc: the discovery document is not application/json")
	}
	m := new(metadata)
	if err := m.read(strictjson.WithoutBOM(body)); err != nil {
		return nil, fmt.Errorf("oidc: the discovery document is malformed: %w", err)
	}
	if m.Issuer != p.issuer {
		return nil, fmt.Errorf("oidc: the discovery document is of issuer %.200q, not of %q", m.Issuer, p.issuer)
	}
	return m, nil
}

// metadataURLs are where the discovery document of issuer may be, in the order
// in which they are tried: the next one only if the one before is not there.
// Should both exist, they must be consistent (RFC 9068, section 4), so that the
// first one will do. OpenID Connect's is first since most issuers have only that.
func metadataURLs(issuer string) []string {
	u, err := url.Parse(issuer)
	if err != nil {
		return nil
	}
	origin := u.Scheme + "://" + u.Host
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	return []string{origin + path + wellKnownOIDC, origin + wellKnownOAuth + path}
}

// checkIssuer is RFC 8414, section 2: an https URL without query or fragment.
func checkIssuer(issuer string, loopbackHTTP bool) error {
	if err := checkURL(issuer, loopbackHTTP); err != nil {
		return err
	}
	if strings.Contains(issuer, "?") {
		return errors.New("it has a query")
	}
	if strings.Contains(issuer, "/.well-known/") {
		return errors.New("it is the URL of a discovery document; give the issuer that it names, and WithMetadataURL if need be")
	}
	return nil
}

// checkURL is remote.CheckURL with an error that names no room.
func checkURL(raw string, loopbackHTTP bool) error {
	if _, err := remote.CheckURL(raw, loopbackHTTP); err != nil {
		return errors.New(strings.TrimPrefix(err.Error(), "remote: "))
	}
	return nil
}
