package middleware

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/oidc"
)

// challenges are the schemes that a guard offers, and what stands in each of
// their challenges. They follow from the configuration and the rules, and never
// from a request.
type challenges struct {
	offered  []scheme // DPoP first: some clients read the first field line only
	both     bool     // a token that is bound both ways could pass
	realm    string   // `realm="..."`
	algs     string   // `, algs="..."`
	metadata string   // `, resource_metadata="..."`, or nothing
	describe bool
}

// newChallenges offers the schemes with which some token could satisfy the rules.
func newChallenges(c *config, rules []Rule) challenges {
	var possible [numShapes]bool
	for s := range numShapes {
		possible[s] = c.accepts(s) && allOfRule(rules).admits(s)
	}
	ch := challenges{realm: "realm=" + quote(c.challengeRealm()), describe: !c.omitDescriptions, both: possible[bothShape]}
	if c.resource != nil {
		ch.metadata = ", resource_metadata=" + quote(c.resource.metadataURL().String())
	}
	bearer := possible[unboundShape] || possible[certificateShape]
	// A token that is bound both ways comes under the DPoP scheme, but is not
	// what a client should be sent for where a certificate is enough.
	if !c.exchangeOnly && (possible[dpopShape] || possible[bothShape] && !bearer) {
		ch.offered = append(ch.offered, schemeDPoP)
	}
	if c.dpop != nil {
		ch.algs = ", algs=" + quote(strings.Join(c.dpop.Settings().Algorithms, " "))
	}
	if bearer && !c.exchangeOnly {
		ch.offered = append(ch.offered, schemeBearer)
	}
	if c.exchange != nil && (possible[unboundShape] || c.skipBinding) {
		ch.offered = append(ch.offered, schemeBasic)
	}
	return ch
}

// any reports whether there is any scheme to offer.
func (c *challenges) any() bool { return len(c.offered) > 0 }

// accepts reports whether a token of that shape can pass the binding policy.
func (c *config) accepts(s shape) bool {
	switch s {
	case dpopShape:
		return c.dpop != nil
	case certificateShape:
		return c.mtls != nil
	case bothShape:
		return c.dpop != nil && c.mtls != nil
	default:
		return c.allowUnbound
	}
}

func (c *config) challengeRealm() string {
	if c.realm != "" {
		return c.realm
	}
	if c.dpop != nil {
		if u, err := url.Parse(c.dpop.Settings().Origins[0]); err == nil {
			return u.Host
		}
	}
	return "api"
}

// lines returns one challenge for each field line. The error goes into the
// challenge of the scheme that the client used (RFC 9449, section 7.2, figure
// 18), or into every one where it concerns them all.
func (c *challenges) lines(used scheme, err clientError, params string) []string {
	offered := c.offered
	if c.isForBoth(err) {
		offered = append([]scheme{schemeDPoP}, offered...)
	}
	everywhere := err == ErrSeveralTokens || err == ErrQueryToken || err == ErrPlainHTTP || err == ErrDowngrade || !slices.Contains(offered, used) && used != noScheme
	lines := make([]string, 0, len(offered))
	for _, s := range offered {
		line := s.String() + " " + c.realm
		if s == schemeBasic {
			if statusOf(err) == http.StatusUnauthorized {
				lines = append(lines, line+`, charset="UTF-8"`) // RFC 7617, section 2: it has no error.
			}
			continue
		}
		switch {
		case err.Code() != "" && (everywhere || s == used):
			line += c.errorParams(err) + params
		case statusOf(err) == http.StatusForbidden:
			continue // Another scheme would not widen what the token may do.
		}
		if s == schemeDPoP {
			line += c.algs
		}
		lines = append(lines, line+c.metadata)
	}
	return lines
}

func (c *challenges) offers(s scheme) bool { return slices.Contains(c.offered, s) }

// offersTo reports whether the answer to a refused request has a challenge of
// that scheme.
func (c *challenges) offersTo(d decision, s scheme) bool {
	e, ok := asClientError(d.err)
	return c.offers(s) || ok && s == schemeDPoP && c.isForBoth(e)
}

// isForBoth reports whether err is about the proof of a token that is bound both
// ways, where the scheme is not offered since a certificate is enough: this client
// must be told nevertheless, under its scheme, and with a nonce if it lacks one.
func (c *challenges) isForBoth(err clientError) bool {
	_, ok := err.(dpop.ProofError)
	return ok && c.both && !c.offers(schemeDPoP)
}

func (c *challenges) errorParams(err clientError) string {
	params := `, error="` + err.Code() + `"`
	if c.describe {
		params += `, error_description="` + err.Description() + `"`
	}
	return params
}

// quote makes a quoted-string (RFC 9110, section 5.6.4).
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// isOver reports whether a token that was good will not be so any more. Other
// refusals may pass by, such as that of a key that has just been rotated in, or are
// this guard's alone.
func isOver(err clientError) bool {
	return err == clientError(oidc.ErrExpired) || err == clientError(oidc.ErrInactive)
}

// denial says what the client is told of err.
func (g *Guard) denial(err error) Denial {
	e, ok := asClientError(err)
	if !ok {
		return Denial{Status: http.StatusServiceUnavailable}
	}
	d := Denial{Status: statusOf(e), Code: e.Code()}
	if d.Code != "" && g.challenges.describe {
		d.Description = e.Description()
	}
	return d
}

// refuse answers a request that may not pass.
func (g *Guard) refuse(w http.ResponseWriter, r *http.Request, decided decision) {
	if g.config == nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	d := g.denial(decided.err)
	f := g.refusal(r, decided, d)
	if g.deny == nil {
		f.restore(w.Header())
		writeDenial(w, r, d)
		return
	}
	kept, done := keeping(w, f)
	defer done()
	g.deny(kept, r, d)
}

// refusal is what the response to a request that may not pass must carry.
func (g *Guard) refusal(r *http.Request, decided decision, d Denial) fields {
	f := fields{caching: cachingNone, expose: g.exposes(r)}
	if e, ok := asClientError(decided.err); ok && 400 <= d.Status && d.Status <= 403 {
		f.nonce = decided.nonce
		f.challenges = g.challengesFor(decided, e)
		if isOver(e) && decided.verified.bySession() {
			h := make(http.Header, 1)
			g.sessions.End(h, r) // It would come to nothing again.
			f.cookies = h["Set-Cookie"]
		}
	}
	if d.Status == http.StatusServiceUnavailable {
		f.retryAfter = retryAfter(decided.err)
	}
	return f
}

// challengesFor are the WWW-Authenticate lines.
func (g *Guard) challengesFor(d decision, e clientError) []string {
	var params string
	if d.unmet != nil {
		params = d.unmet.params
	}
	return g.challenges.lines(d.scheme, e, params)
}

// retryAfter is what the cause of a 503 knows of its end, or "".
func retryAfter(err error) string {
	cause, ok := errors.AsType[interface {
		error
		RetryAfter() time.Duration
	}](err)
	if !ok {
		return ""
	}
	after := min(cause.RetryAfter(), time.Hour)
	if after <= 0 {
		return ""
	}
	return strconv.FormatInt(int64((after+time.Second-1)/time.Second), 10)
}

// writeDenial is the default deny handler.
func writeDenial(w http.ResponseWriter, r *http.Request, d Denial) {
	if d.Code == "" {
		w.WriteHeader(d.Status)
		return
	}
	body, err := json.Marshal(struct {
		Error       string `json:"error"`
		Description string `json:"error_description,omitempty"`
	}{d.Code, d.Description})
	if err != nil { // two strings marshal
		body = nil
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(d.Status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // The client may be gone.
	}
}
