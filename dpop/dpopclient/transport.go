package dpopclient

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"strings"
	"time"

	"github.com/keybound-go/middleware/internal/josesign"
	"github.com/keybound-go/middleware/internal/origins"
)

const (
	nonceError = "use_dpop_nonce"
	// maxDrain is what is read of a refused response so that its connection can be
	// used again.
	maxDrain     = 16 << 10
	maxDrainTime = 250 * time.Millisecond
	// maxErrorBody is how much of a token endpoint's 400 is searched for its error.
	maxErrorBody = 64 << 10
)

// A Transport is an [http.RoundTripper] that signs requests; see the package
// documentation for which. Use it as the Transport of an [http.Client].
//
// It is safe for concurrent use, and immutable except for the nonces and clocks it
// learns. The zero Transport refuses every request.
type Transport struct {
	base         http.RoundTripper // nil in the zero Transport
	token        tokens            // nil: none
	signer       *signer
	resources    map[string]*peer // by origin
	endpoints    map[string]*peer // by origin and path
	serverClock  bool
	loopbackHTTP bool
}

var _ http.RoundTripper = (*Transport)(nil)

// Thumbprint returns the RFC 7638 SHA-256 thumbprint of the public key, base64url:
// the value of dpop_jkt in an authorization request (RFC 9449, section 10), and of
// cnf.jkt in the tokens bound to it. It is "" for the zero Transport.
func (t *Transport) Thumbprint() string {
	if t.signer == nil {
		return ""
	}
	return t.signer.key.Thumbprint()
}

// CloseIdleConnections forwards the call of [http.Client.CloseIdleConnections] to
// the base, if that has such a method.
func (t *Transport) CloseIdleConnections() {
	if c, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// RoundTrip sends a signed copy of req, and a second one if the server asks for a
// nonce. req itself is not modified, apart from reading and closing its body.
//
// A refusal by the server is a response, not an error. An error before
// anything was sent is a [RequestError], or wraps that of the token source or of
// the signer; errors of the base are returned as they are.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	d, err := t.decide(req)
	if err != nil {
		closeBody(req)
		return nil, err
	}
	used := d.nonce()
	sent := bodies{req: req}
	resp, fresh, err := t.transmit(req, &sent, sent.first(), d, used)
	if err != nil || fresh == "" || fresh == used || !d.signed() || !isReplayable(req) {
		return resp, err
	}
	if d.token != "" && !isResourceChallenge(resp) || d.token == "" && !isTokenChallenge(resp) {
		return resp, nil
	}
	return t.retry(req, resp, &sent, d, fresh)
}

// A decision is how one request is to be sent.
type decision struct {
	peer  *peer  // the server; nil if nothing is to be learned from the response
	url   string // htu; "" if the request goes out unsigned
	token string // "" at a token endpoint
	strip bool   // take away what a redirect must not bring along
}

func (d decision) signed() bool { return d.url != "" }

func (d decision) nonce() string {
	if d.peer == nil {
		return ""
	}
	return d.peer.latest()
}

// decide is the whole policy: which server gets a proof, and with which token.
func (t *Transport) decide(req *http.Request) (decision, error) {
	if t.signer == nil {
		return decision{}, ErrUnready
	}
	if req.URL == nil {
		return decision{}, ErrTarget
	}
	if !isAllowedScheme(req.URL, t.loopbackHTTP) {
		return decision{}, ErrInsecure
	}
	origin := origins.Of(req.URL.Scheme, req.URL.Host)
	if crossedOrigins(req, origin) {
		return decision{strip: true}, nil
	}
	own, err := authorizationOf(req.Header)
	if err != nil {
		return decision{}, err
	}
	// The proof names the server as the server sees itself, which is the Host field.
	// The token goes where the URL says. Both must be configured.
	named := origin
	if req.Host != "" {
		named = origins.Of(req.URL.Scheme, req.Host)
	}
	path := pathOf(req.URL)
	d := decision{url: named + path}
	if d.peer = both(t.endpoints, origin+path, named+path); d.peer != nil {
		return t.decideEndpoint(req, d, own)
	}
	if d.peer = both(t.resources, origin, named); d.peer != nil {
		return t.decideResource(req, d, own)
	}
	if own.isToken() {
		return decision{}, ErrOrigin
	}
	return decision{}, nil
}

// both returns the peer under the second name if the first is configured too.
func both(peers map[string]*peer, at, named string) *peer {
	if peers[at] == nil {
		return nil
	}
	return peers[named]
}

