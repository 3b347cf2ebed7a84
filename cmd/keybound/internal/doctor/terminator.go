package doctor

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/keybound-go/middleware/cmd/keybound/internal/pen"
	"github.com/keybound-go/middleware/cmd/keybound/internal/wire"
)

type dialect struct{ field, fix string }

// dialects are the fields in which terminators forward certificates, and the line of
// their configuration that replaces what a client sent (docs/terminators.md).
var dialects = []dialect{
	{"X-Client-Cert", "nginx: put proxy_set_header X-Client-Cert $ssl_client_escaped_cert; into every location that has a proxy_set_header of its own. Apache: RequestHeader set (not add, append or merge), without a condition and outside of any <Location>. Kong: a pre-function that clears the field, on every route. Azure Application Gateway: the rewrite rule without a condition."},
	{"Client-Cert", "HAProxy: http-request del-header Client-Cert above the http-request set-header, which has a condition. Caddy: header_up Client-Cert (not +Client-Cert) in every reverse_proxy. Cloudflare and Google Cloud: the rule for every request, on every backend service."},
	{"X-Forwarded-Client-Cert", "Envoy: forward_client_cert_details: SANITIZE_SET in the outermost Envoy (not APPEND_FORWARD, FORWARD_ONLY or ALWAYS_FORWARD_ONLY), and mtlspop.XFCC with the true number of Envoys."},
	{"X-Forwarded-Tls-Client-Cert", "Traefik: a headers middleware that empties X-Forwarded-Tls-Client-Cert in front of passTLSClientCert, and no forwardedHeaders.insecure."},
	{"X-Amzn-Mtls-Clientcert-Leaf", "AWS: no other listener may lead to the targets: one on port 80 or without mutual authentication passes the client's field on."},
	{"X-Amzn-Mtls-Clientcert", "AWS: read the field of the listener's own mode: verify sends -Leaf, passthrough the other one. No other listener may lead to the targets."},
	{"X-ARR-ClientCert", "Azure App Service: nothing but its front end may reach the application, and clientCertExclusionPaths must be empty."},
	{"Cf-Client-Cert-Der-Base64", "Cloudflare: a request header rule that removes the field, and authenticated origin pulls with a certificate of your own zone (mtlspop.WithProxyThumbprints)."},
	{"X-SSL-Client-Cert", "F5: HTTP::header remove X-SSL-Client-Cert in front of HTTP::header insert."},
	{"SSL-Client-Cert", "Set the field in every request, with or without a certificate; a terminator that sets it under a condition must remove it first."},
	{"X-Client-Certificate", "Set the field in every request, with or without a certificate; a terminator that sets it under a condition must remove it first."},
	{"X-Client-Cert-Sha256", "Set the field in every request, with or without a certificate; Caddy: header_up X-Client-Cert-Sha256 (not +X-Client-Cert-Sha256)."},
}

// encodings are the ways to write a certificate into a field.
var encodings = []struct {
	name  string
	write func(der []byte) string
}{
	{"percent-encoded PEM", func(der []byte) string { return url.PathEscape(string(pen.CertificatePEM(der))) }},
	{"PEM with spaces", func(der []byte) string {
		return strings.ReplaceAll(strings.TrimSpace(string(pen.CertificatePEM(der))), "\n", " ")
	}},
	{"base64 DER", func(der []byte) string { return base64.StdEncoding.EncodeToString(der) }},
	{"RFC 9440", func(der []byte) string { return ":" + base64.StdEncoding.EncodeToString(der) + ":" }},
	{"XFCC", func(der []byte) string {
		return fmt.Sprintf("Hash=%s;Cert=%q", hexDigest(der), url.PathEscape(string(pen.CertificatePEM(der))))
	}},
	{"SHA-256 in hex", hexDigest},
	{"SHA-256 in base64url", pen.CertificateThumbprint},
}

func hexDigest(der []byte) string {
	raw, _ := base64.RawURLEncoding.DecodeString(pen.CertificateThumbprint(der))
	return fmt.Sprintf("%x", raw)
}

// spellings of a field's name that some programs take for the same.
func spellings(name string) []string {
	return []string{name, strings.ReplaceAll(name, "-", "_"), strings.Replace(name, "-", "_", 1)}
}

