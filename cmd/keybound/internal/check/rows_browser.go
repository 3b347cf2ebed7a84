package check

import (
	"slices"
	"strings"

	"github.com/keybound-go/middleware/cmd/keybound/internal/wire"
)

// browsers are the rows for servers whose clients are scripts of other origins.
func (s *suite) browsers() {
	applies := not("--browsers does not say that scripts of other origins call it", func(c *Config) bool { return !c.Browsers })
	origin := wire.Field{Name: "Origin", Value: "https://app.example"}
	asks := wire.Field{Name: "Access-Control-Request-Method", Value: "GET"}
	s.add(text{"CORS-01", "Fetch standard, section 3.3.2", Must,
		"A CORS-preflight request is OPTIONS with Access-Control-Request-Method; it never comes with credentials, and is answered without.", applies},
		"preflight", func(p *play) {
			res := p.do(nil, wire.Request{Method: "OPTIONS", Target: p.requestTarget(), Fields: []wire.Field{origin, asks,
				{Name: "Access-Control-Request-Headers", Value: "authorization,dpop"}}})
			p.accept(res)
		})
	notOne := text{"CORS-02", "Fetch standard, section 3.3.2", Practice,
		"What is no preflight needs credentials: other methods, an OPTIONS that a browser did not send for one, a body, an Upgrade.", applies}
	for name, r := range inOrder(map[string]wire.Request{
		"GET":                      {Method: "GET", Fields: []wire.Field{origin, asks}},
		"POST":                     {Method: "POST", Fields: []wire.Field{origin, asks}},
		"no-origin":                {Method: "OPTIONS", Fields: []wire.Field{asks}},
		"no-method-asked":          {Method: "OPTIONS", Fields: []wire.Field{origin}},
		"origin-twice":             {Method: "OPTIONS", Fields: []wire.Field{origin, origin, asks}},
		"method-asked-twice":       {Method: "OPTIONS", Fields: []wire.Field{origin, asks, asks}},
		"with-a-body":              {Method: "OPTIONS", Fields: []wire.Field{origin, asks}, Body: "x"},
		"with-chunks":              {Method: "OPTIONS", Fields: []wire.Field{origin, asks, {Name: "Transfer-Encoding", Value: "chunked"}}, Body: "1\r\nx\r\n0\r\n\r\n"},
		"with-upgrade":             {Method: "OPTIONS", Fields: []wire.Field{origin, asks, {Name: "Connection", Value: "upgrade"}, {Name: "Upgrade", Value: "websocket"}}},
		"method-in-lower-case":     {Method: "options", Fields: []wire.Field{origin, asks}},
		"early-data":               {Method: "OPTIONS", Fields: []wire.Field{origin, asks, {Name: "Early-Data", Value: "1"}}},
		"override-with-GET":        {Method: "GET", Fields: []wire.Field{origin, asks, {Name: "X-HTTP-Method-Override", Value: "OPTIONS"}}},
		"bad-token-with-preflight": {Method: "GET", Fields: []wire.Field{origin, asks, {Name: "Authorization", Value: "DPoP x"}}},
	}) {
		s.add(notOne, name, func(p *play) {
			r.Target = p.requestTarget()
			p.refuse(p.do(nil, r), anyRefusal)
		})
	}
	exposed := text{"CORS-03", "Fetch standard, section 3.3.3", Must,
		"Access-Control-Expose-Headers: which response headers a script may read. Without them it sees neither the challenge nor the nonce for its next proof.", applies}
	exposes := func(p *play, res *wire.Response) {
		var names []string
		for _, v := range res.Header.Values("Access-Control-Expose-Headers") {
			for name := range strings.SplitSeq(v, ",") {
				names = append(names, strings.ToLower(strings.TrimSpace(name)))
			}
		}
		for _, want := range []string{"dpop-nonce", "www-authenticate"} {
			if !slices.Contains(names, want) {
				p.fail("Access-Control-Expose-Headers of a %d has no %s: %q", res.Status, want, names)
			}
		}
	}
	s.add(exposed, "on-success", func(p *play) {
		d := p.draft()
		d.field("Origin", "https://app.example")
		res := p.send(d)
		p.accept(res)
		exposes(p, res)
	})
	s.add(exposed, "on-a-refusal", func(p *play) {
		d := p.draft()
		d.field("Origin", "https://app.example")
		tokenClaim("exp", 1)(d)
		res := p.send(d)
		p.refuse(res, invalidToken)
		exposes(p, res)
	})
	s.add(exposed, "without-credentials", func(p *play) {
		res := p.do(nil, wire.Request{Method: "GET", Target: p.requestTarget(), Fields: []wire.Field{origin}})
		p.refuse(res, bareRefusal)
		exposes(p, res)
	})
}
