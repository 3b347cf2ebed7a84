package middleware

import (
	"context"
	"net/http"
	"time"
)

// Verdict is what a [Guard] decides of a [Request], for a transport to turn into an
// answer of its own. The zero Verdict refuses.
type Verdict struct {
	// Pass says that the request may pass. Everything else is detail.
	Pass bool
	// Credential is that of a request that may pass, for [NewContext]. It is nil for
	// a request that is refused, and for one that may pass without: a preflight under
	// [PassPreflights], and an anonymous request under [Guard.AllowAnonymous].
	Credential *Credential
	// Err is why the request may not pass, or nil: an error as of [Guard.Check]. It is
	// for the operator, never for the client.
	Err error
	// Denial is what the client is told of a refusal: the status, and what the body
	// says.
	Denial Denial
	// Header has the fields that the answer to the client must carry, in the form of
	// net/http: on a refusal the challenges, Cache-Control and what else belongs
	// there; on a pass a nonce, cookies, Vary. The caller owns it. No other part of
	// the answer may replace them.
	Header http.Header
	// Body is the body of a refusal, JSON of the type that Header names, or nil.
	Body []byte
	// Forward is the header of a request that may pass as its handler, or a service
	// behind the transport, should see it. It may be the Header of the Request
	// itself: do not change it.
	Forward http.Header
	// Ends is when the transport should end a long response, under
	// [EndResponsesWithToken]. The zero Time is never.
	Ends time.Time
}

// Judge decides whether q may pass, and says what the client is to be told. It is
// [Guard.Check] for transports that are not net/http, and the way for a proxy's
// subrequest: it uses the proof up and, as [Guard.Wrap] does, tells the observer, keeps
// sessions and gives out nonces. What [WithDenyHandler] sets is not asked.
func (g *Guard) Judge(ctx context.Context, q Request) Verdict {
	if q.Header == nil {
		q.Header = make(http.Header)
	}
	q.Header = canonical(q.Header)
	q.received, q.native = nil, false
	if g.config != nil && g.callerAddress != nil {
		q.http(ctx) // now: the inspection's CallerAddress may be called concurrently
	}
	if g.passesPreflight(&q) {
		return Verdict{Pass: true, Header: http.Header{}, Forward: g.forwardNone(&q)}
	}
	d := g.decide(ctx, &q, true)
	v := Verdict{Header: make(http.Header), Err: d.err}
	if g.config == nil {
		v.Denial = Denial{Status: http.StatusServiceUnavailable}
		return v
	}
	r := q.http(ctx)
	if d.err != nil {
		v.Denial = g.denial(d.err)
		f := g.refusal(r, d, v.Denial)
		f.restore(v.Header)
		if v.Body = v.Denial.body(); v.Body != nil {
			v.Header.Set("Content-Type", "application/json")
		}
		return v
	}
	written := g.writtenByTerminator(&q)
	f := g.announcement(r, d, written)
	f.restore(v.Header)
	v.Pass, v.Credential = true, d.credential()
	if d.anonymous {
		v.Forward = g.forwardNone(&q)
	} else {
		v.Forward = g.forward(q.Header, &d.verified, written)
		v.Ends = g.end(&d.verified)
	}
	return v
}

// canonical is h with every name as the Guard reads it, and h itself if that is so.
func canonical(h http.Header) http.Header {
	for name := range h {
		if http.CanonicalHeaderKey(name) == name {
			continue
		}
		c := make(http.Header, len(h))
		for name, values := range h {
			name = http.CanonicalHeaderKey(name)
			c[name] = append(c[name], values...)
		}
		return c
	}
	return h
}
