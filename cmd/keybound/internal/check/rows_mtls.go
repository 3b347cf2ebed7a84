package check

import (
	"crypto/sha1"
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

var certificateToken = answer{[]int{401}, "Bearer", []string{"invalid_token"}}

// needsMTLS is for rows whose good request comes with a certificate.
func needsMTLS(c *Config) string {
	if !c.MTLS {
		return "the server is checked with DPoP"
	}
	return ""
}

// ForgedFields are the fields in which terminators forward a client's certificate, and
// how each writes one.
var ForgedFields = []struct {
	Name   string
	Encode func(der []byte) string
}{
	{"X-Client-Cert", escapedPEM},
	{"Client-Cert", func(der []byte) string { return ":" + base64.StdEncoding.EncodeToString(der) + ":" }},
	{"X-Forwarded-Client-Cert", func(der []byte) string { return fmt.Sprintf("Hash=%s;Cert=%q", hexDigest(der), escapedPEM(der)) }},
	{"X-SSL-Client-Cert", func(der []byte) string { return base64.StdEncoding.EncodeToString(der) }},
	{"SSL-Client-Cert", escapedPEM},
	{"X-Forwarded-Tls-Client-Cert", func(der []byte) string { return base64.StdEncoding.EncodeToString(der) }},
	{"X-Amzn-Mtls-Clientcert", escapedPEM},
	{"X-Amzn-Mtls-Clientcert-Leaf", escapedPEM},
	{"X-ARR-ClientCert", func(der []byte) string { return base64.StdEncoding.EncodeToString(der) }},
	{"Cf-Client-Cert-Der-Base64", func(der []byte) string { return base64.StdEncoding.EncodeToString(der) }},
	{"X-Client-Cert-Sha256", hexDigest},
	{"X-Client-Certificate", escapedPEM},
}

func escapedPEM(der []byte) string { return url.PathEscape(string(pen.CertificatePEM(der))) }

func hexDigest(der []byte) string {
	return fmt.Sprintf("%x", decode64(pen.CertificateThumbprint(der)))
}

// certificates are the rows of RFC 8705.
func (s *suite) certificates() {
	shown := func(cert func(c *Config) *tls.Certificate) func(*play, *draft) {
		return func(p *play, d *draft) { d.cert = cert(p.Config) }
	}
	match := text{"MTLS-3-01", "RFC 8705, section 3", Must,
		"The protected resource MUST obtain, from its TLS implementation layer, the client certificate used for mutual TLS and MUST verify that the certificate matches the certificate associated with the access token.", needsMTLS}
	mismatch := text{"MTLS-3-02", "RFC 8705, section 3", Must,
		"If they do not match, the resource access attempt MUST be rejected with an error, per RFC 6750, using an HTTP 401 status code and the \"invalid_token\" error code.", needsMTLS}
	s.accepted(match, variant{"the-right-certificate", func(*draft) {}})
	with := func(t text, name string, want answer, change func(*play, *draft)) {
		s.add(t, name, func(p *play) {
			d := p.draft()
			change(p, d)
			p.refuse(p.send(d), want)
		})
	}
	with(mismatch, "another-certificate", certificateToken, shown(func(c *Config) *tls.Certificate { return &c.other }))
	with(mismatch, "no-certificate", certificateToken, shown(func(*Config) *tls.Certificate { return nil }))
	with(mismatch, "the-same-key-reissued", certificateToken, func(p *play, d *draft) {
		again, err := p.authority.Reissue(p.certificate)
		if err != nil {
			p.fail("%v", err)
		}
		d.cert = &again
	})
	with(mismatch, "the-right-one-as-an-intermediate", certificateToken, func(p *play, d *draft) {
		chain := p.other
		chain.Certificate = [][]byte{p.other.Certificate[0], p.certificate.Certificate[0]}
		d.cert = &chain
	})
	with(mismatch, "the-same-name-self-signed", certificateToken, func(p *play, d *draft) {
		twin, err := pen.SelfSigned(p.certificate.Leaf.Subject.CommonName, time.Now().Add(-time.Minute))
		if err != nil {
			p.fail("%v", err)
		}
		d.cert = &twin
	})
	with(mismatch, "bound-to-the-ca", certificateToken, func(p *play, d *draft) {
		d.onToken(func(j *jwt) {
			j.claims["cnf"] = map[string]any{"x5t#S256": pen.CertificateThumbprint(p.authority.Certificate.Raw)}
		})
		chain := p.certificate
		chain.Certificate = append(slices.Clone(chain.Certificate), p.authority.Certificate.Raw)
		d.cert = &chain
	})
	value := func(f func(der []byte) any) func(*play, *draft) {
		return func(p *play, d *draft) {
			v := f(p.certificate.Leaf.Raw)
			d.onToken(func(j *jwt) { j.claims["cnf"] = map[string]any{"x5t#S256": v} })
		}
	}
	thumb := text{"MTLS-3.1-01", "RFC 8705, section 3.1", Must,
		"The value of the \"x5t#S256\" member is a base64url-encoded SHA-256 hash (a.k.a., thumbprint, fingerprint, or digest) of the DER encoding of the X.509 certificate. The base64url-encoded value MUST omit all trailing pad '=' characters and MUST NOT include any line breaks, whitespace, or other additional characters.", needsMTLS}
	right := pen.CertificateThumbprint
	for name, f := range inOrder(map[string]func(der []byte) any{
		"padded":         func(der []byte) any { return right(der) + "=" },
		"line-break":     func(der []byte) any { return right(der)[:20] + "\n" + right(der)[20:] },
		"space-behind":   func(der []byte) any { return right(der) + " " },
		"hex":            func(der []byte) any { return hexDigest(der) },
		"sha-1":          func(der []byte) any { sum := sha1.Sum(der); return pen.Encode(sum[:]) },
		"cut":            func(der []byte) any { return right(der)[:42] },
		"longer":         func(der []byte) any { return right(der) + "A" },
		"half":           func(der []byte) any { return pen.Encode(decode64(right(der))[:16]) },
		"lower-case":     func(der []byte) any { return swapCase(right(der)) },
		"empty":          func([]byte) any { return "" },
		"null":           func([]byte) any { return nil },
		"number":         func([]byte) any { return 1 },
		"list":           func(der []byte) any { return []string{right(der)} },
		"object":         func(der []byte) any { return map[string]any{"x5t#S256": right(der)} },
		"of-the-pem":     func(der []byte) any { return pen.Digest(string(pen.CertificatePEM(der))) },
		"first-changed":  func(der []byte) any { return otherLetter(right(der)[0]) + right(der)[1:] },
		"middle-changed": func(der []byte) any { r := right(der); return r[:20] + otherLetter(r[20]) + r[21:] },
		"of-nothing":     func([]byte) any { return pen.Digest("") },
	}) {
		with(thumb, name, certificateToken, value(f))
	}
	with(thumb, "of-nothing-without-a-certificate", certificateToken, func(p *play, d *draft) {
		value(func([]byte) any { return pen.Digest("") })(p, d)
		d.cert = nil
	})
	with(thumb, "empty-without-a-certificate", certificateToken, func(p *play, d *draft) {
		value(func([]byte) any { return "" })(p, d)
		d.cert = nil
	})
	with(thumb, "member-called-x5t", certificateToken, func(p *play, d *draft) {
		d.onToken(func(j *jwt) { j.claims["cnf"] = map[string]any{"x5t": right(p.certificate.Leaf.Raw)} })
	})
	with(thumb, "member-in-another-case", certificateToken, func(p *play, d *draft) {
		d.onToken(func(j *jwt) { j.claims["cnf"] = map[string]any{"X5T#s256": right(p.certificate.Leaf.Raw)} })
	})
	with(thumb, "at-the-top-level", certificateToken, func(p *play, d *draft) {
		d.unbind()
		d.onToken(func(j *jwt) { j.claims["x5t#S256"] = right(p.other.Leaf.Raw) })
		d.cert = nil
	})
	s.add(text{"MTLS-3.1-02", "RFC 8705, section 3.1", Practice,
		"The RFC's own example has non-zero pad bits in its last character: the digest counts, not its spelling.", needsMTLS},
		"last-character-with-pad-bits", func(p *play) {
			d := p.draft()
			r := right(p.certificate.Leaf.Raw)
			d.onToken(func(j *jwt) { j.claims["cnf"] = map[string]any{"x5t#S256": r[:42] + nextLetter(r[42])} })
			p.accept(p.send(d))
		})
	unknown := text{"MTLS-X-02", "RFC 7800, section 3", Practice,
		"A cnf whose members are all unknown binds the token to something that cannot be checked: access is not granted.", needsMTLS}
	for name, v := range inOrder(map[string]any{"null": nil, "text": "x", "empty": map[string]any{}, "list": []string{"x"}, "unknown": map[string]any{"keybound": "x"}, "kid": map[string]any{"kid": "x"}}) {
		with(unknown, "cnf-"+name, certificateToken, func(_ *play, d *draft) { tokenClaim("cnf", v)(d) })
	}
	s.add(text{"MTLS-33", "RFC 7800, section 3.1", Must,
		"Members of cnf that are not understood are ignored, beside one that is enforced.", needsMTLS},
		"unknown-beside-x5t", func(p *play) {
			d := p.draft()
			d.onToken(func(j *jwt) {
				j.claims["cnf"] = map[string]any{"x5t#S256": right(p.certificate.Leaf.Raw), "keybound": 1}
			})
			p.accept(p.send(d))
		})
	with(text{"MTLS-X-03", "RFC 9449, section 7.1", Must,
		"A token without cnf.jkt is no DPoP token.", needsMTLS},
		"under-the-dpop-scheme", anyRefusal, func(_ *play, d *draft) { d.scheme = "DPoP" })
	with(text{"MTLS-X-03", "RFC 9449, section 7.1", Must,
		"A token without cnf.jkt is no DPoP token, also with a proof.", needsMTLS},
		"under-the-dpop-scheme-with-proof", anyRefusal, func(_ *play, d *draft) { d.scheme, d.noProof = "DPoP", false })
	with(text{"MTLS-3-04", "RFC 8705, section 3", Practice,
		"A certificate beside a token that is bound to nothing proves nothing about the token.",
		all(needsMTLS, not("the server takes unbound bearer tokens", func(c *Config) bool { return c.Unbound }))},
		"unbound-token-with-certificate", anyRefusal, func(_ *play, d *draft) { d.unbind() })
	with(text{"MTLS-X-01", "RFC 9449, section 7.1; RFC 8705, section 3", Must,
		"A token that is bound to a key is not satisfied by a certificate.", needsMTLS},
		"bound-to-a-key", anyRefusal, func(_ *play, d *draft) {
			d.onToken(func(j *jwt) { j.claims["cnf"] = map[string]any{"jkt": d.key.Thumbprint()} })
		})

	for _, selfSigned := range []struct {
		name string
		from time.Duration
		t    text
	}{
		{"self-signed", -time.Minute, text{"MTLS-6.2-01", "RFC 8705, section 6.2", Must,
			"It is not necessary for the resource server to validate the trust chain of the client's certificate in any of the methods defined in this document.", needsMTLS}},
		{"expired", -48 * time.Hour, text{"MTLS-6.2-02", "RFC 8705, section 6.2", Practice,
			"The trust chain need not be validated: an expired certificate proves its key as well. (A server may refuse it: a baseline then says so.)", needsMTLS}},
	} {
		s.add(selfSigned.t, selfSigned.name, func(p *play) {
			cert, err := pen.SelfSigned("keybound", time.Now().Add(selfSigned.from))
			if err != nil {
				p.fail("%v", err)
			}
			d := p.draft()
			d.cert = &cert
			d.onToken(func(j *jwt) { j.claims["cnf"] = map[string]any{"x5t#S256": right(cert.Leaf.Raw)} })
			p.accept(p.send(d))
		})
	}
	for _, f := range ForgedFields {
		t := text{"CC-4-01", "RFC 9440, section 4", Must,
			"A server that is not behind a trusted reverse proxy does not take a certificate from a field: any client could send the certificate of another.", needsMTLS}
		with(t, f.Name+"-forged", certificateToken, func(p *play, d *draft) {
			d.cert = nil
			d.field(f.Name, f.Encode(p.certificate.Leaf.Raw))
		})
		with(t, f.Name+"-forged-beside-a-certificate", certificateToken, func(p *play, d *draft) {
			d.cert = &p.other
			d.field(f.Name, f.Encode(p.certificate.Leaf.Raw))
		})
	}
	s.add(text{"MTLS-X-04", "RFC 8446, section 2.2", Must,
		"A resumed session is one with the client that began it: its certificate counts.", all(needsMTLS, needsTLS)},
		"resumed-session", func(p *play) {
			client := *p.Client
			client.TLS = p.Client.TLS.Clone()
			client.TLS.ClientSessionCache = tls.NewLRUClientSessionCache(4)
			for range 2 {
				res, err := client.Do(p.ctx, &p.certificate, p.build(p.draft()))
				if err != nil {
					p.fail("%v", err)
				}
				p.accept(res)
			}
		})
	for name, version := range inOrder(map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}) {
		s.add(text{"MTLS-3-01", "RFC 8705, section 7.3", Must,
			"Mutual TLS with this version of TLS.", all(needsMTLS, needsTLS)}, "TLS-"+name, func(p *play) {
			client := *p.Client
			client.TLS = p.Client.TLS.Clone()
			client.TLS.MinVersion, client.TLS.MaxVersion = version, version
			res, err := client.Do(p.ctx, &p.certificate, p.build(p.draft()))
			if err != nil {
				p.skip("the server does not speak TLS %s: %v", name, err)
			}
			p.accept(res)
			bad := p.draft()
			bad.cert = &p.other
			if res, err = client.Do(p.ctx, &p.other, p.build(bad)); err == nil {
				p.refuse(res, certificateToken)
			}
		})
	}
}