// forgedCertificates sends the client's own certificate in a field instead of showing
// it: if that passes, any client can write the field.
func (c *Config) forgedCertificates(ctx context.Context) error {
	if c.Certificate == nil || c.CertificateToken == "" {
		c.skip("forged-certificate", "it takes --cert and a token that is bound to it")
		return nil
	}
	stranger, err := pen.SelfSigned("keybound-doctor", time.Now().Add(-time.Minute))
	if err != nil {
		return err
	}
	before := len(c.findings)
	if err := c.forge(ctx, c.Client, "", &stranger); err != nil {
		return err
	}
	for _, u := range c.Also {
		client, err := c.AlsoClient(u)
		if err != nil {
			return err
		}
		if err := c.forge(ctx, client, " at "+u.String(), &stranger); err != nil {
			return err
		}
	}
	if len(c.findings) == before {
		c.pass("forged-certificate", "%d fields in %d encodings: none is believed", len(c.fields()), len(encodings))
	}
	return nil
}

func (c *Config) fields() []dialect {
	all := slices.Clone(dialects)
	for _, name := range c.Fields {
		all = append(all, dialect{name, "Set the field in every request, with or without a certificate."})
	}
	return all
}

// chunk is how many fields go into one request: several certificates of a kilobyte each
// are more than some servers read.
const chunk = 4

// forge tries every field, without a certificate and beside another one.
func (c *Config) forge(ctx context.Context, client *wire.Client, where string, stranger *tls.Certificate) error {
	for some := range slices.Chunk(c.fields(), chunk) {
		if !c.suspicious(ctx, client, some, stranger) {
			continue
		}
		for _, d := range some {
			if how := c.believed(ctx, client, d.field, stranger); how != "" {
				c.finding("forged-certificate/"+d.field, "error",
					fmt.Sprintf("the service%s believes a %s field that the client wrote (%s): anyone with a certificate-bound token can claim its certificate", where, d.field, how), d.fix)
			} else if c.added(ctx, client, []dialect{d}, stranger) {
				c.finding("forged-certificate/"+d.field, "error",
					fmt.Sprintf("a %s field of the client's own%s reaches the service beside the terminator's: a client can have its good requests refused, and a reader of one field would take the forged one", d.field, where), d.fix)
			}
		}
	}
	return ctx.Err()
}

// suspicious tries some fields at once, and reports whether one of them has an effect.
func (c *Config) suspicious(ctx context.Context, client *wire.Client, some []dialect, stranger *tls.Certificate) bool {
	for _, e := range encodings {
		for spelling := range spellings("") {
			for _, cert := range []*tls.Certificate{nil, stranger} {
				var fields []wire.Field
				for _, d := range some {
					fields = append(fields, wire.Field{Name: spellings(d.field)[spelling], Value: e.write(c.Certificate.Certificate[0])})
				}
				res, err := client.Do(ctx, cert, c.certified(fields...))
				if err != nil {
					continue
				}
				// A refusal other than 401 says that a field was read, and found wrong; but
				// not where the good request does not get another answer either.
				if ok(res) || c.certificateWorks && res.Status != 401 {
					return true
				}
			}
		}
	}
	return c.added(ctx, client, some, stranger)
}

// believed reports how a field passed for the certificate, "" if in no way.
func (c *Config) believed(ctx context.Context, client *wire.Client, field string, stranger *tls.Certificate) string {
	for _, e := range encodings {
		for _, name := range spellings(field) {
			for _, cert := range []*tls.Certificate{nil, stranger} {
				r := c.certified(wire.Field{Name: name, Value: e.write(c.Certificate.Certificate[0])})
				if res, err := client.Do(ctx, cert, r); err == nil && ok(res) {
					how := e.name
					if name != field {
						how += ", spelt " + name
					}
					if cert != nil {
						how += ", beside another certificate"
					}
					return how
				}
			}
		}
	}
	return ""
}

// added reports whether forged fields make a good request fail: then they arrive.
func (c *Config) added(ctx context.Context, client *wire.Client, some []dialect, stranger *tls.Certificate) bool {
	if !c.certificateWorks {
		return false
	}
	for _, e := range encodings {
		var fields []wire.Field
		for _, d := range some {
			fields = append(fields, wire.Field{Name: d.field, Value: e.write(stranger.Certificate[0])})
		}
		res, err := client.Do(ctx, c.Certificate, c.certified(fields...))
		if err != nil || ok(res) {
			continue
		}
		if again, err := client.Do(ctx, c.Certificate, c.certified()); err == nil && ok(again) {
			return true
		}
	}
	return false
}

