// Package doctor answers "is this service deployed as it should be?" It looks at a
// service as an ordinary client does, with a token of its own and nothing else, for
// the mistakes that cannot be seen from within: replicas that do not share their
// memory, terminators that pass on what they should replace, and the like.
//
// Each finding names the setting, or the line of a terminator's configuration, that
// mends it.
package doctor

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/keybound-go/middleware/cmd/keybound/internal/pen"
	"github.com/keybound-go/middleware/cmd/keybound/internal/report"
	"github.com/keybound-go/middleware/cmd/keybound/internal/wire"
)

// Config is what the client has.
type Config struct {
	Target *url.URL
	Client *wire.Client
	// HTTP2 reaches the service over HTTP/2, beside Client; nil to leave that out.
	HTTP2  *wire.Client
	Method string // of the good request; GET if empty

	// Key and Token are a key and a token that is bound to it.
	Key   *pen.Key
	Token string
	// Certificate and CertificateToken are a certificate and a token that is bound to it.
	Certificate      *tls.Certificate
	CertificateToken string

	// Issuer is the identifier of the tokens' issuer, and HTTP reaches it.
	Issuer string
	HTTP   *http.Client
	// Audience is what the service is called in aud; "" if the client does not know.
	Audience string
	// AppOrigin is the origin of the browser application that may call the service.
	AppOrigin string
	// NoBrowsers says that no browser calls the service: CORS does not matter.
	NoBrowsers bool
	// Fields are further names of fields with a certificate.
	Fields []string
	// Also are other URLs that lead to the same service.
	Also []*url.URL
	// AlsoClient makes the client of another URL.
	AlsoClient func(*url.URL) (*wire.Client, error)
	// Connections is how many connections are made where replicas are looked for.
	Connections int

	Progress func(name string)

	nonce    string
	path     string
	findings []report.Item
	// dpopWorks and certificateWorks report that the good request passes.
	dpopWorks, certificateWorks bool
}

// A finding fails its item. Fix is the sentence that names what to change.
func (c *Config) finding(id, severity, message, fix string) {
	c.findings = append(c.findings, report.Item{ID: id, Status: report.Fail, Severity: severity, Message: message, Fix: fix})
}

func (c *Config) pass(id, format string, args ...any) {
	c.findings = append(c.findings, report.Item{ID: id, Status: report.Pass, Message: fmt.Sprintf(format, args...)})
}

func (c *Config) skip(id, format string, args ...any) {
	c.findings = append(c.findings, report.Item{ID: id, Status: report.Skip, Message: fmt.Sprintf(format, args...)})
}

// examination is one thing to look at.
type examination struct {
	name string
	look func(*Config, context.Context) error
}

var examinations = []examination{
	{"challenges", (*Config).challenge},
	{"metadata of the resource", (*Config).resourceMetadata},
	{"issuer", (*Config).issuer},
	{"token", (*Config).token},
	{"good request", (*Config).goodRequest},
	{"clocks", (*Config).clocks},
	{"stolen token", (*Config).stolenToken},
	{"browsers", (*Config).browsers},
	{"nonces over several connections", (*Config).nonces},
	{"one proof over several connections", (*Config).replay},
	{"forged certificate fields", (*Config).forgedCertificates},
	{"address fields", (*Config).addresses},
	{"upgrade to HTTP/2", (*Config).upgrade},
	{"dot segments and escapes", (*Config).paths},
	{"HTTP/2", (*Config).http2},
}

// Run looks at everything. The error says that the service could not be asked.
func Run(ctx context.Context, c *Config) ([]report.Item, error) {
	if c.Method == "" {
		c.Method = http.MethodGet
	}
	if c.Connections == 0 {
		c.Connections = 24
	}
	c.path = c.Target.EscapedPath()
	if c.path == "" {
		c.path = "/"
	}
	for _, e := range examinations {
		if c.Progress != nil {
			c.Progress(e.name)
		}
		if err := e.look(c, ctx); err != nil {
			return c.findings, fmt.Errorf("doctor: %s: %w", e.name, err)
		}
		if err := ctx.Err(); err != nil {
			return c.findings, err
		}
	}
	return c.findings, nil
}

