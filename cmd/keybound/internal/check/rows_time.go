package check

import (
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/keybound-go/middleware/cmd/keybound/internal/pen"
	"github.com/keybound-go/middleware/cmd/keybound/internal/wire"
)

// nonces are the rows of RFC 9449, sections 8, 9 and 11.3.
func (s *suite) nonces() {
	on := all(needsDPoP, not("the server demands no nonces", func(c *Config) bool { return !c.Nonces }))
	needed := text{"DPOP-9-01", "RFC 9449, section 9", Must,
		"Resource servers use an HTTP 401 (Unauthorized) error code with an accompanying WWW-Authenticate: DPoP value and DPoP-Nonce value to accomplish this.", on}
	s.add(needed, "challenge", func(p *play) {
		d := p.draft()
		proofClaim("nonce", absent{})(d)
		res := p.send(d)
		p.refuse(res, useNonce)
		if len(res.Header.Values("DPoP-Nonce")) != 1 {
			p.fail("%d DPoP-Nonce fields in the challenge", len(res.Header.Values("DPoP-Nonce")))
		}
	})
	s.add(needed, "retry-with-the-nonce", func(p *play) {
		d := p.draft()
		proofClaim("nonce", absent{})(d)
		res := p.send(d)
		p.refuse(res, useNonce)
		again := p.draft()
		proofClaim("nonce", res.Header.Get("DPoP-Nonce"))(again)
		p.accept(p.send(again))
	})
	s.add(text{"DPOP-9-01", "RFC 9449, section 9", Practice,
		"A request without any proof is given a nonce too, so that the next one succeeds.", on},
		"nonce-for-a-request-without-proof", func(p *play) {
			d := p.draft()
			d.noProof = true
			res := p.send(d)
			p.refuse(res, anyRefusal)
			if res.Header.Get("DPoP-Nonce") == "" {
				p.fail("no DPoP-Nonce: %s", answerText(res))
			}
		})
	nonce := func(change func(string) string) func(*draft) { return proofClaimFrom("nonce", change) }
	s.refused(text{"DPOP-8-03", "RFC 9449, section 8", Must,
		"If the nonce claim in the DPoP proof does not exactly match a nonce recently supplied by the authorization server to the client, the authorization server MUST reject the request. This same error code is used when supplying a new nonce value when there was a nonce mismatch.", on}, useNonce,
		variant{"unknown", proofClaim("nonce", "keybound-unknown-nonce")},
		variant{"last-character-changed", nonce(func(n string) string { return n[:len(n)-1] + otherLetter(n[len(n)-1]) })},
		variant{"first-character-changed", nonce(func(n string) string { return otherLetter(n[0]) + n[1:] })},
		variant{"middle-character-changed", nonce(func(n string) string { i := len(n) / 2; return n[:i] + otherLetter(n[i]) + n[i+1:] })},
		variant{"cut", nonce(func(n string) string { return n[:len(n)-1] })},
		variant{"longer", nonce(func(n string) string { return n + "A" })},
		variant{"twice", nonce(func(n string) string { return n + n })},
		variant{"lower-case", nonce(swapCase)},
		variant{"2000-characters", nonce(func(n string) string { return strings.Repeat(n, 2000/len(n)+1)[:2000] })},
		variant{"600-characters", nonce(func(n string) string { return strings.Repeat(n, 600/len(n)+1)[:600] })},
		variant{"not-ascii", nonce(func(n string) string { return n + "\u00e9" })},
		variant{"space-behind", nonce(func(n string) string { return n + " " })},
		variant{"padded", nonce(func(n string) string { return n + "=" })},
		variant{"other-server", nonce(func(n string) string { return pen.Encode([]byte(randomText()))[:min(len(n), 26)] })},
	)
	s.refused(text{"DPOP-8-03", "RFC 9449, section 8", Must,
		"The same, for a nonce that is no text.", on},
		answer{[]int{401}, "DPoP", []string{"use_dpop_nonce", "invalid_dpop_proof"}},
		variant{"empty", proofClaim("nonce", "")},
		variant{"null", proofClaim("nonce", nil)},
		variant{"number", proofClaim("nonce", 1)},
		variant{"list", func(d *draft) {
			d.onProof(func(j *jwt) { j.claims["nonce"] = []any{j.claims["nonce"]} })
		}},
		variant{"in-the-header", func(d *draft) {
			d.onProof(func(j *jwt) { j.header["nonce"] = j.claims["nonce"]; j.claims["nonce"] = absent{} })
		}},
	)
	s.refused(text{"DPOP-11.3-01", "RFC 9449, section 11.3", Must,
		"A server MUST NOT accept any DPoP proofs without the nonce claim when a DPoP nonce has been provided to the client.", on}, useNonce,
		variant{"good-otherwise", proofClaim("nonce", absent{})},
		variant{"HEAD", both(func(d *draft) { d.method = "HEAD" }, proofClaim("nonce", absent{}))},
		variant{"POST", both(func(d *draft) { d.method = "POST" }, proofClaim("nonce", absent{}))},
	)
	s.add(text{"DPOP-8-01", "RFC 9449, section 8", Must, "Nonce values MUST be unpredictable.", on},
		"unpredictable", func(p *play) {
			var seen []string
			for range 3 {
				d := p.draft()
				proofClaim("nonce", absent{})(d)
				n := p.send(d).Header.Get("DPoP-Nonce")
				if len(n) < 16 {
					p.fail("%q is short enough to guess", n)
				}
				seen = append(seen, n)
			}
			if strings.Trim(seen[0], "0123456789") == "" {
				p.fail("%q is a number: a time or a counter", seen[0])
			}
		})
	s.add(text{"DPOP-36", "RFC 9449, section 8", Practice,
		"A challenge carries another nonce than the refused proof: clients take the same one for a loop.", on},
		"another-nonce-in-the-challenge", func(p *play) {
			d := p.draft()
			stale := "keybound-stale"
			proofClaim("nonce", stale)(d)
			if n := p.send(d).Header.Get("DPoP-Nonce"); n == "" || n == stale {
				p.fail("the challenge's nonce is %q", n)
			}
		})
	s.add(text{"DPOP-9-03", "RFC 9449, section 11.1", Must,
		"It is acceptable for clients to use the same nonce multiple times and for the server to accept the same nonce multiple times.", on},
		"the-same-nonce-twice", func(p *play) {
			n := p.nonce.get()
			for range 2 {
				d := p.draft()
				proofClaim("nonce", n)(d)
				p.accept(p.send(d))
			}
		})
	s.add(text{"DPOP-11.1-09", "RFC 9449, section 11.1", May,
		"As long as the jti value is tracked and duplicates are rejected for the lifetime of the nonce, there is no additional risk of token replay.", on},
		"replay-with-a-nonce", func(p *play) {
			d := p.draft()
			p.accept(p.send(d))
			p.refuse(p.send(d), answer{[]int{401}, "DPoP", []string{"invalid_dpop_proof"}})
		})
	s.add(text{"DPOP-8.2-01", "RFC 9449, section 8", Must,
		"Servers keep a window of recent nonces: one that a later response has replaced is good for a while.", on},
		"an-older-nonce", func(p *play) {
			before := p.nonce.get()
			challenge := p.draft()
			proofClaim("nonce", absent{})(challenge)
			p.send(challenge)
			d := p.draft()
			proofClaim("nonce", before)(d)
			p.accept(p.send(d))
		})
	aging := all(on, not("--window says no time that can be waited for", func(c *Config) bool { return c.Window == 0 || c.Window > 15*time.Second }))
	s.add(text{"DPOP-8.2-01", "RFC 9449, section 8", Must,
		"A nonce is one that the server has supplied recently: one from longer ago than proofs live is refused, with a new one.", aging},
		"a-nonce-of-long-ago", func(p *play) {
			challenge := p.draft()
			proofClaim("nonce", absent{})(challenge)
			before := p.send(challenge).Header.Get("DPoP-Nonce")
			d := p.draft()
			proofClaim("nonce", before)(d)
			p.accept(p.send(d))
			time.Sleep(p.Window + 2*time.Second)
			late := p.draft()
			proofClaim("nonce", before)(late)
			res := p.send(late)
			p.refuse(res, useNonce)
			if n := res.Header.Get("DPoP-Nonce"); n == "" || n == before {
				p.fail("the challenge's nonce is %q", n)
			}
			again := p.draft()
			proofClaim("nonce", res.Header.Get("DPoP-Nonce"))(again)
			p.accept(p.send(again))
		})
	s.add(text{"DPOP-8.2-01", "RFC 9449, section 8.2", Must,
		"The server supplies a new nonce in time: a client that takes it from each response is never challenged again.", aging},
		"no-second-challenge", func(p *play) {
			n := p.nonce.get()
			for end := time.Now().Add(p.Window + 2*time.Second); time.Now().Before(end); time.Sleep(time.Second) {
				d := p.draft()
				proofClaim("nonce", n)(d)
				res := p.send(d)
				p.accept(res)
				if next := res.Header.Get("DPoP-Nonce"); next != "" {
					n = next
				}
			}
		})
	old := func(d *draft) { proofClaim("iat", unix(-10*time.Minute))(d) }
	s.accepted(text{"DPOP-31", "RFC 9449, section 11.1", May,
		"Servers MAY limit DPoP proof lifetimes by using server-provided nonce values containing the time at the server rather than comparing the client-supplied iat time to the time at the server: then the client's clock does not matter.",
		all(on, not("the MCP profile wants iat within five minutes all the same", func(c *Config) bool { return c.Profile == MCP }))},
		variant{"stale-iat-with-a-good-nonce", old})
	s.refused(text{"DPOP-31", "RFC 9449, section 11.1", Must,
		"A stale iat without a good nonce does not pass.", on}, anyRefusal,
		variant{"stale-iat-without-a-nonce", both(old, proofClaim("nonce", absent{}))},
		variant{"stale-iat-with-a-bad-nonce", both(old, proofClaim("nonce", "keybound-unknown-nonce"))},
	)
}

