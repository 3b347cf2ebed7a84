package check

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/keybound-go/middleware/cmd/keybound/internal/pen"
	"github.com/keybound-go/middleware/cmd/keybound/internal/wire"
)

// introspection are the rows for servers that ask the issuer: RFC 7662.
func (s *suite) introspection() {
	active := text{"INTRO-2.2-01", "RFC 7662, section 2.2", Must,
		"active: REQUIRED. Boolean indicator of whether or not the presented token is currently active.", needsOpaque}
	s.refused(active, invalidToken, variant{"false", tokenClaim("active", false)})
	s.answersAboutTokens()
	s.spellingsOfOpaqueTokens()
	s.rememberedAnswers()
	for name, value := range inOrder(map[string]any{"missing": absent{}, "text-true": "true", "one": 1, "null": nil, "list": []bool{true}, "object": map[string]any{"a": true}, "empty": ""}) {
		s.add(active, "not-boolean-"+name, func(p *play) {
			d := p.draft()
			tokenClaim("active", value)(d)
			p.unavailable(p.send(d))
		})
	}
	s.add(active, "unknown-token", func(p *play) {
		d := p.draft()
		d.token = randomText()
		p.refuse(p.send(d), invalidToken)
	})
	s.add(text{"INTRO-2.1-01", "RFC 7662, section 2.1", Must,
		"The protected resource calls the introspection endpoint using an HTTP POST request with parameters sent as \"application/x-www-form-urlencoded\" data.", needsOpaque},
		"the-question", func(p *play) {
			d := p.draft()
			p.accept(p.send(d))
			asked, ok := p.Issuer.lastAsked()
			switch {
			case !ok:
				p.fail("the server accepted an opaque token without asking the issuer")
			case asked.method != "POST" || !strings.HasPrefix(asked.contentType, "application/x-www-form-urlencoded"):
				p.fail("the question was a %s of %q", asked.method, asked.contentType)
			case asked.query != "":
				p.fail("the question has a query: a token there would be in logs")
			case len(asked.form["token"]) != 1 || asked.form.Get("token") != d.token:
				p.fail("the question's token is not the one that was sent, once")
			}
		})
	s.add(text{"INTRO-2.1-02", "RFC 7662, section 2.1", Must,
		"To prevent token scanning attacks, the endpoint MUST also require some form of authorization to access this endpoint: the server authenticates.", needsOpaque},
		"authenticated", func(p *play) {
			p.accept(p.send(p.draft()))
			asked, _ := p.Issuer.lastAsked()
			if asked.authorization == "" && !asked.form.Has("client_secret") && !asked.form.Has("client_assertion") {
				p.skip("no client authentication in the request: perhaps a certificate")
			}
		})
	s.refused(text{"INTRO-2.2-05", "RFC 9449, section 6.2", Practice,
		"token_type DPoP without cnf.jkt says that the token is bound, and not to what.", needsOpaque}, anyRefusal,
		variant{"type-DPoP-without-cnf", func(d *draft) { d.unbind(); tokenClaim("token_type", "DPoP")(d) }},
		variant{"type-DPoP-without-cnf-as-bearer", func(d *draft) {
			d.unbind()
			tokenClaim("token_type", "DPoP")(d)
			d.scheme, d.noProof = "Bearer", true
		}})
	fault := text{"INTRO-2.3-01", "RFC 7662, section 2.3", Practice,
		"An issuer that cannot answer is no verdict on the token: a client that reads invalid_token throws a good one away. And nothing passes meanwhile.", needsOpaque}
	faults := map[string]func(http.ResponseWriter){
		"500": func(w http.ResponseWriter) { w.WriteHeader(500) },
		"503": func(w http.ResponseWriter) { w.WriteHeader(503) },
		"429": func(w http.ResponseWriter) { w.WriteHeader(429) },
		"403": func(w http.ResponseWriter) { w.WriteHeader(403) },
		"html": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = w.Write([]byte("<html>"))
		},
		"not-json": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte("{"))
		},
		"list": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`[{"active":true}]`))
		},
		"two-texts": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"active":true}{"active":false}`))
		},
		"broken": func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
		"text-plain": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/plain")
			_, _ = w.Write([]byte(`{"active":true}`))
		},
		"active-twice": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"active":false,"active":true}`))
		},
		"redirect": func(w http.ResponseWriter) {
			w.Header().Set("Location", "/keybound-other")
			w.WriteHeader(http.StatusTemporaryRedirect)
		},
		"empty":   func(w http.ResponseWriter) { w.Header().Set("Content-Type", "application/json") },
		"no-body": func(w http.ResponseWriter) { w.WriteHeader(http.StatusNoContent) },
		"null": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte("null"))
		},
		"invalid-request": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(400)
			_, _ = w.Write([]byte(`{"error":"invalid_request"}`))
		},
		"invalid-client": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(401)
			_, _ = w.Write([]byte(`{"error":"invalid_client"}`))
		},
	}
	for name, answer := range inOrder(faults) {
		s.add(fault, "endpoint-"+name, func(p *play) {
			p.Issuer.breakIntrospection(func(w http.ResponseWriter, _ *http.Request) bool { answer(w); return true })
			defer p.Issuer.breakIntrospection(nil)
			d := p.draft()
			p.unavailable(p.send(d))
		})
	}
}

