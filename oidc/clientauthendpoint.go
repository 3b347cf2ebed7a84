package oidc

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/keybound-go/middleware/internal/remote"
)

const (
	maxAnswerSize  = 1 << 20
	maxRetryAfter  = time.Minute // a longer wait in an answer's Retry-After is cut
	idleToEndpoint = 64          // connections kept for the next burst
)

// endpoint is one of the issuer's URLs that this service posts forms to.
type endpoint struct {
	name   string // for errors
	issuer string
	client *http.Client
	locate func(context.Context) (string, error)
	// loopback permits http to this machine.
	loopback bool
}

// reply is an answer of an endpoint, whatever its status.
type reply struct {
	status     int
	mediaType  string // lower case, without parameters
	body       []byte
	retryAfter time.Duration // 0: not said
}

// post sends form, to which auth adds its proof. Only a failure to get an answer
// is an error, always an outage.
func (e *endpoint) post(ctx context.Context, auth ClientAuth, accept string, form url.Values) (*reply, error) {
	r, err := e.tryPost(ctx, auth, accept, form)
	if err != nil {
		return nil, e.outage(0, err)
	}
	return r, nil
}

func (e *endpoint) tryPost(ctx context.Context, auth ClientAuth, accept string, form url.Values) (*reply, error) {
	raw, err := e.locate(ctx)
	if err != nil {
		return nil, err
	}
	target, err := remote.CheckURL(raw, e.loopback)
	if err != nil {
		return nil, err
	}
	h := http.Header{
		"Accept":        {accept},
		"Cache-Control": {"no-store"}, // a proxy that remembers answers could give this one to another question
		"Content-Type":  {"application/x-www-form-urlencoded"},
	}
	if err := auth.authenticate(ctx, e.issuer, h, form); err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	// An assertion or nonce is good for one request, so the transport must not repeat it on its own.
	req.GetBody = nil
	req.Header = h
	res, err := e.client.Do(req)
	if err != nil {
		return nil, withoutURL(err)
	}
	defer res.Body.Close()
	body, err := remote.ReadBody(res.Body, maxAnswerSize)
	if err != nil {
		return nil, err
	}
	mediaType, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type")) // "" is no type that anybody wants
	return &reply{res.StatusCode, mediaType, body, retryAfter(res.Header)}, nil
}

// withoutURL drops the URL from an error of net/http: its query can hold what an operator would not log.
func withoutURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

// retryAfter parses the delay form of Retry-After (RFC 9110, section 10.2.3).
func retryAfter(h http.Header) time.Duration {
	seconds, err := strconv.ParseUint(h.Get("Retry-After"), 10, 32)
	if err != nil {
		return 0
	}
	return min(time.Duration(seconds)*time.Second, maxRetryAfter)
}

// outage is an error of our side: the issuer cannot be asked, or what it says
// makes no sense. The guard answers 503.
type outage struct {
	what  string
	after time.Duration
	cause error
}

// outage wraps cause. Invariant: no error in the chain has a Code method, which
// would make this one look like the client's fault. Those that come out of
// callbacks and stores might, and are cut down to their text.
func (e *endpoint) outage(after time.Duration, cause error) error {
	var kind interface{ Code() string }
	if errors.As(cause, &kind) {
		cause = errors.New(cause.Error())
	}
	var wait interface{ RetryAfter() time.Duration }
	if after == 0 && errors.As(cause, &wait) {
		after = wait.RetryAfter()
	}
	return &outage{e.name + " endpoint of " + e.issuer, after, cause}
}

// status is the outage that an answer with an unexpected status is.
func (e *endpoint) status(r *reply, hint string) error {
	return e.outage(r.retryAfter, fmt.Errorf("status %d%s", r.status, hint))
}

func (o *outage) Error() string { return "oidc: " + o.what + ": " + o.cause.Error() }
func (o *outage) Unwrap() error { return o.cause }

// RetryAfter is how long the issuer asks to be left alone; 0 if it did not say.
func (o *outage) RetryAfter() time.Duration { return o.after }

// endpointClient returns the HTTP client for an endpoint: own, or a new one if
// that is nil, hardened either way, with the certificate of auth if it has one.
func endpointClient(own *http.Client, certificate getCertificate) (*http.Client, error) {
	client := own
	if own == nil {
		client = remote.NewClient(&tls.Config{GetClientCertificate: certificate})
		client.Transport.(*http.Transport).MaxIdleConnsPerHost = idleToEndpoint
	} else if certificate != nil {
		transport, err := withCertificate(own.Transport, certificate)
		if err != nil {
			return nil, err
		}
		c := *own
		c.Transport = transport
		client = &c
	}
	client = remote.Harden(client)
	client.Jar = nil
	// What is posted is meant for one URL. A redirect is an answer like any other that is not 200.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return client, nil
}

func withCertificate(own http.RoundTripper, certificate getCertificate) (http.RoundTripper, error) {
	if own == nil {
		own = http.DefaultTransport
	}
	transport, ok := own.(*http.Transport)
	if !ok {
		return nil, fmt.Errorf("WithHTTPClient: a client certificate cannot be added to a Transport of type %T", own)
	}
	transport = transport.Clone()
	if transport.TLSClientConfig == nil {
		transport.TLSClientConfig = new(tls.Config)
	}
	transport.TLSClientConfig.MinVersion = max(transport.TLSClientConfig.MinVersion, tls.VersionTLS12)
	transport.TLSClientConfig.GetClientCertificate = certificate
	return transport, nil
}

// newEndpoint returns the endpoint that c names, or else the one that pick finds
// in the discovery document; the second result of pick is its mTLS alias.
func newEndpoint(c *clientConfig, name string, p *provider, certificate getCertificate,
	pick func(*metadata) (plain, mtls string)) (*endpoint, error) {
	client, err := endpointClient(c.provider.client, certificate)
	if err != nil {
		return nil, fmt.Errorf("oidc: %w", err)
	}
	e := &endpoint{name: name, issuer: c.issuer, client: client, loopback: c.provider.loopbackHTTP}
	if c.endpoint != "" {
		e.locate = func(context.Context) (string, error) { return c.endpoint, nil }
		return e, nil
	}
	e.locate = func(ctx context.Context) (string, error) {
		return p.endpoint(ctx, name+"_endpoint", func(m *metadata) string {
			plain, mtls := pick(m)
			if certificate != nil && mtls != "" {
				return mtls // RFC 8705, section 5
			}
			return plain
		})
	}
	return e, nil
}