func needsTLS(c *Config) string {
	if c.Target.Scheme != "https" {
		return "the target is not https"
	}
	return ""
}

// certificatesBeside are the rows for tokens with a certificate in cnf, where DPoP is
// what the server is checked for.
func (s *suite) certificatesBeside() {
	twice := func(jkt, x5t bool) func(p *play) *draft {
		return func(p *play) *draft {
			d := p.draft()
			d.cert = &p.certificate
			key, cert := d.key.Thumbprint(), pen.CertificateThumbprint(p.certificate.Leaf.Raw)
			if !jkt {
				key = unknownKey("").Thumbprint()
			}
			if !x5t {
				cert = pen.CertificateThumbprint(p.other.Leaf.Raw)
			}
			d.onToken(func(j *jwt) { j.claims["cnf"] = map[string]any{"jkt": key, "x5t#S256": cert} })
			return d
		}
	}
	t := text{"MTLS-X-01", "RFC 9449, section 7.1; RFC 8705, section 3", Practice,
		"Both demand their check: of a token that is bound to a key and to a certificate, both bindings hold. A server that knows one of them alone refuses what it cannot check.", needsDPoP}
	s.add(t, "key-right-certificate-wrong", func(p *play) { p.refuse(p.send(twice(true, false)(p)), anyRefusal) })
	s.add(t, "key-wrong-certificate-right", func(p *play) { p.refuse(p.send(twice(false, true)(p)), anyRefusal) })
	s.add(t, "no-certificate", func(p *play) {
		d := twice(true, true)(p)
		d.cert = nil
		p.refuse(p.send(d), anyRefusal)
	})
	s.add(t, "no-proof", func(p *play) {
		d := twice(true, true)(p)
		d.noProof = true
		p.refuse(p.send(d), anyRefusal)
	})
	s.add(t, "as-bearer-over-the-certificate", func(p *play) {
		d := twice(true, true)(p)
		d.scheme, d.noProof = "Bearer", true
		p.refuse(p.send(d), anyRefusal)
	})
	s.add(t, "certificate-alone-under-dpop", func(p *play) {
		d := p.draft()
		d.cert = &p.certificate
		d.onToken(func(j *jwt) {
			j.claims["cnf"] = map[string]any{"x5t#S256": pen.CertificateThumbprint(p.certificate.Leaf.Raw)}
		})
		p.refuse(p.send(d), anyRefusal)
	})
	s.add(t, "certificate-bound-as-bearer-without-certificate", func(p *play) {
		d := p.draft()
		d.onToken(func(j *jwt) {
			j.claims["cnf"] = map[string]any{"x5t#S256": pen.CertificateThumbprint(p.certificate.Leaf.Raw)}
		})
		d.scheme, d.noProof = "Bearer", true
		p.refuse(p.send(d), anyRefusal)
	})
	both := t
	both.applies = all(needsDPoP, not("the server does not take tokens that are bound both ways", func(c *Config) bool { return !c.Both }))
	s.add(both, "both-right", func(p *play) { p.accept(p.send(twice(true, true)(p))) })
	for _, f := range ForgedFields {
		s.add(text{"CC-4-01", "RFC 9440, section 4", Must,
			"A server that is not behind a trusted reverse proxy does not take a certificate from a field.", needsDPoP},
			f.Name+"-forged-as-bearer", func(p *play) {
				d := p.draft()
				d.onToken(func(j *jwt) {
					j.claims["cnf"] = map[string]any{"x5t#S256": pen.CertificateThumbprint(p.certificate.Leaf.Raw)}
				})
				d.scheme, d.noProof = "Bearer", true
				if res := p.send(d); res.Status/100 == 2 {
					p.skip("the server does not know certificate-bound tokens")
				}
				d.field(f.Name, f.Encode(p.certificate.Leaf.Raw))
				p.refuse(p.send(d), anyRefusal)
			})
	}
}