// unavailable fails the row unless the answer is 5xx without a challenge.
func (p *play) unavailable(res *wire.Response) {
	challenges, _ := wire.Challenges(res.Header)
	switch {
	case res.Status/100 == 2:
		panic(outcome{status: Failed, reason: fmt.Sprintf("the server accepted the request (%d)", res.Status), accepted: true})
	case res.Status != 503 && res.Status != 502 && res.Status != 500:
		p.fail("refused, but expected 503, got %s", answerText(res))
	case len(challenges) > 0:
		p.fail("%d with a challenge: %s", res.Status, answerText(res))
	}
}

// answersAboutTokens are the rows about what an answer says besides active.
func (s *suite) answersAboutTokens() {
	s.refused(text{"INTRO-2.2-02", "RFC 7662, section 2.2; RFC 9068, section 5", Practice,
		"Endpoints call refresh tokens, ID tokens and logout tokens active too: what an answer calls by another name than an access token, or gives claims that no access token has, is none.", needsOpaque}, invalidToken,
		variant{"typ-ID", tokenClaim("typ", "ID")},
		variant{"typ-Refresh", tokenClaim("typ", "Refresh")},
		variant{"typ-Offline", tokenClaim("typ", "Offline")},
		variant{"typ-Logout", tokenClaim("typ", "Logout")},
		variant{"token_use-id", tokenClaim("token_use", "id")},
		variant{"token_use-refresh_token", tokenClaim("token_use", "refresh_token")},
		variant{"purpose-refresh_token", tokenClaim("purpose", "refresh_token")},
		variant{"at_hash", tokenClaim("at_hash", "x")},
		variant{"c_hash", tokenClaim("c_hash", "x")},
		variant{"s_hash", tokenClaim("s_hash", "x")},
		variant{"events", tokenClaim("events", map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}})},
		variant{"id-token-for-the-client", both(tokenClaim("token_type", absent{}), tokenClaim("nonce", "n"), tokenClaim("scope", absent{}))},
		variant{"nothing-but-the-client", both(tokenClaim("token_type", absent{}), tokenClaim("scope", absent{}), tokenClaim("aud", "keybound-check"))},
	)
	kind := text{"INTRO-2.2-05", "RFC 7662, section 2.2; RFC 6749, section 7.1", Must,
		"token_type: the client MUST NOT use an access token if it does not understand the token type. Its value is case-insensitive (RFC 6749, section 5.1).", needsOpaque}
	s.refused(kind, invalidToken,
		variant{"type-N_A", tokenClaim("token_type", "N_A")},
		variant{"type-mac", tokenClaim("token_type", "mac")},
		variant{"type-refresh_token", tokenClaim("token_type", "refresh_token")},
	)
	s.accepted(kind,
		variant{"type-in-lower-case", tokenClaim("token_type", "dpop")},
		variant{"type-in-upper-case", tokenClaim("token_type", "DPOP")},
		variant{"type-Bearer-with-jkt", tokenClaim("token_type", "Bearer")},
	)
	s.accepted(text{"INTRO-2.2-03", "RFC 7662, section 2.2", Must,
		"scope, client_id, username, token_type, exp, iat, nbf, sub, iss, jti: OPTIONAL.", needsOpaque},
		variant{"no-iss", tokenClaim("iss", absent{})},
		variant{"no-sub", tokenClaim("sub", absent{})},
		variant{"no-client_id", tokenClaim("client_id", absent{})},
		variant{"no-iat", tokenClaim("iat", absent{})},
		variant{"no-jti", tokenClaim("jti", absent{})},
		variant{"no-token_type", tokenClaim("token_type", absent{})},
		variant{"access-by-typ", both(tokenClaim("token_type", absent{}), tokenClaim("typ", "Bearer"))},
		variant{"access-by-token_use", both(tokenClaim("token_type", absent{}), tokenClaim("token_use", "access"))},
		variant{"username-and-others", both(tokenClaim("username", "u"), tokenClaim("keybound", []int{1}))},
	)
	s.refused(text{"INTRO-2.2-04", "RFC 7662, section 2.2; RFC 8707, section 2", Must,
		"iss: string representing the issuer of this token: a token of another issuer is not one of this. aud: the service-specific identifier of the intended audience.", needsOpaque}, invalidToken,
		variant{"iss-other", tokenClaim("iss", "https://evil.example")},
		variant{"iss-longer", func(d *draft) {
			d.onToken(func(j *jwt) { j.claims["iss"] = d.issuer.URL + "/" })
		}},
		variant{"no-aud", tokenClaim("aud", absent{})},
	)
}