// addresses sends the fields in which proxies tell the client's address.
func (c *Config) addresses(ctx context.Context) error {
	const fix = `Move the "real IP" middleware inside of the guard, or make it change a context value and not Request.RemoteAddr: the guard trusts terminators by that address (docs/terminators.md).`
	fields := []string{"X-Real-IP", "X-Forwarded-For", "True-Client-IP", "CF-Connecting-IP", "X-Client-IP", "Forwarded"}
	value := func(field, address string) string {
		if field == "Forwarded" {
			return `for="` + address + `"`
		}
		return address
	}
	if !c.dpopWorks && !c.certificateWorks {
		c.skip("address-fields", "no good request passes")
		return nil
	}
	before := len(c.findings)
	for _, field := range fields {
		for _, address := range []string{"192.0.2.77", "192.0.2.77:4711"} {
			more := wire.Field{Name: field, Value: value(field, address)}
			broke := c.dpopWorks && !ok(c.try(ctx, nil, c.good(more))) && ok(c.try(ctx, nil, c.good())) ||
				c.certificateWorks && !ok(c.try(ctx, c.Certificate, c.certified(more))) && ok(c.try(ctx, c.Certificate, c.certified()))
			if broke {
				c.finding("address-fields/"+field, "error", fmt.Sprintf("%s: %s from the client changes the decision: something believes it and writes it into the peer's address", field, address), fix)
				break
			}
		}
		if c.certificateWorks && c.trustedByAddress(ctx, field, value) {
			c.finding("address-fields/"+field, "error", field+" from the client makes the service believe a certificate field of the client's", fix)
		}
	}
	if len(c.findings) == before {
		c.pass("address-fields", "%s change nothing", strings.Join(fields, ", "))
	}
	return nil
}

// trustedByAddress claims to be a terminator at one of the usual private addresses.
func (c *Config) trustedByAddress(ctx context.Context, field string, value func(field, address string) string) bool {
	der := c.Certificate.Certificate[0]
	forged := []wire.Field{{Name: "X-Client-Cert", Value: encodings[0].write(der)}, {Name: "Client-Cert", Value: encodings[3].write(der)},
		{Name: "X-SSL-Client-Cert", Value: encodings[2].write(der)}, {Name: "X-Forwarded-Client-Cert", Value: encodings[4].write(der)}}
	for _, address := range []string{"127.0.0.1:1", "10.0.0.1:1", "172.16.0.1:1", "172.17.0.1:1", "192.168.0.1:1", "[::1]:1", "127.0.0.1", "10.1.2.3:1"} {
		claim := append([]wire.Field{{Name: field, Value: value(field, address)}}, forged...)
		// A field that is believed without an address too is another mistake.
		if ok(c.try(ctx, nil, c.certified(claim...))) && !ok(c.try(ctx, nil, c.certified(forged...))) {
			return true
		}
	}
	return false
}