// fapi2 are the rows that the FAPI 2.0 Security Profile adds.
func (s *suite) fapi2() {
	s.refused(text{"FAPI-5.3.4-5", "FAPI 2.0 Security Profile, section 5.3.4", Must,
		"Resource servers shall support and verify sender-constrained access tokens: one that is bound to nothing is refused.", nil}, anyRefusal,
		variant{"unbound-bearer", func(d *draft) { d.unbind(); d.scheme, d.noProof = "Bearer", true }},
		variant{"unbound-dpop", func(d *draft) { d.unbind(); d.scheme, d.noProof = "DPoP", false }},
		variant{"unbound-with-proof-as-bearer", func(d *draft) { d.unbind(); d.scheme, d.noProof = "Bearer", false }},
	)
	for _, alg := range []string{"RS256", "ES384", "ES512", "PS384", "PS512"} {
		s.refused(text{"FAPI-5.4", "FAPI 2.0 Security Profile, section 5.4.1", Must,
			"Authorization servers, clients, and resource servers shall use PS256, ES256, or EdDSA (using the Ed25519 variant) algorithms.", needsDPoP}, invalidProof,
			variant{"proof-by-" + alg, withKey(func() (*pen.Key, error) { return clientKey(alg) })})
	}
	s.refused(text{"FAPI-5.4", "FAPI 2.0 Security Profile, section 5.4.1", Must,
		"Authorization servers, clients, and resource servers shall use PS256, ES256, or EdDSA (using the Ed25519 variant) algorithms, for access tokens too.", needsJWT}, invalidToken,
		variant{"token-by-RS256", func(d *draft) { d.onToken(func(j *jwt) { j.key = d.signer("RS256") }) }})
	iat := func(ahead time.Duration) func(*draft) {
		return now(func() func(*draft) { return proofClaim("iat", unix(ahead)) })
	}
	s.refused(text{"FAPI-5.3.2-13", "FAPI 2.0 Security Profile, section 5.3.2.1", Must,
		"Shall reject JWTs with an iat or nbf timestamp greater than 60 seconds in the future.",
		all(needsDPoP, not("the nonce's age replaces that of the proof", func(c *Config) bool { return c.Nonces }))}, invalidProof,
		variant{"proof-63s-ahead", iat(63 * time.Second)})
	s.refused(text{"FAPI-5.3.2-13", "FAPI 2.0 Security Profile, section 5.3.2.1", Must,
		"Shall reject JWTs with an iat or nbf timestamp greater than 60 seconds in the future.", needsJWT}, invalidToken,
		variant{"token-iat-65s-ahead", now(func() func(*draft) { return tokenClaim("iat", unix(65*time.Second)) })},
		variant{"token-nbf-65s-ahead", now(func() func(*draft) { return tokenClaim("nbf", unix(65*time.Second)) })})
	s.accepted(text{"FAPI-5.3.2-13", "FAPI 2.0 Security Profile, section 5.3.2.1", Must,
		"To accommodate clock offsets, shall accept JWTs with an iat or nbf timestamp between 0 and 10 seconds in the future.", needsJWT},
		variant{"token-iat-8s-ahead", now(func() func(*draft) { return tokenClaim("iat", unix(8*time.Second)) })},
		variant{"token-nbf-8s-ahead", now(func() func(*draft) { return tokenClaim("nbf", unix(8*time.Second)) })})
	for name, version := range inOrder(map[string]uint16{"1.0": tls.VersionTLS10, "1.1": tls.VersionTLS11}) {
		s.add(text{"FAPI-5.2", "FAPI 2.0 Security Profile, section 5.2.1", Must,
			"Endpoints shall use TLS version 1.2 or later.", needsTLS}, "TLS-"+name, func(p *play) {
			client := *p.Client
			client.TLS = p.Client.TLS.Clone()
			client.TLS.MinVersion, client.TLS.MaxVersion = version, version
			conn, err := client.Open(p.ctx, nil)
			if err == nil {
				conn.Close()
				p.fail("the server spoke TLS %s", name)
			}
		})
	}
}