func (c *Config) target() string {
	if c.Target.RawQuery != "" {
		return c.path + "?" + c.Target.RawQuery
	}
	return c.path
}

func (c *Config) htu() string { return c.Target.Scheme + "://" + c.Target.Host + c.path }

// send makes an exchange, and learns a nonce.
func (c *Config) send(ctx context.Context, cert *tls.Certificate, r wire.Request) (*wire.Response, error) {
	res, err := c.Client.Do(ctx, cert, r)
	if err != nil {
		return nil, err
	}
	if n := res.Header.Get("DPoP-Nonce"); n != "" {
		c.nonce = n
	}
	return res, nil
}

// try is send, with a broken connection as an answer without a status.
func (c *Config) try(ctx context.Context, cert *tls.Certificate, r wire.Request) *wire.Response {
	res, err := c.send(ctx, cert, r)
	if err != nil {
		return &wire.Response{Header: make(http.Header)}
	}
	return res
}

// bare is a request without credentials.
func (c *Config) bare(fields ...wire.Field) wire.Request {
	return wire.Request{Method: c.Method, Target: c.target(), Fields: fields}
}

// good is a request with the token and a new proof.
func (c *Config) good(more ...wire.Field) wire.Request { return c.goodWith(c.nonce, more...) }

func (c *Config) goodWith(nonce string, more ...wire.Field) wire.Request {
	return c.bare(append([]wire.Field{
		{Name: "Authorization", Value: "DPoP " + c.Token},
		{Name: "DPoP", Value: c.Key.Proof(c.Method, c.htu(), c.Token, nonce)},
	}, more...)...)
}

// certified is a request with the certificate-bound token.
func (c *Config) certified(more ...wire.Field) wire.Request {
	return c.bare(append([]wire.Field{{Name: "Authorization", Value: "Bearer " + c.CertificateToken}}, more...)...)
}

func ok(res *wire.Response) bool { return res.Status/100 == 2 }

func errorCode(res *wire.Response) string {
	challenges, _ := wire.Challenges(res.Header)
	for _, ch := range challenges {
		if e := ch.Get("error"); e != "" {
			return e
		}
	}
	return ""
}

func describe(res *wire.Response) string {
	if res.Status == 0 {
		return "no answer"
	}
	text := fmt.Sprint(res.Status)
	if code := errorCode(res); code != "" {
		text += " " + code
	}
	return text
}

// challenge looks at the answer to a request without credentials.
func (c *Config) challenge(ctx context.Context) error {
	res, err := c.send(ctx, nil, c.bare())
	if err != nil {
		return err
	}
	if ok(res) {
		c.finding("challenge", "error", fmt.Sprintf("a request without credentials is answered with %d: the URL is not guarded", res.Status),
			"Wrap the handler in the guard: mux.Handle(pattern, guard.Wrap(handler)).")
		return nil
	}
	challenges, problems := wire.Challenges(res.Header)
	for _, p := range problems {
		c.finding("challenge", "error", "WWW-Authenticate breaks its grammar: "+p, "A proxy may have joined or cut the fields: let it pass WWW-Authenticate as it is.")
	}
	if res.Status == 401 && len(challenges) == 0 {
		c.finding("challenge", "error", "401 comes without WWW-Authenticate", "A proxy removes the field (nginx: proxy_hide_header), or another component than the guard refuses: let WWW-Authenticate pass.")
	}
	if res.Status != 401 {
		c.finding("challenge", "warning", fmt.Sprintf("a request without credentials is answered with %d, not 401", res.Status), "Something in front of the guard answers: a login page of a proxy, or a router without the route. The guard must be outermost, inside CORS alone.")
	}
	offered, hasDPoP := wire.Find(challenges, "DPoP")
	if c.Token != "" && res.Status == 401 && !hasDPoP {
		c.finding("challenge", "error", "there is no DPoP challenge: the service does not take DPoP-bound tokens", "middleware.WithDPoP(dpop.New(origin)) is missing.")
	}
	if hasDPoP && offered.Get("algs") == "" {
		c.finding("challenge", "warning", "the DPoP challenge has no algs", "Name the algorithms of proofs in algs (RFC 9449, section 7.1).")
	}
	if hasDPoP && c.Key != nil && offered.Get("algs") != "" && !slices.Contains(strings.Fields(offered.Get("algs")), c.Key.Algorithm) {
		c.finding("challenge", "error", "proofs by "+c.Key.Algorithm+" are not accepted, only by "+offered.Get("algs"), "dpop.WithAlgorithms, or a key of another kind (keybound key --make-key).")
	}
	if len(res.Header.Values("WWW-Authenticate")) != len(challenges) && len(challenges) > 1 {
		c.finding("challenge", "note", "several challenges stand in one WWW-Authenticate field", "A proxy joins fields: some clients read the first challenge of a field alone.")
	}
	if !strings.Contains(res.Header.Get("Cache-Control"), "no-store") {
		c.finding("challenge", "note", "a 401 may be stored by caches", "Let Cache-Control: no-store pass; a proxy may replace it (nginx: proxy_hide_header, expires).")
	}
	if !slices.ContainsFunc(c.findings, func(i report.Item) bool { return i.ID == "challenge" }) {
		c.pass("challenge", "%s", challengeWords(challenges))
	}
	return nil
}