func (t *Transport) decideEndpoint(req *http.Request, d decision, own authorization) (decision, error) {
	if own.isToken() {
		return decision{}, ErrOrigin
	}
	return d, checkTarget(req)
}

func (t *Transport) decideResource(req *http.Request, d decision, own authorization) (decision, error) {
	var err error
	switch {
	case own.is("DPoP"):
		d.token = own.credentials
	case own.is("Bearer"):
		return decision{}, ErrTokenType
	case t.token != nil && (own.scheme == "" || own.is("Basic") && req.URL.User != nil):
		// http.Client makes Basic of the user information in a URL.
		d.token, err = t.token.get(req.Context())
	case own.scheme == "":
		d.url = "" // Nothing to prove, but a nonce to learn.
	default:
		return decision{}, nil
	}
	if err == nil && d.signed() {
		err = checkTarget(req)
	}
	return d, err
}

// tokens is the method of a [TokenSource]: nothing that prints a Transport looks into
// the source behind it.
type tokens func(ctx context.Context) (accessToken, tokenType string, err error)

// get asks the source, and drops what is not a DPoP token.
func (ask tokens) get(ctx context.Context) (string, error) {
	token, tokenType, err := ask(ctx)
	switch {
	case err != nil:
		return "", fmt.Errorf("dpopclient: token source: %w", err)
	// RFC 6749, section 5.1: the value is case-insensitive.
	case !strings.EqualFold(tokenType, "DPoP"):
		return "", ErrTokenType
	case !isFieldToken(token):
		return "", ErrToken
	}
	return token, nil
}

// checkTarget refuses what the claims htm and htu could not hold, or where they
// would differ from what net/http sends.
func checkTarget(req *http.Request) error {
	if strings.Trim(req.Method, tchar) != "" || req.URL.Opaque != "" || pathOf(req.URL)[0] != '/' {
		return ErrTarget
	}
	return nil
}

// outgoing returns the copy of req that is sent, signed if d says so.
// Each transmission gets a proof of its own (RFC 9449, sections 4 and 7.3). The token is
// not looked into (RFC 9068, section 6).
func (t *Transport) outgoing(req *http.Request, body io.ReadCloser, d decision, nonce string) (*http.Request, error) {
	out := req.Clone(req.Context())
	out.Body = body
	if out.Header == nil {
		out.Header = make(http.Header)
	}
	remove(out.Header, "DPoP")
	// RFC 9449, section 7.1. Over https the field would reach the server, not a proxy.
	remove(out.Header, "Proxy-Authorization")
	if d.strip || d.token != "" {
		remove(out.Header, "Authorization")
	}
	if !d.signed() {
		return out, nil
	}
	if err := req.Context().Err(); err != nil {
		return nil, err // Before a signer that may be slow and knows no context.
	}
	c := claims{method: req.Method, url: d.url, issuedAt: d.peer.now(), nonce: nonce}
	if c.method == "" {
		c.method = http.MethodGet
	}
	if d.token != "" {
		c.ath = josesign.Digest(d.token)
		out.Header.Set("Authorization", "DPoP "+d.token)
	}
	proof, err := t.signer.proof(c)
	if err != nil {
		return nil, err
	}
	out.Header.Set("DPoP", proof)
	return out, nil
}

// transmit sends req with a proof of its own for each time that it goes over a
// connection. It closes body. fresh is the usable nonce in the response, if any.
func (t *Transport) transmit(req *http.Request, sent *bodies, body io.ReadCloser, d decision, nonce string) (resp *http.Response, fresh string, err error) {
	for range maxTransmissions {
		out, err := t.outgoing(req, body, d, nonce)
		if err != nil {
			if body != nil {
				body.Close()
			}
			return nil, "", err
		}
		var repeated repeats
		if d.signed() {
			out = repeated.watch(out)
		}
		resp, fresh, err = t.send(out, req, d)
		if !repeated.spoiled(resp, err) || !isReplayable(req) || req.Context().Err() != nil {
			return resp, fresh, err
		}
		// The base has decided that req may be sent again. It gets another proof.
		if resp != nil {
			drain(resp)
		}
		if body, err = sent.again(); err != nil {
			return nil, "", err
		}
		nonce = d.nonce()
	}
	return nil, "", errStale
}