// otherLetter is a base64url letter other than c that differs in its high bits, so that
// it stands for other bytes at the end of an encoding too.
func otherLetter(c byte) string {
	if c == 'Q' {
		return "g"
	}
	return "Q"
}

// replays are the rows of RFC 9449, section 11.1, about proofs that come twice.
func (s *suite) replays() {
	once := text{"DPOP-11.1-03", "RFC 9449, section 11.1", May,
		"In the context of the target URI, servers can store the jti value of each DPoP proof for the time window in which the respective DPoP proof JWT would be accepted to prevent multiple uses of the same DPoP proof. HTTP requests to the same URI for which the jti value has been seen before would be declined.", needsDPoP}
	s.add(once, "the-same-proof-again", func(p *play) {
		d := p.draft()
		p.accept(p.send(d))
		p.refuse(p.send(d), invalidProof)
		p.refuse(p.send(d), invalidProof)
	})
	s.add(once, "the-same-jti-in-a-new-proof", func(p *play) {
		d := p.draft()
		proofClaim("jti", "keybound-same")(d)
		p.accept(p.send(d))
		d.proof = ""
		proofClaim("iat", unix(-time.Second))(d)
		p.refuse(p.send(d), invalidProof)
	})
	for name, spelling := range inOrder(map[string]string{
		"escaped-letters": `\u006b\u0065y`, "escaped-solidus": `a\/b`, "escaped-controls": `\b\f\n\r\t\"\\`,
		"escaped-surrogates": `\ud83d\ude00`, "escaped-in-upper-case": `\u00E9`, "escaped-controls-by-number": `\u0008\u001f`,
	}) {
		s.add(once, "the-same-jti-with-"+name, func(p *play) {
			mark := randomText()
			d := p.draft()
			proofClaim("jti", json.RawMessage(`"`+mark+spelling+`"`))(d)
			p.accept(p.send(d))
			var plain string
			if err := json.Unmarshal([]byte(`"`+mark+spelling+`"`), &plain); err != nil {
				p.fail("%v", err)
			}
			d.proof = ""
			proofClaim("jti", plain)(d)
			p.refuse(p.send(d), invalidProof)
			// Another text is another jti, however alike.
			d.proof = ""
			proofClaim("jti", plain+"x")(d)
			p.accept(p.send(d))
		})
	}
	s.add(once, "jtis-that-differ-in-one-letter", func(p *play) {
		d := p.draft()
		mark := randomText()
		for _, jti := range []string{mark, mark + "A", "A" + mark, mark[:len(mark)-1] + "1", mark[:12] + "1" + mark[13:], strings.ToLower(mark), mark + " ", mark + "\u0000"} {
			d.proof = ""
			proofClaim("jti", jti)(d)
			p.accept(p.send(d))
		}
	})
	s.add(once, "with-another-method-and-htu-spelling", func(p *play) {
		d := p.draft()
		proofClaim("jti", randomText())(d)
		p.accept(p.send(d))
		jti := d.proofEdits
		d.proof, d.proofEdits = "", jti
		proofClaimFrom("htu", func(u string) string { return u + "?a=b" })(d)
		p.refuse(p.send(d), invalidProof)
	})
	s.add(once, "with-another-query", func(p *play) {
		d := p.draft()
		p.accept(p.send(d))
		d.query = "keybound=1"
		p.refuse(p.send(d), invalidProof)
	})
	s.add(once, "malleable-signature", func(p *play) {
		d := p.draft()
		p.accept(p.send(d))
		// (r, n-s) verifies as well: the same proof in another spelling.
		order, _ := new(big.Int).SetString("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551", 16)
		parts := strings.Split(d.proof, ".")
		sig := decode64(parts[2])
		other := new(big.Int).Sub(order, new(big.Int).SetBytes(sig[32:]))
		d.proof = parts[0] + "." + parts[1] + "." + pen.Encode(append(slices.Clone(sig[:32]), other.FillBytes(make([]byte, 32))...))
		p.refuse(p.send(d), invalidProof)
	})
	s.add(once, "after-a-hundred-others", func(p *play) {
		d := p.draft()
		p.accept(p.send(d))
		for range 100 {
			other := p.draft()
			other.token = d.token
			other.key = d.key
			p.accept(p.send(other))
		}
		p.refuse(p.send(d), invalidProof)
	})
	s.add(once, "twenty-at-once", func(p *play) {
		d := p.draft()
		r := p.build(d)
		var mu sync.Mutex
		var wg sync.WaitGroup
		passed := 0
		for range 20 {
			wg.Go(func() {
				res, err := p.transmit(d.cert, r)
				mu.Lock()
				defer mu.Unlock()
				if err == nil && res.Status/100 == 2 {
					passed++
				}
			})
		}
		wg.Wait()
		if passed != 1 {
			panic(outcome{status: Failed, reason: "of twenty copies sent at once, " + itoa(passed) + " passed", accepted: passed > 1})
		}
	})
	s.add(once, "after-three-seconds", func(p *play) {
		d := p.draft()
		p.accept(p.send(d))
		time.Sleep(3 * time.Second)
		p.refuse(p.send(d), invalidProof)
	})
	late := once
	late.applies = all(needsDPoP, not("--window says no time that can be waited for", func(c *Config) bool { return c.Window == 0 || c.Window > 15*time.Second }))
	s.add(late, "at-the-end-of-the-window", func(p *play) {
		d := p.draft()
		p.accept(p.send(d))
		for _, left := range []time.Duration{p.Window / 2, 2 * time.Second, time.Second} {
			time.Sleep(p.Window/2 - left/2)
			p.refuse(p.send(d), anyRefusal)
		}
	})
	s.add(once, "with-one-more-field", func(p *play) {
		d := p.draft()
		p.accept(p.send(d))
		d.field("X-Keybound", "1")
		p.refuse(p.send(d), invalidProof)
	})
	t := once
	t.applies = all(needsDPoP, not("the target does not take HEAD", func(c *Config) bool { return !c.HEAD }))
	s.add(t, "GET-proof-for-HEAD-afterwards", func(p *play) {
		d := p.draft()
		p.accept(p.send(d))
		d.method = "HEAD"
		p.refuse(p.send(d), invalidProof)
	})
	s.add(text{"DPOP-11.1-06", "RFC 9449, section 4.2", Must,
		"jti is unique among the proofs of a client: two clients that chose the same one do not get in each other's way.", needsDPoP},
		"the-same-jti-by-two-clients", func(p *play) {
			jti := randomText()
			for range 2 {
				d := p.draft()
				proofClaim("jti", jti)(d)
				p.accept(p.send(d))
			}
		})
	s.add(text{"DPOP-11.1-05", "RFC 9449, section 11.1", Practice,
		"A proof that was refused has not been used: an attacker who knows a jti cannot use it up for its client.", needsDPoP},
		"a-refused-proof-uses-nothing-up", func(p *play) {
			d := p.draft()
			jti := randomText()
			proofClaim("jti", jti)(d)
			d.onProof(func(j *jwt) { j.claims["ath"] = pen.Digest("another token") })
			p.refuse(p.send(d), invalidProof)
			good := p.draft()
			good.key, good.token = d.key, d.token
			proofClaim("jti", jti)(good)
			p.accept(p.send(good))
		})
	s.add(text{"DPOP-11.1-05", "RFC 9449, section 11.1", Practice,
		"The same where the token is refused, or the signature is wrong.", needsDPoP},
		"a-forged-proof-uses-nothing-up", func(p *play) {
			jti := randomText()
			d := p.draft()
			proofClaim("jti", jti)(d)
			d.onProof(func(j *jwt) { j.key = unknownKey("") }) // under the client's own jwk
			p.refuse(p.send(d), invalidProof)
			good := p.draft()
			good.key, good.token = d.key, d.token
			proofClaim("jti", jti)(good)
			p.accept(p.send(good))
		})
	s.refused(text{"DPOP-11.1-04", "RFC 9449, section 11.1", Should,
		"A server that is tracking jti values should reject DPoP proof JWTs with unnecessarily large jti values or store only a hash thereof.", needsDPoP}, anyRefusal,
		variant{"jti-of-6000-bytes", proofClaim("jti", strings.Repeat("j", 6000))},
		variant{"jti-of-3000-bytes", proofClaim("jti", strings.Repeat("j", 3000))})
	s.accepted(text{"DPOP-11.1-04", "RFC 9449, section 4.2", Must,
		"jti: at least 96 bits of pseudorandom data in any suitable encoding.", needsDPoP},
		variant{"uuid", proofClaim("jti", "6ba7b810-9dad-41d1-80b4-00c04fd430c8")},
		variant{"16-characters", now(func() func(*draft) { return proofClaim("jti", randomText()[:16]) })},
		variant{"200-characters", now(func() func(*draft) { return proofClaim("jti", randomText()+strings.Repeat("j", 174)) })},
		variant{"not-ascii", now(func() func(*draft) { return proofClaim("jti", randomText()+"\u00e9\u2028") })},
	)
}