func challengeWords(challenges []wire.Challenge) string {
	var names []string
	for _, ch := range challenges {
		names = append(names, ch.Scheme)
	}
	return "401 with " + strings.Join(names, " and ")
}

// goodRequest tries what the client has.
func (c *Config) goodRequest(ctx context.Context) error {
	if c.Token == "" && c.CertificateToken == "" {
		c.skip("good-request", "no token: --key with --token-file or --issuer, or --cert with a token that is bound to it")
		return nil
	}
	if c.Token != "" {
		res, err := c.send(ctx, nil, c.good())
		if err != nil {
			return err
		}
		if errorCode(res) == "use_dpop_nonce" {
			if res, err = c.retryNonce(ctx); err != nil {
				return err
			}
		}
		c.dpopWorks = c.judgeGood("good-request/dpop", res)
	}
	if c.CertificateToken != "" {
		res, err := c.send(ctx, c.Certificate, c.certified())
		if err != nil {
			return err
		}
		c.certificateWorks = c.judgeGood("good-request/certificate", res)
	}
	return nil
}

// retryNonce follows nonce challenges for as long as several replicas with keys of their
// own would take to agree by luck.
func (c *Config) retryNonce(ctx context.Context) (res *wire.Response, err error) {
	for range 12 {
		if res, err = c.send(ctx, nil, c.good()); err != nil || errorCode(res) != "use_dpop_nonce" {
			return res, err
		}
	}
	return res, nil
}

func (c *Config) judgeGood(id string, res *wire.Response) (works bool) {
	if ok(res) || res.Status == 404 || res.Status == 403 && errorCode(res) == "insufficient_scope" {
		c.pass(id, "%s", describe(res))
		return ok(res)
	}
	fix := map[string]string{
		"invalid_token":      "The token is expired, for another audience, or bound to something else: compare aud with the audience of oidc.New, and cnf with keybound key. For a certificate: is the server asked for it (mtlspop.RequestClientCert), or does the terminator forward it (mtlspop.WithForwardedCertificate, docs/terminators.md)?",
		"invalid_dpop_proof": "The service takes itself for another URL: give dpop.New the origin that clients use, with a path prefix that a proxy strips; let the proxy keep Host (nginx: proxy_set_header Host $host, or $http_host with a port; Apache: ProxyPreserveHost On), or dpop.WithInternalHosts. keybound explain shows each check.",
		"use_dpop_nonce":     "Each nonce is refused: replicas have different nonce keys, or a proxy removes the DPoP field.",
	}[errorCode(res)]
	if fix == "" {
		fix = map[int]string{
			421: "The Host that reaches the service is not its own: let the proxy keep Host, or dpop.WithInternalHosts.",
			503: "The service cannot reach the issuer or its replay store: its log says which (middleware.WithObserver).",
			400: "The handler refuses a plain GET by itself (an MCP endpoint does: give another URL of the service), or a part of the request is malformed when it reaches the service: two Authorization fields, a certificate field that a terminator adds rather than sets, or one in another form than mtlspop.WithForwardedCertificate expects (nginx: $ssl_client_escaped_cert, not $ssl_client_raw_cert, which has line ends in it, nor $ssl_client_fingerprint, which is SHA-1).",
			502: "The proxy cannot reach the service, or cannot send what it is told to: Caddy: {http.request.tls.client.certificate_der_base64}, not certificate_pem, which has line ends in it.",
		}[res.Status]
	}
	if fix == "" {
		fix = "keybound explain shows each check of the request."
	}
	c.finding(id, "error", "the good request is refused: "+describe(res), fix)
	return false
}

