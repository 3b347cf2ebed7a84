package issuer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/keybound-go/middleware/internal/outage"
	"github.com/keybound-go/middleware/internal/remote"
	"github.com/keybound-go/middleware/internal/strictjson"
)

const (
	MaxAnswerSize  = 1 << 20
	maxRetryAfter  = time.Minute // a longer wait in an answer's Retry-After is cut
	idleToEndpoint = 64          // connections kept for the next burst
)

// Endpoint is one of the issuer's URLs that this service posts forms to.
type Endpoint struct {
	room   string // of the errors
	name   string
	issuer string
	client *http.Client
	locate func(context.Context) (*url.URL, error) // the URL has been checked
}

// Reply is an answer of an endpoint, whatever its status.
type Reply struct {
	Status     int
	MediaType  string        // lower case, without parameters
	Body       []byte        // of JSON without a byte order mark (RFC 8259, section 8.1)
	RetryAfter time.Duration // 0: not said
	Bearer     bool          // this service authenticated with an access token
	Err        error         // why the body is not there: it is over the limit
}

// Outage reports whether the reply is none: it says that the endpoint cannot answer
// now.
func (r *Reply) Outage() bool { return r.Status == http.StatusTooManyRequests || r.Status >= 500 }

// OAuthError returns the error code of the reply (RFC 6749, section 5.2), or "" if it
// has none.
func (r *Reply) OAuthError() string {
	var code string
	var o strictjson.Object
	for o.StartDocument(r.Body, maxMetadataDepth); o.Next(); {
		if string(o.Name()) == "error" {
			o.Text(&code)
		}
	}
	if o.Err() != nil {
		return ""
	}
	return code
}

// Authenticator is the part of clientauth.Method that a request takes.
type Authenticator interface {
	Authenticate(ctx context.Context, issuer string, h http.Header, form url.Values) error
}

// GetCertificate is the type of tls.Config.GetClientCertificate.
type GetCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error)

// Post sends form, to which auth adds its proof. Only a failure to get an answer is
// an error, always an outage; sent tells whether the endpoint may have read the
// request all the same.
//
// If again is set, and the connection broke before anything of an answer came, it is
// sent once more, with a fresh proof: issuers close idle connections, and net/http
// repeats no POST by itself.
func (e *Endpoint) Post(ctx context.Context, auth Authenticator, accept string, form url.Values, again bool) (r *Reply, sent bool, err error) {
	t := &transmission{}
	r, err = e.tryPost(ctx, auth, accept, form, t)
	if err != nil && again && t.broken(err) && ctx.Err() == nil {
		r, err = e.tryPost(ctx, auth, accept, form, t)
	}
	if err != nil {
		return nil, t.sent(err), e.Outage(0, err)
	}
	return r, true, nil
}

// transmission is what is known of a request that was not answered. The trace of
// net/http writes it, and a transport that is not net/http's may leave it empty.
type transmission struct {
	located, connected, wrote, answered atomic.Bool
}

func (t *transmission) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GetConn:              func(string) { t.connected.Store(false); t.wrote.Store(false) },
		GotConn:              func(httptrace.GotConnInfo) { t.connected.Store(true) },
		WroteHeaders:         func() { t.wrote.Store(true) },
		GotFirstResponseByte: func() { t.answered.Store(true) },
	}
}

// broken reports whether the connection ended without an answer, for another reason
// than time.
func (t *transmission) broken(err error) bool {
	var timeout interface{ Timeout() bool }
	return t.connected.Load() && !t.answered.Load() && !(errors.As(err, &timeout) && timeout.Timeout())
}

// sent reports whether the endpoint may have read the request. A transport that
// does not tell is believed to have sent nothing if it gave up before the time was
// over.
func (t *transmission) sent(err error) bool {
	var timeout interface{ Timeout() bool }
	return t.wrote.Load() || t.located.Load() && !t.connected.Load() && errors.As(err, &timeout) && timeout.Timeout()
}