// upgrade asks to switch to HTTP/2 in clear text: what follows a 101 is past the guard.
func (c *Config) upgrade(ctx context.Context) error {
	if c.Client.HTTP2 {
		c.skip("upgrade", "HTTP/2 has no field Upgrade")
		return nil
	}
	const fix = "Let the terminator remove Upgrade unless it is websocket. HAProxy: http-request del-header Upgrade unless { req.hdr(Upgrade) -i websocket }. nginx: no proxy_set_header Upgrade $http_upgrade outside of WebSocket locations. In Go, package reverseproxy; a service of its own must not take h2c upgrades."
	h2c := asking("h2c")
	requests := map[string]wire.Request{
		"the URL":                  {Method: c.Method, Target: c.target(), Fields: h2c},
		"the root":                 {Method: "GET", Target: "/", Fields: h2c},
		"a path that is not there": {Method: "GET", Target: "/keybound-doctor", Fields: h2c},
		"a preflight": {Method: "OPTIONS", Target: c.target(), Fields: append([]wire.Field{
			{Name: "Origin", Value: "https://app.example"}, {Name: "Access-Control-Request-Method", Value: "GET"}}, h2c...)},
	}
	names := []string{"the URL", "the root", "a path that is not there", "a preflight", "a good request", "the certificate's request"}
	if c.dpopWorks {
		requests["a good request"] = c.good(h2c...)
	}
	if c.certificateWorks {
		requests["the certificate's request"] = c.certified(h2c...)
	}
	// What lets websocket through must not let h2c through beside it.
	for _, several := range [][]string{{"h2c", "websocket"}, {"websocket", "h2c"}, {"H2C"}, {"websocket, h2c"}, {"h2c, websocket"}, {"", "h2c"}} {
		for _, of := range []struct{ what, target string }{{"the URL", c.target()}, {"the root", "/"}} {
			name := of.what + " with Upgrade: " + strings.Join(several, " and Upgrade: ")
			names = append(names, name)
			requests[name] = wire.Request{Method: "GET", Target: of.target, Fields: asking(several...)}
		}
	}
	for _, name := range names {
		r, wanted := requests[name]
		if !wanted {
			continue
		}
		cert := c.Certificate
		if r.Get("Authorization") == "" {
			cert = nil
		}
		if res := c.try(ctx, cert, r); res.Switched {
			c.finding("upgrade", "error", "a request for "+name+" that asks for h2c is answered with 101: the client then speaks HTTP/2 with the service, past every guard", fix)
			return nil
		}
	}
	c.pass("upgrade", "no request is switched to HTTP/2")
	return nil
}

// asking are the fields of a request for other protocols.
func asking(protocols ...string) []wire.Field {
	fields := []wire.Field{{Name: "Connection", Value: "Upgrade, HTTP2-Settings"}, {Name: "HTTP2-Settings", Value: "AAMAAABkAARAAAAAAAIAAAAA"}}
	for _, p := range protocols {
		fields = append(fields, wire.Field{Name: "Upgrade", Value: p})
	}
	return fields
}

// paths sends targets that readers understand in different ways.
func (c *Config) paths(ctx context.Context) error {
	if !c.dpopWorks {
		c.skip("paths", "the good DPoP request does not pass")
		return nil
	}
	before := len(c.findings)
	rest := strings.TrimPrefix(c.path, "/")
	first := ""
	if rest != "" && rest[0] < 0x80 && rest[0] != '%' {
		first = fmt.Sprintf("/%%%02x%s", rest[0], rest[1:])
	}
	serves := func(target string) bool {
		if target == "" || target == c.path || target == "//" {
			return false
		}
		r := c.good() // the proof is for the URL, and the target is another one
		r.Target = target
		return ok(c.try(ctx, nil, r))
	}
	for _, t := range []struct{ name, target string }{
		{"dot segments", "/keybound/../" + rest}, {"escaped dot segments", "/keybound/%2e%2e/" + rest}, {"a single dot", "/./" + rest},
		{"an escaped letter", first},
	} {
		if serves(t.target) {
			c.finding("paths", "warning", fmt.Sprintf("a proof for %s is good for %s (%s)", c.path, t.target, t.name),
				"Something in front rewrites targets before the guard sees them: nginx: proxy_pass without a URI part; Apache: ProxyPass with nocanon; HAProxy: no normalize-uri; Caddy: no uri or rewrite. Routes must be decided on what the guard has judged.")
			break
		}
	}
	exactly := "targets arrive as they were sent"
	if serves("//" + rest) { // Apache has no setting that keeps them
		exactly += ", but for slashes at the start, which are joined"
	}
	odd := strings.TrimSuffix(c.path, "/") + "/keybound%2Fdoctor/%7Ea"
	r := c.good()
	r.Target = odd
	r.Fields[1].Value = c.Key.Proof(c.Method, c.Target.Scheme+"://"+c.Target.Host+odd, c.Token, c.nonce)
	if res := c.try(ctx, nil, r); errorCode(res) == "invalid_dpop_proof" {
		c.finding("paths/rewritten", "error", "a proof for exactly the target that was sent, "+odd+", is refused: the service sees another path",
			"Let the proxy pass the path as it came: nginx: proxy_pass http://backend; without a URI part. Apache: ProxyPass with nocanon and AllowEncodedSlashes NoDecode. A prefix that it strips belongs into the origin of dpop.New.")
	}
	if len(c.findings) == before {
		c.pass("paths", "%s", exactly)
	}
	return nil
}
