package check

import (
	"net/url"
	"slices"
	"strings"

	"github.com/keybound-go/middleware/cmd/keybound/internal/wire"
)

// authorization are the rows about how a token comes, and what a refusal says: RFC 6750,
// RFC 9110, RFC 9449 sections 7.1 and 7.2.
func (s *suite) authorization() {
	nothing := func(d *draft) { d.noToken, d.noProof = true, true }
	s.accepted(text{"AUTH-01", "RFC 6750, section 2.1", Must,
		"Resource servers MUST support this method: the Authorization request header field.", nil},
		variant{"good-request", func(*draft) {}})

	caseText := text{"AUTH-02", "RFC 9110, section 11.1", Must,
		"It uses a case-insensitive token to identify the authentication scheme.", nil}
	for _, change := range []func(string) string{strings.ToLower, strings.ToUpper} {
		for _, scheme := range []string{"DPoP", "Bearer"} {
			t := caseText
			t.applies = not("the good request uses the other scheme", func(c *Config) bool { return c.scheme() != scheme })
			s.accepted(t, variant{change(scheme), func(d *draft) { d.scheme = change(scheme) }})
		}
	}
	s.accepted(text{"AUTH-03", "RFC 9110, section 11.4", Must,
		`credentials = auth-scheme [ 1*SP ( token68 / #auth-param ) ]: one or more spaces.`, nil},
		variant{"two-spaces", func(d *draft) { d.scheme += " " }},
		variant{"five-spaces", func(d *draft) { d.scheme += "    " }},
	)
	s.refused(text{"AUTH-03", "RFC 9449, section 7.1", Must,
		`credentials = "DPoP" 1*SP token68; token68 = 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"=".`, nil}, malformed,
		variant{"tab", func(d *draft) {
			d.replaceField("Authorization", func(v string) string { return strings.Replace(v, " ", "\t", 1) })
		}},
		variant{"two-tokens", func(d *draft) { d.tokenText = func(t string) string { return t + " " + t } }},
		variant{"comma", func(d *draft) { d.tokenText = func(t string) string { return t + "," + t } }},
		variant{"parameter", func(d *draft) { d.tokenText = func(t string) string { return `token="` + t + `"` } }},
		variant{"quoted", func(d *draft) { d.tokenText = func(t string) string { return `"` + t + `"` } }},
		variant{"scheme-alone", func(d *draft) {
			d.replaceField("Authorization", func(v string) string { return v[:strings.IndexByte(v, ' ')] })
		}},
		variant{"padding-in-the-middle", func(d *draft) { d.tokenText = func(t string) string { return t[:10] + "=" + t[10:] } }},
	)
	s.refused(text{"AUTH-03", "RFC 9449, section 7.1", Must,
		"The access token is what follows the scheme: nothing more, nothing less.", nil}, anyRefusal,
		variant{"token-cut", func(d *draft) { d.tokenText = func(t string) string { return t[:len(t)-1] } }},
		variant{"token-longer", func(d *draft) { d.tokenText = func(t string) string { return t + "A" } }},
		variant{"token-lower-case", func(d *draft) { d.tokenText = strings.ToLower }},
		variant{"no-scheme", func(d *draft) {
			d.replaceField("Authorization", func(v string) string { return v[strings.IndexByte(v, ' ')+1:] })
		}},
	)

	none := text{"AUTH-04", "RFC 9110, section 15.5.2", Must,
		"The server generating a 401 response MUST send a WWW-Authenticate header field containing at least one challenge applicable to the target resource.", nil}
	s.refused(none, bareRefusal, variant{"no-credentials", nothing})
	s.add(none, "scheme-is-offered", func(p *play) {
		d := p.draft()
		nothing(d)
		res := p.send(d)
		p.refuse(res, bareRefusal)
		challenges, _ := wire.Challenges(res.Header)
		if _, ok := wire.Find(challenges, p.scheme()); !ok {
			p.fail("no %s challenge, although %s is what passes: %s", p.scheme(), p.scheme(), answerText(res))
		}
	})
	s.add(text{"AUTH-04", "RFC 6750, section 3.1", Should,
		"If the request lacks any authentication information (e.g., the client was unaware that authentication is necessary or attempted using an unsupported authentication method), the resource server SHOULD NOT include an error code or other error information.", nil},
		"no-error-information", func(p *play) {
			d := p.draft()
			nothing(d)
			res := p.send(d)
			p.refuse(res, bareRefusal)
			challenges, _ := wire.Challenges(res.Header)
			for _, c := range challenges {
				for _, name := range []string{"error", "error_description", "error_uri"} {
					if c.Has(name) {
						p.fail("the %s challenge has %s", c.Scheme, name)
					}
				}
			}
		})
	s.refused(none, anyRefusal,
		variant{"proof-without-token", func(d *draft) { d.noToken = true }},
		variant{"empty-authorization", func(d *draft) { nothing(d); d.field("Authorization", "") }},
	)

	s.refused(text{"AUTH-05", "RFC 6750, section 3.1", Should,
		"The same holds for a request that attempted an unsupported authentication method.", nil}, bareRefusal,
		variant{"basic", both(nothing, extra("Authorization", "Basic dXNlcjpwYXNz"))},
		variant{"negotiate", both(nothing, extra("Authorization", "Negotiate YII="))},
		variant{"token", func(d *draft) { d.scheme = "Token" }},
		variant{"mac", func(d *draft) { d.scheme = "MAC" }},
		variant{"mtls_pop", func(d *draft) { d.scheme = "MTLS_POP" }},
		variant{"dpop-prefix", func(d *draft) { d.scheme = "DPoPx" }},
		variant{"bearer-prefix", func(d *draft) { d.scheme = "Bearerx" }},
		variant{"jwt", func(d *draft) { d.scheme = "JWT" }},
	)

	several := text{"AUTH-06", "RFC 6750, section 2; RFC 9449, section 7.2", Must,
		"Clients MUST NOT use more than one method to transmit the token in each request; the answer to several is 400 invalid_request (RFC 9449, figure 19).", nil}
	second := func(scheme string, same bool) func(*draft) {
		return func(d *draft) {
			d.onRequest(func(r *wire.Request) {
				token := d.token
				if !same {
					token = "another-token"
				}
				r.Fields = append(r.Fields, wire.Field{Name: "Authorization", Value: scheme + " " + token})
			})
		}
	}
	s.refused(several, malformed,
		variant{"bearer-second", second("Bearer", true)},
		variant{"dpop-second", second("DPoP", true)},
		variant{"another-token-second", second("DPoP", false)},
		variant{"basic-second", second("Basic", false)},
		variant{"bearer-first", func(d *draft) {
			second("Bearer", true)(d)
			d.onRequest(func(r *wire.Request) { slices.Reverse(r.Fields) })
		}},
		variant{"other-case-of-the-name", func(d *draft) {
			d.onRequest(func(r *wire.Request) {
				r.Fields = append(r.Fields, wire.Field{Name: "authorization", Value: "Bearer x"})
			})
		}},
		variant{"empty-second", extra("Authorization", "")},
	)
	query := func(text string) func(*draft) {
		return func(d *draft) {
			d.onRequest(func(r *wire.Request) {
				sep := "?"
				if strings.Contains(r.Target, "?") {
					sep = "&"
				}
				r.Target += sep + strings.ReplaceAll(text, "TOKEN", url.QueryEscape(d.token))
			})
		}
	}
	alone := func(text string) func(*draft) {
		return both(func(d *draft) { d.noToken = true }, query(text))
	}
	s.refused(text{"AUTH-07", "RFC 9700, section 4.3.2; FAPI 2.0, section 5.3.4", Must,
		"Access tokens are not accepted in the query: they end up in logs and Referer fields.", nil}, anyRefusal,
		variant{"query", alone("access_token=TOKEN")},
		variant{"query-behind-semicolon", alone("a=1;access_token=TOKEN")},
		variant{"query-with-escaped-name", alone("access%5Ftoken=TOKEN")},
		variant{"query-called-token", alone("token=TOKEN")},
		variant{"query-without-proof", both(alone("access_token=TOKEN"), func(d *draft) { d.noProof = true })},
		variant{"fragment-in-target", alone("x#access_token=TOKEN")},
	)
	s.refused(text{"AUTH-08", "RFC 6750, sections 2 and 3.1", May,
		"A request that uses more than one method for including an access token is invalid_request. (OAuth 2.1 has servers ignore the one in the query: accept this row in a baseline then.)", nil}, malformed,
		variant{"query-and-field", query("access_token=TOKEN")},
		variant{"other-token-in-query", query("access_token=x")},
		variant{"behind-semicolon", query("a=1;access_token=x")},
		variant{"in-front-of-semicolon", query("access_token=x;a=1")},
		variant{"between-others", query("a=1&access_token=x&b=2")},
		variant{"without-a-value", query("access_token")},
		variant{"without-a-value-between-others", query("a=1&access_token&b=2")},
		variant{"empty", query("access_token=")},
		variant{"escaped-underscore", query("access%5Ftoken=x")},
		variant{"escaped-underscore-in-lower-case", query("a=b&access%5ftoken=x")},
		variant{"escaped-first-letter", query("%61ccess_token=x")},
		variant{"escaped-last-letter", query("access_toke%6E=x")},
		variant{"escaped-last-letter-in-lower-case", query("access_toke%6e&a=1")},
		variant{"escaped-around-the-underscore", query("acces%73_%74oken=x")},
		variant{"escaped-around-an-escaped-underscore", query("acces%73%5F%74oken=x")},
		variant{"escaped-throughout", query("%61%63%63%65%73%73%5f%74%6F%6b%65%6e=x")},
		variant{"behind-one-that-is-alike", query("access_toke=x&access_token=x")},
	)
	s.accepted(text{"AUTH-08", "RFC 6750, section 2.3", Practice,
		`The parameter is called "access_token": another name is another parameter, and the service's.`, nil},
		variant{"longer-name", query("access_tokens=x")},
		variant{"name-in-front", query("my_access_token=x")},
		variant{"letter-in-front", query("xaccess_token=x")},
		variant{"shorter-name", query("access_toke=x")},
		variant{"first-letter-missing", query("ccess_token=x")},
		variant{"no-underscore", query("accesstoken=x")},
		variant{"dash", query("access-token=x")},
		variant{"other-escape", query("access%5Btoken=x")},
		variant{"other-escape-in-front", query("access%4Ftoken=x")},
		variant{"other-letters-behind", query("access_tokom=x&access_takex=y&access_bearer=z")},
		variant{"other-letters-in-front", query("excess_token=x&acxess_token=y&success_token=z")},
		variant{"other-escaped-letters", query("%62ccess_token=x&access_toke%6F=y&acces%7A_token=z")},
		variant{"as-a-value", query("grant=access_token_x&b=my_access_tokens")},
		variant{"unfinished-escapes", query("access%5=x&a=%5&access%")},
		variant{"unfinished-name", query("a=access_&s_t&access_tok")},
		variant{"underscores-alone", query("_&__&5&%5F&s_t=_5_")},
	)
	form := func(d *draft) {
		d.method, d.noToken = "POST", true
		d.onRequest(func(r *wire.Request) {
			r.Body = "access_token=" + url.QueryEscape(d.token)
			r.Fields = append(r.Fields, wire.Field{Name: "Content-Type", Value: "application/x-www-form-urlencoded"})
		})
	}
	s.refused(text{"AUTH-10", "RFC 9449, section 7.1", Must,
		"A DPoP-bound access token is sent using the Authorization request header field: from nowhere else is it taken.", nil}, anyRefusal,
		variant{"form-body", form},
		variant{"cookie", func(d *draft) {
			d.noToken = true
			d.onRequest(func(r *wire.Request) {
				r.Fields = append(r.Fields, wire.Field{Name: "Cookie", Value: "access_token=" + d.token})
			})
		}},
		variant{"x-access-token", func(d *draft) {
			d.noToken = true
			d.onRequest(func(r *wire.Request) {
				r.Fields = append(r.Fields, wire.Field{Name: "X-Access-Token", Value: d.token}, wire.Field{Name: "X-Forwarded-Authorization", Value: d.scheme + " " + d.token})
			})
		}},
	)
	s.refused(text{"AUTH-11", "RFC 9449, section 7.1", Must,
		"This authentication scheme MUST NOT be used with the Proxy-Authenticate or Proxy-Authorization header fields.", nil}, bareRefusal,
		variant{"proxy-authorization", func(d *draft) {
			d.onRequest(func(r *wire.Request) {
				for i := range r.Fields {
					if r.Fields[i].Name == "Authorization" {
						r.Fields[i].Name = "Proxy-Authorization"
					}
				}
			})
		}})

	s.add(text{"AUTH-14", "RFC 9449, section 7.2", Should,
		"If the mechanism used to attempt authentication could be established unambiguously, then the corresponding challenge SHOULD be used to deliver error information.", nil},
		"error-under-the-scheme-used", func(p *play) {
			d := p.draft()
			tokenClaim("exp", int64(1))(d)
			res := p.send(d)
			p.refuse(res, invalidToken)
			challenges, _ := wire.Challenges(res.Header)
			for _, c := range challenges {
				if !strings.EqualFold(c.Scheme, p.scheme()) && c.Has("error") {
					p.fail("the %s challenge has an error too: %s", c.Scheme, answerText(res))
				}
			}
		})
	s.add(text{"AUTH-14", "RFC 9449, section 7.2", Should,
		"The same for a request that came as a bearer token.", not("unbound bearer tokens are not accepted", func(c *Config) bool { return !c.Unbound })},
		"error-under-bearer", func(p *play) {
			d := p.draft()
			d.unbind()
			d.scheme, d.noProof = "Bearer", true
			tokenClaim("exp", int64(1))(d)
			p.refuse(p.send(d), answer{[]int{401}, "Bearer", []string{"invalid_token"}})
		})
	s.add(text{"AUTH-18", "RFC 6750, section 3.1", Should,
		"insufficient_scope: the resource server SHOULD respond with the HTTP 403 (Forbidden) status code and MAY include the \"scope\" attribute with the scope necessary to access the protected resource.",
		not("--scope does not say what the target demands", func(c *Config) bool { return c.Scope == "" })},
		"insufficient-scope", func(p *play) {
			for _, scope := range []any{absent{}, "", "keybound-other", p.Scope + "x", "x" + p.Scope} {
				d := p.draft()
				tokenClaim("scope", scope)(d)
				res := p.send(d)
				p.refuse(res, answer{[]int{403}, "used", []string{"insufficient_scope"}})
				challenges, _ := wire.Challenges(res.Header)
				c, _ := wire.Find(challenges, p.scheme())
				for _, wanted := range strings.Fields(p.Scope) {
					if !slices.Contains(strings.Fields(c.Get("scope")), wanted) {
						p.fail("the challenge's scope %q does not name %s", c.Get("scope"), wanted)
					}
				}
			}
		})
	s.add(text{"AUTH-18", "RFC 6750, section 3", Must,
		"The scope attribute is a space-delimited list: order and other members do not matter.",
		not("--scope does not say what the target demands", func(c *Config) bool { return c.Scope == "" })},
		"other-scopes-beside", func(p *play) {
			d := p.draft()
			tokenClaim("scope", "keybound-a "+p.Scope+" keybound-b")(d)
			p.accept(p.send(d))
		})
	s.add(text{"AUTH-19", "RFC 9110, section 11.6.1", Practice,
		"Some user agents do not read several challenges in one field; some read the first alone: one field line each, DPoP first.", needsDPoP},
		"dpop-first", func(p *play) {
			challenges, _ := wire.Challenges(p.challenge.Header)
			lines := p.challenge.Header.Values("WWW-Authenticate")
			if len(lines) != len(challenges) {
				p.fail("%d challenges in %d field lines", len(challenges), len(lines))
			}
			if len(challenges) == 0 || !strings.EqualFold(challenges[0].Scheme, "DPoP") {
				p.fail("the first challenge is not DPoP: %s", answerText(p.challenge))
			}
		})
}