// http are the rows about HTTP itself.
func (s *suite) http() {
	s.add(text{"HTTP-01", "Fetch standard; RFC 9110, section 9.3.7", Practice,
		"OPTIONS without credentials is not the way to the resource: only a CORS preflight is answered, and not with the resource.", nil},
		"OPTIONS", func(p *play) {
			res := p.do(nil, wire.Request{Method: "OPTIONS", Target: p.requestTarget()})
			if res.Status/100 == 2 && res.Header.Get("Allow") == "" && res.Header.Get("Access-Control-Allow-Methods") == "" && len(res.Body) > 0 {
				p.fail("the server answered %d with %d bytes to OPTIONS without credentials", res.Status, len(res.Body))
			}
		})
	preflight := func(more ...wire.Field) wire.Request {
		return wire.Request{Method: "OPTIONS", Fields: append([]wire.Field{
			{Name: "Origin", Value: "https://app.example"}, {Name: "Access-Control-Request-Method", Value: "GET"},
			{Name: "Access-Control-Request-Headers", Value: "authorization,dpop"},
		}, more...)}
	}
	s.add(text{"HTTP-01", "Fetch standard", Practice,
		"A request with Upgrade is no preflight: what it is switched to would pass unjudged.", nil},
		"preflight-with-upgrade", func(p *play) {
			r := preflight(wire.Field{Name: "Connection", Value: "Upgrade, HTTP2-Settings"}, wire.Field{Name: "Upgrade", Value: "h2c"}, wire.Field{Name: "HTTP2-Settings", Value: "AAMAAABkAARAAAAAAAIAAAAA"})
			r.Target = p.requestTarget()
			if res := p.do(nil, r); res.Switched {
				panic(outcome{status: Failed, reason: "the server switched protocols for a request without credentials", accepted: true})
			}
		})
	s.add(text{"HTTP-14", "RFC 9113, section 3.1", Must,
		"The h2c upgrade is obsolete; a server behind a guard does not switch to it.", nil},
		"upgrade-h2c", func(p *play) {
			r := wire.Request{Method: "GET", Target: p.requestTarget(), Fields: []wire.Field{
				{Name: "Connection", Value: "Upgrade, HTTP2-Settings"}, {Name: "Upgrade", Value: "h2c"}, {Name: "HTTP2-Settings", Value: "AAMAAABkAARAAAAAAAIAAAAA"}}}
			if res := p.do(nil, r); res.Switched {
				panic(outcome{status: Failed, reason: "the server switched to HTTP/2 for a request without credentials", accepted: true})
			}
		})
	s.add(text{"HTTP-12", "RFC 9110, section 6.5.1", Must,
		"Trailer fields are not merged into the header section: credentials in them do not count.", nil},
		"credentials-in-the-trailer", func(p *play) {
			d := p.draft()
			d.method = "POST"
			r := p.build(d)
			trailer := ""
			kept := r.Fields[:0]
			for _, f := range r.Fields {
				trailer += f.Name + ": " + f.Value + "\r\n"
			}
			r.Fields = append(kept, wire.Field{Name: "Transfer-Encoding", Value: "chunked"}, wire.Field{Name: "Trailer", Value: "Authorization, DPoP"})
			r.Body = "1\r\nx\r\n0\r\n" + trailer + "\r\n"
			p.refuse(p.do(d.cert, r), anyRefusal)
		})
	s.add(text{"HTTP-11", "RFC 9110, section 5.4", Must,
		"A server that receives a request header field line, field value, or set of fields larger than it wishes to process MUST respond with an appropriate 4xx (Client Error) status code.", needsDPoP},
		"very-long-proof", func(p *play) {
			d := p.draft()
			d.noProof = true
			d.field("DPoP", strings.Repeat("A", 60000))
			p.refuse(p.send(d), anyRefusal)
		})
	s.add(text{"HTTP-11", "RFC 9110, section 5.4", Must,
		"A field value larger than a server wishes to process is answered with 4xx.", nil},
		"very-long-token", func(p *play) {
			d := p.draft()
			d.tokenText = func(string) string { return strings.Repeat("A", 60000) }
			p.refuse(p.send(d), anyRefusal)
		})
	s.add(text{"HTTP-08", "RFC 8470, section 5.1", Must,
		"Early-Data may only be sent by the intermediary: from a client it opens nothing.", nil},
		"early-data-replay", func(p *play) {
			d := p.draft()
			d.field("Early-Data", "1")
			res := p.send(d)
			if res.Status/100 != 2 && res.Status != 425 {
				p.fail("expected 2xx or 425, got %s", answerText(res))
			}
		})
	s.add(text{"HTTP-06", "RFC 9111, section 3.5", Practice,
		"A second request without credentials for the same URL is refused: no cache on the way has kept the good answer.", nil},
		"cached-answer", func(p *play) {
			p.accept(p.send(p.draft()))
			d := p.draft()
			d.noToken, d.noProof = true, true
			p.refuse(p.send(d), anyRefusal)
		})
	s.add(text{"HTTP-21", "RFC 9110, section 7.5", Practice,
		"A server can send a final response before the request's content is received: a refusal does not wait for a body that does not come.", nil},
		"refusal-before-the-body", func(p *play) {
			d := p.draft()
			d.method = "POST"
			tokenClaim("exp", 1)(d)
			r := p.build(d)
			// A connection that is closed afterwards needs no waiting.
			r.Fields = append(r.Fields, wire.Field{Name: "Content-Length", Value: "100000"}, wire.Field{Name: "Connection", Value: "keep-alive"})
			r.Body = "x"
			began := time.Now()
			p.refuse(p.do(d.cert, r), anyRefusal)
			if took := time.Since(began); took > 8*time.Second {
				p.fail("the refusal took %v", took.Round(time.Second))
			}
		})
	s.add(text{"HTTP-20", "RFC 9112, section 6.1", Must,
		"A request that two readers take for two different ones is refused.", nil},
		"length-and-chunks", func(p *play) {
			d := p.draft()
			d.method = "POST"
			d.field("Content-Length", "4")
			d.field("Transfer-Encoding", "chunked")
			d.onRequest(func(r *wire.Request) { r.Body = "0\r\n\r\n" })
			res := p.send(d)
			if res.Status >= 500 {
				p.fail("got %s", answerText(res))
			}
		})
}