// stolenToken tries the token without its key and certificate.
func (c *Config) stolenToken(ctx context.Context) error {
	if c.dpopWorks {
		thief, err := pen.Generate("ES256")
		if err != nil {
			return err
		}
		res, err := c.send(ctx, nil, c.bare(wire.Field{Name: "Authorization", Value: "Bearer " + c.Token}))
		if err != nil {
			return err
		}
		if ok(res) {
			c.finding("stolen-token/bearer", "error", "the DPoP-bound token passes as a bearer token", "The guard does not know bindings: middleware.WithDPoP, and no oidc.DangerouslyIgnoreConfirmation.")
		} else {
			c.pass("stolen-token/bearer", "refused: %s", describe(res))
		}
		r := c.bare(wire.Field{Name: "Authorization", Value: "DPoP " + c.Token}, wire.Field{Name: "DPoP", Value: thief.Proof(c.Method, c.htu(), c.Token, c.nonce)})
		if res = c.try(ctx, nil, r); ok(res) {
			c.finding("stolen-token/other-key", "error", "the token passes with a proof by another key", "The guard does not compare the key with cnf.jkt: middleware.WithDPoP, and an issuer that binds tokens.")
		} else {
			c.pass("stolen-token/other-key", "refused: %s", describe(res))
		}
	}
	if c.certificateWorks {
		if res := c.try(ctx, nil, c.certified()); ok(res) {
			c.finding("stolen-token/no-certificate", "error", "the certificate-bound token passes without the certificate", "The token is not bound (cnf.x5t#S256), or the guard does not know bindings: middleware.WithMTLS.")
		} else {
			c.pass("stolen-token/no-certificate", "refused: %s", describe(res))
		}
	}
	return nil
}

// clocks compares the Date fields.
func (c *Config) clocks(ctx context.Context) error {
	skew := func(h http.Header) (time.Duration, bool) {
		date, err := http.ParseTime(h.Get("Date"))
		return time.Until(date).Round(time.Second), err == nil && h.Get("Age") == ""
	}
	res, err := c.send(ctx, nil, c.bare())
	if err != nil {
		return err
	}
	service, known := skew(res.Header)
	switch {
	case !known:
		c.skip("clock", "the response has no Date")
	case service.Abs() > 10*time.Second:
		c.finding("clock", "warning", fmt.Sprintf("the service's clock is %v from this machine's", service),
			"Synchronise both (NTP). Proofs are good for a minute and half a minute ahead (dpop.WithLifetime, dpop.WithSkew); nonces make the client's clock irrelevant (dpop.WithNonces).")
	default:
		c.pass("clock", "the service's clock is within %v of this machine's", service.Abs()+time.Second)
	}
	if c.Issuer == "" || c.HTTP == nil {
		return nil
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, c.Issuer, nil)
	if err != nil {
		return nil // said by issuer
	}
	answer, err := c.HTTP.Do(r)
	if err != nil {
		return nil // said by issuer
	}
	answer.Body.Close()
	if issuer, ok := skew(answer.Header); ok && known && (issuer-service).Abs() > 10*time.Second {
		c.finding("clock/issuer", "warning", fmt.Sprintf("the clocks of issuer and service differ by %v", (issuer-service).Abs()),
			"Synchronise both (NTP), or oidc.WithSkew: fresh tokens are not valid yet, or expired ones are.")
	}
	return nil
}