func (e *Endpoint) tryPost(ctx context.Context, auth Authenticator, accept string, form url.Values, t *transmission) (*Reply, error) {
	target, err := e.locate(ctx)
	if err != nil {
		return nil, err
	}
	h := http.Header{
		"Accept":        {accept},
		"Cache-Control": {"no-store"}, // a proxy that remembers answers could give this one to another question
		"Content-Type":  {"application/x-www-form-urlencoded"},
	}
	if err := auth.Authenticate(ctx, e.issuer, h, form); err != nil {
		return nil, err
	}
	t.located.Store(true)
	body := form.Encode()
	req := &http.Request{
		Method:        http.MethodPost,
		URL:           target,
		Header:        h,
		Body:          io.NopCloser(strings.NewReader(body)),
		ContentLength: int64(len(body)),
		// No GetBody: an assertion is good for one request, so the transport must not
		// repeat it on its own.
	}
	res, err := e.client.Do(req.WithContext(httptrace.WithClientTrace(ctx, t.trace())))
	if err != nil {
		return nil, withoutURL(err)
	}
	defer res.Body.Close()
	t.answered.Store(true)
	t.wrote.Store(true)
	answer, err := remote.ReadBody(res.Body, MaxAnswerSize)
	if errors.Is(err, remote.ErrTooLarge) {
		err = fmt.Errorf("the answer is over the limit of %d bytes, which no option changes", MaxAnswerSize)
		return &Reply{Status: res.StatusCode, RetryAfter: retryAfter(res.Header), Err: err}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the answer: %w", err)
	}
	mediaType, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type")) // "" is not a type that is asked for
	if mediaType == "application/json" {
		answer = strictjson.WithoutBOM(answer)
	}
	return &Reply{
		Status:     res.StatusCode,
		MediaType:  mediaType,
		Body:       answer,
		RetryAfter: retryAfter(res.Header),
		Bearer:     strings.HasPrefix(h.Get("Authorization"), "Bearer "),
	}, nil
}

// withoutURL drops the URL from an error of net/http: its query can hold what an
// operator would not log.
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

// silence is an error of our side: the issuer cannot be asked, or what it says
// makes no sense. The guard answers 503.
type silence struct {
	what  string // "room: name endpoint of issuer"
	name  string
	after time.Duration
	cause error
}

// Outage wraps cause. Invariant: no error in the chain has a Code method, which
// would make this one look like the client's fault. Those that come out of
// callbacks and stores might, and are cut down to their text.
func (e *Endpoint) Outage(after time.Duration, cause error) error {
	var kind interface{ Code() string }
	if errors.As(cause, &kind) {
		cause = errors.New(cause.Error())
	}
	var wait interface{ RetryAfter() time.Duration }
	if after == 0 && errors.As(cause, &wait) {
		after = wait.RetryAfter()
	}
	return &silence{e.room + ": " + e.name + " endpoint of " + e.issuer, e.name, after, cause}
}

func (o *silence) Error() string { return o.what + ": " + o.cause.Error() }
func (o *silence) Unwrap() error { return o.cause }

// Reason is the stable name of the outage; see package internal/outage.
func (o *silence) Reason() string {
	if o.name == "introspection" {
		return outage.Introspection
	}
	return outage.TokenEndpoint
}

// RetryAfter is how long the issuer asks to be left alone; 0 if it did not say.
func (o *silence) RetryAfter() time.Duration { return o.after }

// endpointClient returns the HTTP client for an endpoint: own, or a new one if
// that is nil, hardened either way, with the certificate of auth if it has one.
func endpointClient(own *http.Client, loopbackHTTP bool, certificate GetCertificate) (*http.Client, error) {
	client := own
	if own == nil {
		client = remote.NewClient(remote.ClientConfig{
			TLS:                 &tls.Config{GetClientCertificate: certificate},
			MaxIdleConnsPerHost: idleToEndpoint,
			AllowLoopbackHTTP:   loopbackHTTP,
		})
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
	// What is posted is meant for one URL. A redirect is an answer like any other that
	// is not 200.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return client, nil
}

func withCertificate(own http.RoundTripper, certificate GetCertificate) (http.RoundTripper, error) {
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

// Endpoint returns the endpoint at given or, if that is "", the one that pick finds
// in the metadata; the second result of pick is its mTLS alias. room starts the
// texts of errors, and certificate may be nil.
//
// Precondition: given has passed [Issuer.CheckURL].
func (i *Issuer) Endpoint(room, name, given string, certificate GetCertificate,
	pick func(*Metadata) (plain, mtls string)) (*Endpoint, error) {
	client, err := endpointClient(i.client, i.loopback, certificate)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", room, err)
	}
	e := &Endpoint{room: room, name: name, issuer: i.URL, client: client}
	if given != "" {
		target, err := url.Parse(given)
		e.locate = func(context.Context) (*url.URL, error) { return target, nil }
		return e, err
	}
	e.locate = func(ctx context.Context) (*url.URL, error) {
		found, err := i.located(ctx, name+"_endpoint", func(m *Metadata) string {
			plain, mtls := pick(m)
			if certificate != nil && mtls != "" {
				return mtls // RFC 8705, section 5
			}
			return plain
		})
		if err != nil {
			return nil, err
		}
		return url.Parse(found)
	}
	return e, nil
}

// CheckURL reports what is wrong with a URL of this issuer that is to be called.
// The error holds nothing of the URL but scheme, host and path, and names no room.
func (i *Issuer) CheckURL(raw string) error { return checkURL(raw, i.plain()) }

// CloseIdleConnections closes the connections that wait for the next request.
func (e *Endpoint) CloseIdleConnections() { e.client.CloseIdleConnections() }