// send returns the response and the usable nonce in it, if any.
func (t *Transport) send(out, req *http.Request, d decision) (resp *http.Response, nonce string, err error) {
	resp, err = t.base.RoundTrip(out)
	if err != nil || resp == nil {
		return resp, "", err
	}
	if resp.Body == nil {
		resp.Body = http.NoBody // As http.Client does for a base that forgets it.
	}
	// The caller's request, without token and proof; crossedOrigins follows it too.
	resp.Request = req
	if d.peer == nil {
		return resp, "", nil
	}
	if t.serverClock {
		d.peer.setClock(resp.Header)
	}
	return resp, d.peer.learn(resp.Header), nil
}

// retry answers the challenge in refused, which it closes.
func (t *Transport) retry(req *http.Request, refused *http.Response, sent *bodies, d decision, nonce string) (*http.Response, error) {
	drain(refused) // First, so that the next request can have the connection.
	body, err := sent.again()
	if err != nil {
		return nil, err
	}
	resp, _, err := t.transmit(req, sent, body, d, nonce)
	return resp, err
}

// isResourceChallenge reports whether a resource server asks for a nonce
// (RFC 9449, section 9).
func isResourceChallenge(resp *http.Response) bool {
	return (resp.StatusCode == http.StatusUnauthorized || isRPC(resp)) && asksForNonce(resp.Header.Values("WWW-Authenticate"))
}

// isRPC reports whether the response is of a protocol whose refusals have the status 200:
// gRPC, gRPC-Web, or a stream of Connect. Their own status comes last, which is too late.
func isRPC(resp *http.Response) bool {
	mediaType := resp.Header.Get("Content-Type")
	return resp.StatusCode == http.StatusOK && (strings.HasPrefix(mediaType, "application/grpc") || strings.HasPrefix(mediaType, "application/connect+"))
}

// isTokenChallenge reports whether a token endpoint asks for a nonce
// (RFC 9449, section 8). What it reads of the body, it puts back.
func isTokenChallenge(resp *http.Response) bool {
	if resp.StatusCode != http.StatusBadRequest {
		return false
	}
	head, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	resp.Body = &peeked{io.MultiReader(bytes.NewReader(head), resp.Body), resp.Body}
	var answer struct {
		Error string `json:"error"`
	}
	return err == nil && json.Unmarshal(head, &answer) == nil && answer.Error == nonceError
}

// A peeked body gives again what was read of it.
type peeked struct {
	io.Reader
	io.Closer
}

func hasBody(req *http.Request) bool { return req.Body != nil && req.Body != http.NoBody }

func isReplayable(req *http.Request) bool { return !hasBody(req) || req.GetBody != nil }

func closeBody(req *http.Request) {
	if req.Body != nil {
		req.Body.Close()
	}
}

// drain reads what is left of a refused response, so that its connection can be used
// again, unless that takes long: only the connection is at stake.
func drain(resp *http.Response) {
	late := time.AfterFunc(maxDrainTime, func() { resp.Body.Close() })
	defer late.Stop()
	_, _ = io.CopyN(io.Discard, resp.Body, maxDrain)
	resp.Body.Close()
}

// An authorization is what the caller put into the field of that name.
type authorization struct{ scheme, credentials string }

func (a authorization) is(scheme string) bool { return strings.EqualFold(a.scheme, scheme) }

func (a authorization) isToken() bool { return a.is("DPoP") || a.is("Bearer") }

func authorizationOf(h http.Header) (authorization, error) {
	var fields []string
	for name, values := range h {
		if strings.EqualFold(name, "Authorization") {
			fields = append(fields, values...)
		}
	}
	switch len(fields) {
	case 0:
		return authorization{}, nil
	case 1:
	default:
		return authorization{}, ErrAuthorization
	}
	field := textproto.TrimString(fields[0]) // As net/http does when it writes the field.
	var a authorization
	if i := strings.IndexAny(field, " \t"); i >= 0 {
		a = authorization{field[:i], textproto.TrimString(field[i:])}
	} else {
		a.scheme = field
	}
	if a.is("DPoP") && !isFieldToken(a.credentials) {
		return authorization{}, ErrAuthorization
	}
	return a, nil
}

// remove deletes a field however its name is spelled: net/http sends keys that are
// not canonical as they are.
func remove(h http.Header, name string) {
	for key := range h {
		if strings.EqualFold(key, name) {
			delete(h, key)
		}
	}
}

// isFieldToken reports whether a token can stand in an Authorization field: visible
// ASCII without a space. Nothing else about it is the client's business.
func isFieldToken(token string) bool {
	return token != "" && strings.IndexFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}