// spellingsOfOpaqueTokens are the rows about tokens that look like something else.
func (s *suite) spellingsOfOpaqueTokens() {
	jws := pen.Encode([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + pen.Encode([]byte(`{"sub":"x"}`)) + "."
	jwe := pen.Encode([]byte(`{"alg":"dir","enc":"A256GCM"}`)) + "..AAAAAAAAAAAAAAAA.AAAA."
	called := func(name func() string) func(*play) *draft {
		return func(p *play) *draft {
			d := p.draft()
			claims := p.claims()
			claims["cnf"] = map[string]any{"jkt": d.key.Thumbprint()}
			d.token = name()
			p.Issuer.Register(d.token, claims)
			return d
		}
	}
	signature := func() string { return pen.Encode([]byte(randomText() + randomText())) }
	any := text{"INTRO-1-01", "RFC 7662, section 1; RFC 6750, section 2.1", Must,
		"OAuth 2.0 does not define a content format for access tokens: to a server that asks the issuer, any token68 is a token.", all(needsOpaque, needsDPoP)}
	for name, make := range inOrder(map[string]func() string{
		"a-signed-jwt":     func() string { return jws + signature() },
		"an-encrypted-one": func() string { return jwe + signature() },
		"with-dots":        func() string { return randomText() + "." + randomText() },
		"with-two-dots":    func() string { return randomText() + ".x." + randomText() },
		"with-padding":     func() string { return randomText() + "==" },
		"every-character":  func() string { return randomText() + "-._~+/" + randomText() },
		"very-short":       func() string { return randomText()[:4] },
	}) {
		s.add(any, name, func(p *play) { p.accept(p.send(called(make)(p))) })
	}
	one := text{"B64-02", "RFC 4648, section 3.5; RFC 7515, section 3.1", Practice,
		"Some issuers take T., T= and T.. for the JWT T. ath, caches and lists of revoked tokens do not: one token has one spelling.", all(needsOpaque, needsDPoP)}
	for name, make := range inOrder(map[string]func() string{
		"jwt-with-a-dot-behind":      func() string { return jws + signature() + "." },
		"jwt-with-two-dots-behind":   func() string { return jws + signature() + ".." },
		"jwt-padded":                 func() string { return jws + signature() + "=" },
		"jwt-with-pad-bits":          func() string { sig := signature(); return jws + sig[:len(sig)-1] + "B" },
		"jwt-with-standard-base64":   func() string { return jws + "+/" + signature() },
		"jwt-without-a-signature":    func() string { return jws },
		"jwt-without-a-payload":      func() string { return pen.Encode([]byte(`{"alg":"RS256"}`)) + ".." + signature() },
		"jwt-in-two-parts":           func() string { return strings.TrimSuffix(jws, ".") },
		"jwt-in-four-parts":          func() string { return jws + signature() + "." + signature() },
		"jwt-with-enc-in-its-header": func() string { return pen.Encode([]byte(`{"alg":"RS256","enc":"A256GCM"}`)) + ".e30." + signature() },
		"jwt-without-alg":            func() string { return pen.Encode([]byte(`{"typ":"JWT"}`)) + ".e30." + signature() },
		"jwe-without-a-tag":          func() string { return jwe },
		"jwe-without-enc":            func() string { return pen.Encode([]byte(`{"alg":"dir"}`)) + "..AAAA.AAAA." + signature() },
	}) {
		s.add(one, name, func(p *play) { p.refuse(p.send(called(make)(p)), anyRefusal) })
	}
}

// rememberedAnswers are the rows about answers that a server may have kept.
func (s *suite) rememberedAnswers() {
	s.add(text{"INTRO-4-01", "RFC 7662, section 4", Must,
		"A protected resource may cache the results of an introspection response, for no longer than its operator says: then a revoked token is refused.",
		all(needsOpaque, not("--answers does not say", func(c *Config) bool { return c.Answers == 0 }))},
		"revoked", func(p *play) {
			d := p.draft()
			p.accept(p.send(d))
			p.Issuer.Register(d.token, map[string]any{"active": false})
			for range 3 {
				time.Sleep(p.Answers/2 + time.Second)
				d.proof = ""
				res := p.send(d)
				if res.Status/100 != 2 {
					p.refuse(res, invalidToken)
				}
			}
			d.proof = ""
			p.refuse(p.send(d), invalidToken)
		})
	s.add(text{"INTRO-4-01", "RFC 7662, section 4", Must,
		"An answer is about one token: that of one does not let another pass.", needsOpaque},
		"not-of-another-token", func(p *play) {
			d := p.draft()
			p.accept(p.send(d))
			other := p.draft()
			other.key = d.key
			p.build(other)
			p.Issuer.Register(other.token, map[string]any{"active": false})
			p.refuse(p.send(other), invalidToken)
			d.proof = ""
			p.accept(p.send(d))
		})
	s.add(text{"INTRO-4-01", "RFC 7662, section 4", Must,
		"The same token again, while it is active, passes again.", needsOpaque},
		"again", func(p *play) {
			d := p.draft()
			for range 3 {
				d.proof = ""
				p.accept(p.send(d))
			}
		})
	s.add(text{"INTRO-2.3-01", "RFC 7662, section 2.3", Practice,
		"When the issuer answers again, so does the server: an outage is remembered for some seconds at the most.", needsOpaque},
		"recovers", func(p *play) {
			p.Issuer.breakIntrospection(func(w http.ResponseWriter, _ *http.Request) bool { w.WriteHeader(503); return true })
			defer p.Issuer.breakIntrospection(nil)
			d := p.draft()
			p.unavailable(p.send(d))
			p.Issuer.breakIntrospection(nil)
			for end := time.Now().Add(12 * time.Second); ; time.Sleep(500 * time.Millisecond) {
				d.proof = ""
				res := p.send(d)
				if res.Status/100 == 5 && time.Now().Before(end) {
					continue
				}
				p.accept(res)
				return
			}
		})
}
