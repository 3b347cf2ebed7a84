package issuer

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/keybound-go/middleware/internal/calls"
	"github.com/keybound-go/middleware/internal/outage"
	"github.com/keybound-go/middleware/internal/remote"
	"github.com/keybound-go/middleware/internal/strictjson"
)

const (
	wellKnownOIDC  = "/.well-known/openid-configuration"       // OpenID Connect Discovery, section 4
	wellKnownOAuth = "/.well-known/oauth-authorization-server" // RFC 8414, section 3
)

// maxMetadataDepth limits how deep a discovery document is nested.
const maxMetadataDepth = 16

// Metadata is what this module reads of a discovery document (RFC 8414, section 2;
// RFC 8705, section 5). It is shared and must not be modified. The URLs are as the
// issuer wrote them: check one before calling it.
type Metadata struct {
	Issuer                string      // issuer
	JWKSURI               string      // jwks_uri
	TokenEndpoint         string      // token_endpoint
	IntrospectionEndpoint string      // introspection_endpoint
	MTLS                  mtlsAliases // mtls_endpoint_aliases
}

func (m *Metadata) read(raw []byte) error {
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

// makeMetadata makes the discovery document, fetched when first needed and kept
// fresh from then on.
func (i *Issuer) makeMetadata(c Config) (err error) {
	urls := metadataURLs(c.URL)
	if c.MetadataURL != "" {
		if err := checkURL(c.MetadataURL, c.plain()); err != nil {
			return fmt.Errorf("oidc: WithMetadataURL: %w", err)
		}
		urls = []string{c.MetadataURL}
	}
	if len(urls) > 0 { // a URL that cannot be parsed has none, which Check reports
		i.origin = originOf(urls[0])
	}
	i.metadata, err = remote.New(remote.Config[*Metadata]{
		Locate:            remote.At(urls...),
		Decode:            i.decode,
		Client:            c.Client,
		AllowLoopbackHTTP: c.LoopbackHTTP,
		Part:              calls.Metadata,
	})
	return err
}

// Metadata returns the discovery document. Its error, if the issuer cannot be
// reached or is not the configured one, has no code and may have a method
// RetryAfter.
func (i *Issuer) Metadata(ctx context.Context) (*Metadata, error) {
	s, err := i.metadata.Get(ctx)
	if err != nil {
		return nil, outage.As(outage.Issuer, fmt.Errorf("oidc: discovery of %s: %w", i.URL, err))
	}
	return s.Value, nil
}

// PeekMetadata returns the discovery document in use, or nil, and its state. ok is
// false if none was ever asked for, and the keys take none.
func (i *Issuer) PeekMetadata() (m *Metadata, st remote.Status, ok bool) {
	st = i.metadata.Status()
	if s := i.metadata.Peek(); s != nil {
		m = s.Value
	}
	return m, st, !i.fixed || m != nil || !st.LastAttempt.IsZero()
}

// jwksURI is the locate function of the issuer's key source. Where metadata may name
// another issuer than the configured one, the keys come from where the metadata does.
func (i *Issuer) jwksURI(ctx context.Context) (string, error) {
	uri, err := i.located(ctx, "jwks_uri", func(m *Metadata) string { return m.JWKSURI })
	if err == nil && i.also != "" && originOf(uri) != i.origin {
		return "", fmt.Errorf("oidc: jwks_uri of %s is on another origin than its metadata; oidc.WithJWKSURI names the one to use", i.URL)
	}
	return uri, err
}

// originOf is the origin of a URL, or "" if it has none.
func originOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return ""
	}
	return strings.ToLower(u.Scheme + "://" + u.Host)
}

// located returns the URL that pick chooses from the discovery document, after
// checking that it is one to call: https (RFC 8414, section 2).
func (i *Issuer) located(ctx context.Context, name string, pick func(*Metadata) string) (string, error) {
	m, err := i.Metadata(ctx)
	if err != nil {
		return "", err
	}
	raw := pick(m)
	if raw == "" {
		return "", fmt.Errorf("oidc: the discovery document of %s has no %s", i.URL, name)
	}
	if err := checkURL(raw, i.plain()); err != nil {
		return "", fmt.Errorf("oidc: %s of %s: %w", name, i.URL, err)
	}
	return raw, nil
}

// decode accepts a document of the configured issuer only, or of the other name that
// the operator has for it. RFC 8414, section 3.3: otherwise the data MUST NOT be used.
// The reply is RFC 8414, section 3.2.
func (i *Issuer) decode(body []byte, h http.Header) (*Metadata, error) {
	if mediaType, _, err := mime.ParseMediaType(h.Get("Content-Type")); err != nil || mediaType != "application/json" {
		return nil, errors.New("oidc: the discovery document is not application/json")
	}
	m := new(Metadata)
	if err := m.read(strictjson.WithoutBOM(body)); err != nil {
		return nil, fmt.Errorf("oidc: the discovery document is malformed: %w", err)
	}
	if m.Issuer != i.URL && (i.also == "" || m.Issuer != i.also) {
		return nil, fmt.Errorf("oidc: the discovery document is of issuer %.200q, not of %q", m.Issuer, i.URL)
	}
	return m, nil
}

// metadataURLs are where the discovery document of issuer may be, in the order
// in which they are tried: the next one only if the one before is not there.
// Should both exist, they must be consistent (RFC 9068, section 4), so that the
// first one will do. OpenID Connect's is first since most issuers have only that.
// They are those of RFC 8414, section 3.1, and of OpenID Connect Discovery, section 4.1.
func metadataURLs(issuer string) []string {
	u, err := url.Parse(issuer)
	if err != nil {
		return nil
	}
	origin := u.Scheme + "://" + u.Host
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	return []string{origin + path + wellKnownOIDC, origin + wellKnownOAuth + path}
}

// Check reports what is wrong with an issuer identifier: RFC 8414, section 2 wants
// an https URL without query or fragment. The error names no room.
func (c *Config) Check(issuer string) error {
	if err := checkURL(issuer, c.plain()); err != nil {
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
// jwks_uri is an https URL (OpenID Connect Discovery, section 3).
func checkURL(raw string, plain remote.Plain) error {
	if _, err := remote.CheckURL(raw, plain); err != nil {
		return errors.New(strings.TrimPrefix(err.Error(), "remote: "))
	}
	return nil
}