// everyAnswer are the rows that look at all answers of the run.
func (s *suite) everyAnswer() {
	observed := func(t text, kind string) {
		s.add(t, kind, func(p *play) {
			p.observed.mu.Lock()
			defer p.observed.mu.Unlock()
			if seen := p.observed.problems[kind]; len(seen) > 0 {
				p.fail("%s", strings.Join(seen, "; "))
			}
		})
	}
	observed(text{"ALL-AUTH-15", "RFC 9110, section 11.2", Must, "Authentication parameters are name/value pairs, where the name token is matched case-insensitively and each parameter name MUST only occur once per challenge; the field follows its grammar.", nil}, "grammar")
	observed(text{"ALL-AUTH-04", "RFC 9110, section 15.5.2", Must, "The server generating a 401 response MUST send a WWW-Authenticate header field containing at least one challenge.", nil}, "no-challenge")
	observed(text{"ALL-AUTH-12", "RFC 9449, section 7.1", Should, "An algs parameter SHOULD be included to signal to the client the JWS algorithms that are acceptable for the DPoP proof JWT.", nil}, "no-algs")
	observed(text{"ALL-AUTH-12", "RFC 9449, section 4.2", Must, "alg: It MUST NOT be none or an identifier for a symmetric algorithm (Message Authentication Code (MAC)): so algs names none of them.", nil}, "bad-algs")
	observed(text{"ALL-AUTH-16", "RFC 6750, section 3", Must, "This scheme MUST be followed by one or more auth-param values.", nil}, "bare-bearer")
	observed(text{"ALL-AUTH-17", "RFC 6750, section 3", Must, `Values for the "error" and "error_description" attributes (specified in Appendixes A.7 and A.8 of RFC 6749) MUST NOT include characters outside the set %x20-21 / %x23-5B / %x5D-7E.`, nil}, "charset")
	observed(text{"ALL-AUTH-17", "RFC 6750, section 3", Practice, "What an attacker wrote into a token or a proof does not come back in a challenge.", nil}, "reflected")
	observed(text{"ALL-AUTH-11", "RFC 9449, section 7.1", Must, "This authentication scheme MUST NOT be used with the Proxy-Authenticate or Proxy-Authorization header fields.", nil}, "proxy")
	observed(text{"ALL-AUTH-22", "RFC 6750, section 5.3", Practice, "Refusals are not stored by caches: Cache-Control: no-store.", nil}, "cacheable")
	observed(text{"ALL-DPOP-8-04", "RFC 9449, section 8", Must, "There MUST NOT be more than one DPoP-Nonce header.", nil}, "two-nonces")
	observed(text{"ALL-DPOP-8-02", "RFC 9449, section 8.1", Must, "nonce = 1*NQCHAR.", nil}, "nonce-syntax")
	observed(text{"ALL-DPOP-8.2-02", "RFC 9449, section 8.2", Should, "Responses that include the DPoP-Nonce HTTP header should be uncacheable.", nil}, "nonce-cacheable")
	observed(text{"ALL-DPOP-8.2-02", "RFC 9213, section 2.1; RFC 9449, section 8.2", Practice, "A field for some caches alone goes before Cache-Control: with a nonce none says anything else.", nil}, "nonce-cacheable-for-some")
	observed(text{"ALL-AUTH-13", "RFC 6750, section 3; RFC 8259", Practice, "A JSON body says what the challenge says.", nil}, "body")
	observed(text{"ALL-BCP9700-4.9.3", "RFC 9700, section 4.9.3", Must, "Tokens do not come back in responses.", nil}, "echo")
	observed(text{"ALL-HTTP", "RFC 9110, section 15.6", Practice, "No request of a client, however malformed, is an error of the server (5xx).", nil}, "server-error")
	observed(text{"ALL-HTTP", "RFC 9110, section 9.3.2", Must, "The server MUST NOT send content in the response to HEAD.", nil}, "head-body")
}