// targets are the rows about htu: RFC 9449, section 4.3, check 9, with RFC 3986.
func (s *suite) targets() {
	match := text{"DPOP-4.3-09", "RFC 9449, section 4.3, check 9", Must,
		"The htu claim matches the HTTP URI value for the HTTP request in which the JWT was received, ignoring any query and fragment parts.", needsDPoP}
	htu := func(change func(scheme, host, path string) string) func(*draft) {
		return proofClaimFrom("htu", func(u string) string {
			scheme, rest, _ := strings.Cut(u, "://")
			host, path, _ := strings.Cut(rest, "/")
			return change(scheme, host, "/"+path)
		})
	}
	s.accepted(match,
		variant{"query-in-htu", htu(func(s, h, p string) string { return s + "://" + h + p + "?a=b" })},
		variant{"fragment-in-htu", htu(func(s, h, p string) string { return s + "://" + h + p + "#a?b" })},
		variant{"query-in-the-request", func(d *draft) { d.query = "keybound=1&a=%26" }},
		variant{"other-query-in-both", both(func(d *draft) { d.query = "a=1" }, htu(func(s, h, p string) string { return s + "://" + h + p + "?a=2" }))},
		variant{"odd-query", func(d *draft) { d.query = "a=%zz&b=;;&c=\"{}" }},
		variant{"question-mark-alone", htu(func(s, h, p string) string { return s + "://" + h + p + "?" })},
	)
	s.accepted(text{"URI-01", "RFC 3986, section 6.2.2.1; RFC 9449, section 4.3", Should,
		"Servers SHOULD employ syntax-based normalization (Section 6.2.2 of RFC 3986) and scheme-based normalization (Section 6.2.3 of RFC 3986) before comparing the htu claim: scheme and host are case-insensitive.", needsDPoP},
		variant{"upper-case-scheme", htu(func(s, h, p string) string { return strings.ToUpper(s) + "://" + h + p })},
		variant{"upper-case-host", htu(func(s, h, p string) string { return s + "://" + strings.ToUpper(h) + p })},
	)
	s.refused(match, invalidProof,
		variant{"other-host", htu(func(s, h, p string) string { return s + "://evil.example" + p })},
		variant{"subdomain", htu(func(s, h, p string) string { return s + "://x." + h + p })},
		variant{"host-as-prefix", htu(func(s, h, p string) string {
			return s + "://" + strings.Replace(h, ":", ".evil.example:", 1) + ".evil.example" + p
		})},
		variant{"trailing-dot", htu(func(s, h, p string) string {
			host, port, found := strings.Cut(h, ":")
			if found {
				port = ":" + port
			}
			return s + "://" + host + "." + port + p
		})},
		variant{"other-port", htu(func(s, h, p string) string { host, _, _ := strings.Cut(h, ":"); return s + "://" + host + ":1" + p })},
		variant{"other-scheme", htu(func(s, h, p string) string {
			return map[string]string{"https": "http", "http": "https"}[s] + "://" + h + p
		})},
		variant{"wss", htu(func(s, h, p string) string { return "wss://" + h + p })},
		variant{"no-scheme", htu(func(s, h, p string) string { return "//" + h + p })},
		variant{"path-alone", htu(func(s, h, p string) string { return p })},
		variant{"host-alone", htu(func(s, h, p string) string { return h + p })},
		variant{"opaque", htu(func(s, h, p string) string { return s + ":" + h + p })},
		variant{"no-host", htu(func(s, h, p string) string { return s + ":///" + p })},
		variant{"userinfo", htu(func(s, h, p string) string { return s + "://user@" + h + p })},
		variant{"real-host-as-userinfo", htu(func(s, h, p string) string { return s + "://" + h + "@evil.example" + p })},
		variant{"path-longer", htu(func(s, h, p string) string { return s + "://" + h + p + "x" })},
		variant{"path-with-slash", htu(func(s, h, p string) string { return s + "://" + h + p + "/" })},
		variant{"path-below", htu(func(s, h, p string) string { return s + "://" + h + p + "/a" })},
		variant{"path-above", htu(func(s, h, p string) string { return s + "://" + h + "/keybound-other" })},
		variant{"double-slash", htu(func(s, h, p string) string { return s + "://" + h + "/" + p })},
		variant{"path-parameter", htu(func(s, h, p string) string { return s + "://" + h + p + ";a=1" })},
		variant{"space-behind", htu(func(s, h, p string) string { return s + "://" + h + p + " " })},
		variant{"space-in-front", htu(func(s, h, p string) string { return " " + s + "://" + h + p })},
		variant{"backslash", htu(func(s, h, p string) string { return s + "://" + h + `\` + p })},
		variant{"escape-that-is-none", htu(func(s, h, p string) string { return s + "://" + h + p + "%zz" })},
		variant{"control-character", htu(func(s, h, p string) string { return s + "://" + h + p + "\x00" })},
		variant{"wildcard", htu(func(s, h, p string) string { return s + "://" + h + "/*" })},
		variant{"another-uri-behind", htu(func(s, h, p string) string { return s + "://" + h + p + "," + s + "://evil.example/" })},
		variant{"host-not-ascii", htu(func(s, h, p string) string { return s + "://" + h + "\u3002" + p })},
		variant{"scheme-alone", htu(func(s, h, p string) string { return s + "://" })},
		variant{"empty-but-for-the-query", htu(func(s, h, p string) string { return "?" + s + "://" + h + p })},
		variant{"longer-scheme", htu(func(s, h, p string) string { return s + "s://" + h + p })},
		variant{"other-scheme-of-the-same-length", htu(func(s, h, p string) string { return strings.Repeat("x", len(s)) + "://" + h + p })},
		variant{"long-s-in-the-scheme", htu(func(s, h, p string) string { return "http\u017f://" + h + p })},
		variant{"port-with-a-letter", htu(func(s, h, p string) string { return s + "://" + h + "a" + p })},
		variant{"port-with-a-sign", htu(func(s, h, p string) string {
			i := strings.LastIndexByte(h, ':')
			return s + "://" + h[:max(i, 0)] + ":+" + h[i+1:] + p
		})},
		variant{"two-ports", htu(func(s, h, p string) string { return s + "://" + h + ":1" + p })},
		variant{"percent-in-the-host", htu(func(s, h, p string) string { return s + "://%31" + h[1:] + p })},
		variant{"brackets-around-the-host", htu(func(s, h, p string) string { return s + "://[" + h + "]" + p })},
		variant{"bracket-in-front", htu(func(s, h, p string) string { return s + "://[" + h + p })},
		variant{"tab-behind", htu(func(s, h, p string) string { return s + "://" + h + p + "\t" })},
		variant{"dot-segments-beyond", htu(func(s, h, p string) string { return s + "://" + h + p + "/../keybound-other" })},
	)
	below := match
	below.applies = all(needsDPoP, not("the target has no path", func(c *Config) bool { return c.path() == "/" }))
	s.refused(below, invalidProof,
		variant{"fragment-before-the-path", htu(func(s, h, p string) string { return s + "://" + h + "#" + p + "x" })},
		variant{"query-before-the-path", htu(func(s, h, p string) string { return s + "://" + h + "?" + p + "x" })},
	)
	ported := all(needsDPoP, not("the server is called without a port", func(c *Config) bool { return c.Target.Port() == "" || c.Origin != "" }))
	s.refused(text{"URI-02", "RFC 3986, section 3.2.3", Must,
		"The port is a part of the authority: none means the scheme's default, which is another.", ported}, invalidProof,
		variant{"no-host-and-port", htu(func(s, h, p string) string { return s + "://" + h[max(strings.LastIndexByte(h, ':'), 0):] + p })},
		variant{"without-the-port", htu(func(s, h, p string) string { return s + "://" + h[:strings.LastIndexByte(h, ':')] + p })},
		variant{"empty-port-for-another", htu(func(s, h, p string) string { return s + "://" + h[:strings.LastIndexByte(h, ':')+1] + p })},
		variant{"default-port-for-another", htu(func(s, h, p string) string { return s + "://" + h[:strings.LastIndexByte(h, ':')] + ":443" + p })},
		variant{"zeros-before-the-port", htu(func(s, h, p string) string {
			i := strings.LastIndexByte(h, ':')
			return s + "://" + h[:i] + ":0" + h[i+1:] + p
		})},
	)
	portless := all(needsDPoP, not("the server is called by a port", func(c *Config) bool { return c.Target.Port() != "" }), needsTLS)
	s.accepted(text{"URI-02", "RFC 3986, section 6.2.3; RFC 9449, section 4.3", Should,
		"Scheme-Based Normalization: the default port, written out or left empty, is the same.", portless},
		variant{"default-port", htu(func(s, h, p string) string { return s + "://" + h + ":443" + p })},
		variant{"empty-port", htu(func(s, h, p string) string { return s + "://" + h + ":" + p })},
	)
	s.refused(text{"URI-02", "RFC 3986, section 6.2.3", Must,
		"The default port of another scheme is another port.", portless}, invalidProof,
		variant{"port-80-under-https", htu(func(s, h, p string) string { return s + "://" + h + ":80" + p })},
		variant{"http-with-port-443", htu(func(s, h, p string) string { return "http://" + h + ":443" + p })},
		variant{"port-4430", htu(func(s, h, p string) string { return s + "://" + h + ":4430" + p })},
		variant{"port-44", htu(func(s, h, p string) string { return s + "://" + h + ":44" + p })},
	)
	root := all(needsDPoP, not("the target has a path", func(c *Config) bool { return c.path() != "/" || c.Origin != "" }))
	s.accepted(text{"URI-05", "RFC 3986, section 6.2.3; RFC 9449, section 4.3", Should,
		"Scheme-Based Normalization: an empty path is the same as one slash.", root},
		variant{"empty-path", htu(func(s, h, p string) string { return s + "://" + h })},
		variant{"empty-path-and-query", htu(func(s, h, p string) string { return s + "://" + h + "?a=/b" })},
		variant{"empty-path-and-fragment", htu(func(s, h, p string) string { return s + "://" + h + "#/b" })},
		variant{"dot-segments-alone", htu(func(s, h, p string) string { return s + "://" + h + "/./a/.." })},
	)
	s.refused(text{"URI-05", "RFC 3986, section 6.2.3", Must,
		"A path that is not empty is not.", root}, invalidProof,
		variant{"two-slashes", htu(func(s, h, p string) string { return s + "://" + h + "//" })},
		variant{"escaped-slash", htu(func(s, h, p string) string { return s + "://" + h + "/%2F" })},
	)
	prefixed := all(needsDPoP, not("--origin has no path", func(c *Config) bool { return strings.Count(c.Origin, "/") < 3 }))
	s.refused(text{"URI-08", "RFC 9449, section 4.3, check 9", Must,
		"Behind a proxy that strips a prefix, htu is the URI that the client called: with the prefix, exactly once.", prefixed}, invalidProof,
		variant{"without-the-prefix", proofURL(func(c *Config) string { return c.Target.Scheme + "://" + c.Target.Host + c.path() })},
		variant{"the-prefix-alone", proofURL(func(c *Config) string { return c.Origin })},
		variant{"the-prefix-twice", proofURL(func(c *Config) string {
			return c.Origin + c.Origin[strings.LastIndexByte(c.Origin, '/'):] + c.path()
		})},
		variant{"the-prefix-and-more", proofURL(func(c *Config) string { return c.Origin + "x" + c.path() })},
		variant{"the-prefix-cut", proofURL(func(c *Config) string { return c.Origin[:len(c.Origin)-1] + c.path() })},
		variant{"the-prefix-in-another-case", proofURL(func(c *Config) string {
			i := strings.LastIndexByte(c.Origin, '/')
			return c.Origin[:i] + strings.ToUpper(c.Origin[i:]) + c.path()
		})},
		variant{"out-of-the-prefix", func(d *draft) {
			good := d.path
			d.path = "/.." + good
			d.onProof(func(j *jwt) { j.claims["htu"] = d.config.Target.Scheme + "://" + d.config.Target.Host + good })
		}},
		variant{"out-of-the-prefix-as-it-stands", func(d *draft) { d.path = "/.." + d.path }},
		variant{"out-of-the-prefix-escaped", func(d *draft) { d.path = "/%2e%2E" + d.path }},
		variant{"out-of-the-prefix-half-escaped", func(d *draft) { d.path = "/a/.%2E/.." + d.path }},
	)
	s.accepted(text{"URI-08", "RFC 9449, section 4.3, check 9; RFC 3986, section 6.2.2", Should,
		"The prefix is compared as the rest of the path is.", prefixed},
		variant{"prefix-with-an-escape", proofURL(func(c *Config) string {
			i := strings.LastIndexByte(c.Origin, '/')
			return c.Origin[:i+1] + fmt.Sprintf("%%%02x", c.Origin[i+1]) + c.Origin[i+2:] + c.path()
		})},
		variant{"dot-segments-in-front", proofURL(func(c *Config) string {
			i := strings.LastIndexByte(c.Origin, '/')
			return c.Origin[:i] + "/a/.." + c.Origin[i:] + c.path()
		})},
	)
	literal := func(host string) func(*draft) {
		return htu(func(s, h, p string) string {
			_, port, _ := strings.Cut(h[strings.LastIndexByte(h, ']')+1:], ":")
			if port != "" {
				port = ":" + port
			}
			return s + "://[" + host + "]" + port + p
		})
	}
	six := all(needsDPoP, not("the server is not called by ::1", func(c *Config) bool { return c.Target.Hostname() != "::1" }))
	s.accepted(text{"URI-09", "RFC 3986, section 3.2.2; RFC 5952", Should,
		"An IPv6 literal is compared as the address that it is.", six},
		variant{"as-it-is", literal("::1")}, variant{"in-full", literal("0:0:0:0:0:0:0:1")}, variant{"with-zeros", literal("0000::0001")})
	s.refused(text{"URI-09", "RFC 3986, section 3.2.2; RFC 6874", Must,
		"Another address, or one with a zone, is not the server's.", six}, invalidProof,
		variant{"another-address", literal("::2")}, variant{"zone", literal("::1%25lo")}, variant{"ipv4-mapped", literal("::ffff:127.0.0.1")},
		variant{"no-brackets", htu(func(s, h, p string) string { return s + "://" + strings.NewReplacer("[", "", "]", "").Replace(h) + p })})
	lie := func(fields ...string) func(*draft) {
		return func(d *draft) {
			d.proofURL = "https://evil.example" + d.path
			for i := 0; i < len(fields); i += 2 {
				d.field(fields[i], fields[i+1])
			}
		}
	}
	authority := text{"DPOP-4.3-09b", "RFC 9110, section 7.4; RFC 9449, section 4.3", Must,
		"A server that takes its own name from the request accepts proofs that were made for other servers: a malicious server replays those that it receives.", needsDPoP}
	absolute := func(scheme string) func(*draft) {
		return func(d *draft) {
			d.onRequest(func(r *wire.Request) { r.Target = scheme + "://" + d.config.Client.Host + r.Target })
		}
	}
	plain := all(needsDPoP, needsTLS, not("--origin says another name", func(c *Config) bool { return c.Origin != "" }))
	s.accepted(text{"URI-10", "RFC 9112, section 3.2.2", Must,
		"A server MUST accept the absolute-form in requests even though most HTTP/1.1 clients will only send the absolute-form to a proxy.", plain},
		variant{"absolute-form", absolute("https")},
		variant{"absolute-form-in-upper-case", absolute("HTTPS")})
	s.refused(text{"URI-10", "RFC 9110, section 7.4", Must,
		"A server rejects a request that was meant for another one: by its scheme, too.", plain}, anyRefusal,
		variant{"absolute-form-of-another-scheme", both(absolute("http"), func(d *draft) {
			d.onProof(func(j *jwt) { j.claims["htu"] = "http" + strings.TrimPrefix(j.claims["htu"].(string), "https") })
		})},
		variant{"absolute-form-of-another-scheme-proof-for-this", absolute("http")},
		variant{"absolute-form-of-another-host-proof-for-this", func(d *draft) {
			d.onRequest(func(r *wire.Request) { r.Target = "https://evil.example" + r.Target })
		}})
	s.refused(authority, anyRefusal,
		variant{"host", lie("Host", "evil.example")},
		variant{"absolute-form", both(lie(), func(d *draft) {
			d.onRequest(func(r *wire.Request) { r.Target = "https://evil.example" + r.Target })
		})},
		variant{"x-forwarded-host", lie("X-Forwarded-Host", "evil.example")},
		variant{"x-forwarded-host-and-proto", lie("X-Forwarded-Host", "evil.example", "X-Forwarded-Proto", "https", "X-Forwarded-Port", "443")},
		variant{"forwarded", lie("Forwarded", "host=evil.example;proto=https")},
		variant{"x-original-host", lie("X-Original-Host", "evil.example", "X-Host", "evil.example", "X-Forwarded-Server", "evil.example")},
		variant{"x-original-url", lie("X-Original-URL", "https://evil.example/", "X-Rewrite-URL", "https://evil.example/")},
		variant{"origin-and-referer", lie("Origin", "https://evil.example", "Referer", "https://evil.example/")},
	)
	path := func(fields ...string) func(*draft) {
		return func(d *draft) {
			d.onProof(func(j *jwt) { j.claims["htu"] = p2(j.claims["htu"].(string)) })
			for i := 0; i < len(fields); i += 2 {
				d.field(fields[i], fields[i+1])
			}
		}
	}
	s.refused(authority, anyRefusal,
		variant{"path-from-x-original-url", path("X-Original-URL", "/keybound-other")},
		variant{"path-from-x-rewrite-url", path("X-Rewrite-URL", "/keybound-other")},
		variant{"path-from-x-forwarded-prefix", path("X-Forwarded-Prefix", "/keybound-other", "X-Script-Name", "/keybound-other")},
		variant{"path-from-x-forwarded-uri", path("X-Forwarded-Uri", "/keybound-other")},
	)

	served := all(needsDPoP, not("nothing below the target is served alike", func(c *Config) bool { return !c.Subtree }))
	// The claim is below the target too, unless it is from the root on, where it leads
	// above it.
	pair := func(request, claim string, fromRoot ...bool) func(*draft) {
		return func(d *draft) {
			base := d.path
			d.path = strings.TrimSuffix(base, "/") + request
			d.onProof(func(j *jwt) {
				u := j.claims["htu"].(string)
				j.claims["htu"] = strings.TrimSuffix(u, request) + claim
				if len(fromRoot) > 0 {
					j.claims["htu"] = strings.TrimSuffix(u, d.path) + strings.TrimSuffix(claim, request) + d.path
				}
			})
		}
	}
	same := text{"URI-03", "RFC 3986, section 6.2.2.2; RFC 9449, section 4.3", Should,
		"Servers SHOULD employ syntax-based normalization: escapes in either case, and unreserved characters escaped or not, are the same in htu.", served}
	s.accepted(same,
		variant{"as-it-stands", pair("/~user", "/~user")},
		variant{"claim-escapes-tilde", pair("/~user", "/%7Euser")},
		variant{"claim-escapes-a-letter", pair("/abc", "/%61bc")},
		variant{"escape-in-lower-case", pair("/a%2Fb", "/a%2fb")},
		variant{"escape-in-upper-case", pair("/a%2fb", "/a%2Fb")},
		variant{"escape-in-both", pair("/%7Euser", "/%7Euser")},
		variant{"escaped-at-sign", pair("/a%40b", "/a%40b")},
		variant{"dot-segment-in-the-claim", pair("/c", "/b/../c")},
		variant{"escaped-dot-segment-in-the-claim", pair("/c", "/b/%2e%2e/c")},
		variant{"single-dot-in-the-claim", pair("/a/c", "/a/./c")},
		variant{"utf-8-in-the-claim", pair("/%C3%A9", "/\u00e9")},
		variant{"dot-segment-at-the-end", pair("/c/", "/c/.")},
		variant{"double-dot-segment-at-the-end", pair("/c/", "/c/b/..")},
		variant{"several-dot-segments", pair("/c", "/a/b/../.././c")},
		variant{"dots-that-are-no-segments", pair("/...", "/...")},
		variant{"dots-with-letters", pair("/.a/b../..c", "/.a/b../..c")},
		variant{"escaped-digit-and-sign", pair("/1-_.~", "/%31%2D%5F%2e%7E")},
		variant{"escaped-last-and-first-letters", pair("/azAZ09", "/%61%7a%41%5A%30%39")},
		variant{"escape-in-mixed-case", pair("/a%c3%A9b", "/a%C3%a9b")},
		variant{"escaped-letter-beside-another", pair("/a%2Fbc", "/a%2f%62c")},
		variant{"all-that-may-stand", pair("/a:b@c!$&'()*+,;=", "/a:b@c!$&'()*+,;=")},
		variant{"quotes-and-others-in-the-claim", pair("/%22%3C%3E%5E%60%7C", "/\"<>^`|")},
		variant{"four-bytes-in-the-claim", pair("/%F0%9F%98%80", "/\U0001f600")},
		variant{"braces-in-the-claim", pair("/a%7Bb%7D", "/a{b}")},
		variant{"sub-delimiters", pair("/a;b=1,c!$&'()*+", "/a;b=1,c!$&'()*+")},
	)
	above := same
	above.applies = all(served, not("--origin has a path", func(c *Config) bool { return c.Origin != "" }))
	s.accepted(above, variant{"dot-segments-above-the-root", pair("/c", "/../../../../../c", true)})
	s.refused(text{"URI-06", "RFC 3986, section 6.2.2", Must,
		"What RFC 3986 does not call equivalent is not: a proof for one resource is not good for another.", served}, invalidProof,
		variant{"escaped-slash", pair("/a/b", "/a%2Fb")},
		variant{"slash-for-an-escaped-one", pair("/a%2Fb", "/a/b")},
		variant{"at-sign", pair("/a@b", "/a%40b")},
		variant{"escaped-at-sign-for-at-sign", pair("/a%40b", "/a@b")},
		variant{"case-of-the-path", pair("/Orders", "/orders")},
		variant{"trailing-slash", pair("/a/", "/a")},
		variant{"no-trailing-slash", pair("/a", "/a/")},
		variant{"path-parameters", pair("/a;x=1", "/a")},
		variant{"escaped-twice", pair("/a%2520b", "/a%20b")},
		variant{"plus-for-space", pair("/a+b", "/a%20b")},
		variant{"escaped-question-mark", pair("/a%3Fb", "/a?b")},
		variant{"escaped-hash", pair("/a%23b", "/a#b")},
		variant{"null-byte", pair("/a%00", "/a")},
		variant{"another-escaped-byte", pair("/a%2Fb", "/a%2Eb")},
		variant{"another-escaped-reserved-byte", pair("/a%2Fb", "/a%3Fb")},
		variant{"digits-that-are-no-escape", pair("/aab", "/aAb")},
		variant{"case-behind-an-escape", pair("/%2Fab", "/%2FaB")},
		variant{"case-two-behind-an-escape", pair("/%2Fcab", "/%2FcAb")},
		variant{"unfinished-escape", pair("/a", "/a%4")},
		variant{"percent-at-the-end", pair("/a", "/a%")},
		variant{"escape-of-no-digits", pair("/ag", "/a%g1")},
		variant{"space-for-an-escaped-one", pair("/a%20b", "/a b")},
		variant{"backslash-for-an-escaped-one", pair("/a%5Cb", `/a\b`)},
		variant{"dot-segment-for-a-directory", pair("/c", "/c/.")},
		variant{"one-dot-segment-too-many", pair("/b/c", "/b/../c")},
		variant{"shorter", pair("/abc", "/ab")},
		variant{"same-length", pair("/abc", "/abd")},
		variant{"first-letter", pair("/abc", "/bbc")},
	)
	s.refused(text{"URI-04", "RFC 3986, section 6.2.2.3", Practice,
		"Routers read a request target as it stands: a proof for /orders is not good for /admin/../orders, nor for /%6frders.", served}, anyRefusal,
		variant{"double-slash-in-the-request", pair("/a//b", "/a/b")},
		variant{"dots-in-the-request", pair("/admin/../orders", "/orders")},
		variant{"escaped-dots-in-the-request", pair("/admin/%2e%2e/orders", "/orders")},
		variant{"escaped-letter-in-the-request", pair("/%6frders", "/orders")},
		variant{"dot-in-the-request", pair("/./orders", "/orders")},
		variant{"backslash-in-the-request", pair(`/admin%5C..%5Corders`, "/orders")},
	)
}

// proofURL claims another htu.
func proofURL(f func(*Config) string) func(*draft) {
	return func(d *draft) { d.onProof(func(j *jwt) { j.claims["htu"] = f(d.config) }) }
}

// p2 replaces the path of an htu.
func p2(htu string) string {
	i := strings.Index(htu, "://") + 3
	if j := strings.IndexByte(htu[i:], '/'); j >= 0 {
		return htu[:i+j] + "/keybound-other"
	}
	return htu + "/keybound-other"
}
