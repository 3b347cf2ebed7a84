package doctor

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/keybound-go/middleware/cmd/keybound/internal/wire"
)

// browsers looks at what a browser's application needs: the Fetch standard, and
// RFC 9449, sections 7.1 and 8.
func (c *Config) browsers(ctx context.Context) error {
	if c.NoBrowsers {
		c.skip("cors", "--no-browsers")
		return nil
	}
	origin := c.AppOrigin
	if origin == "" {
		origin = "https://app.example"
	}
	res, err := c.send(ctx, nil, wire.Request{Method: "OPTIONS", Target: c.target(), Fields: []wire.Field{
		{Name: "Origin", Value: origin}, {Name: "Access-Control-Request-Method", Value: c.Method},
		{Name: "Access-Control-Request-Headers", Value: "authorization,dpop"},
	}})
	if err != nil {
		return err
	}
	const outside = "Put a CORS middleware outside of the guard (for instance jub0bs/cors): it answers preflights, which have no credentials, and names Authorization and DPoP in Access-Control-Allow-Headers, WWW-Authenticate and DPoP-Nonce in Access-Control-Expose-Headers. If no browser calls the service, say --no-browsers."
	if res.Status == 401 || res.Status == 403 || res.Status == 405 {
		c.finding("cors/preflight", "error", fmt.Sprintf("a CORS preflight is refused with %d: no browser application can call the service", res.Status), outside)
		return nil
	}
	if res.Status >= 500 {
		c.skip("cors/preflight", "the preflight is answered with %d", res.Status)
		return nil
	}
	allowed := res.Header.Get("Access-Control-Allow-Origin")
	if allowed == "" {
		if c.AppOrigin == "" {
			c.skip("cors/preflight", "the preflight of %s is answered with %d and without CORS fields: --app-origin names the application's origin", origin, res.Status)
			return nil
		}
		c.finding("cors/preflight", "error", fmt.Sprintf("the preflight of %s is answered with %d and without Access-Control-Allow-Origin", origin, res.Status), outside)
		return nil
	}
	names := listed(res.Header, "Access-Control-Allow-Headers")
	var missing []string
	for _, want := range []string{"authorization", "dpop"} {
		if !slices.Contains(names, want) && !(want == "dpop" && slices.Contains(names, "*")) {
			missing = append(missing, want)
		}
	}
	if len(missing) > 0 {
		c.finding("cors/preflight", "error", fmt.Sprintf("the preflight does not allow %s (it allows %s; * does not cover Authorization)", strings.Join(missing, " and "), strings.Join(names, ", ")),
			"Name Authorization and DPoP in Access-Control-Allow-Headers.")
	} else {
		c.pass("cors/preflight", "%d", res.Status)
	}
	return c.exposed(ctx, origin)
}

// exposed looks at a refusal as a script sees it.
func (c *Config) exposed(ctx context.Context, origin string) error {
	res, err := c.send(ctx, nil, c.bare(wire.Field{Name: "Origin", Value: origin}))
	if err != nil {
		return err
	}
	if res.Header.Get("Access-Control-Allow-Origin") == "" {
		c.finding("cors/refusal", "error", "a refusal has no Access-Control-Allow-Origin: a script sees a network error instead of 401", "Put the CORS middleware outside of the guard, so that refusals get its fields too.")
		return nil
	}
	names := listed(res.Header, "Access-Control-Expose-Headers")
	var missing []string
	for _, want := range []string{"WWW-Authenticate", "DPoP-Nonce"} {
		if !slices.Contains(names, strings.ToLower(want)) && !slices.Contains(names, "*") {
			missing = append(missing, want)
		}
	}
	if len(missing) > 0 {
		c.finding("cors/exposed", "error", "scripts cannot read "+strings.Join(missing, " and "), "Name WWW-Authenticate and DPoP-Nonce in Access-Control-Expose-Headers, in the CORS middleware or by middleware.ExposeHeaders.")
	} else {
		c.pass("cors/exposed", "%s", strings.Join(names, ", "))
	}
	return nil
}

func listed(h http.Header, name string) []string {
	var all []string
	for _, value := range h.Values(name) {
		for part := range strings.SplitSeq(value, ",") {
			all = append(all, strings.ToLower(strings.TrimSpace(part)))
		}
	}
	return all
}

// nonces carries each nonce to other connections, behind which there may be other
// replicas.
func (c *Config) nonces(ctx context.Context) error {
	if c.Token == "" {
		c.skip("nonces", "no DPoP-bound token")
		return nil
	}
	demanded, free, refused, taken := 0, 0, 0, 0
	for range c.Connections {
		res, err := c.send(ctx, nil, c.goodWith(""))
		if err != nil {
			return err
		}
		if errorCode(res) != "use_dpop_nonce" {
			free++
			continue
		}
		demanded++
		nonce := res.Header.Get("DPoP-Nonce")
		if nonce == "" {
			c.finding("nonces", "error", "use_dpop_nonce comes without DPoP-Nonce", "A proxy removes the field (nginx: proxy_hide_header DPoP-Nonce): let it pass.")
			return nil
		}
		if res, err = c.send(ctx, nil, c.goodWith(nonce)); err != nil {
			return err
		}
		if errorCode(res) == "use_dpop_nonce" {
			refused++
		} else {
			taken++
		}
	}
	switch {
	case demanded == 0:
		c.skip("nonces", "the service demands none")
	case free > 0:
		c.finding("nonces", "error", fmt.Sprintf("%d of %d connections demand a nonce and the others do not: replicas are configured differently", demanded, c.Connections),
			"Give every replica the same dpop.WithNonces: a proof without a nonce must pass at none (RFC 9449, section 11.3).")
	case refused > 0 && taken == 0:
		c.finding("nonces", "error", fmt.Sprintf("all %d fresh nonces were refused on the next connection", refused),
			"Give every replica the same nonce key: dpop.NewNonces(key) with one key from your secrets, not one made at start.")
	case refused > 0:
		c.finding("nonces", "error", fmt.Sprintf("mixed nonce keys: %d of %d fresh nonces were refused on the next connection, which led to another replica", refused, demanded),
			"Give every replica the same nonce key: dpop.NewNonces(key) with one key from your secrets, not one made at start.")
	default:
		c.pass("nonces", "%d nonces, each taken on another connection", taken)
	}
	return nil
}

// replay offers one proof over many connections.
func (c *Config) replay(ctx context.Context) error {
	if !c.dpopWorks {
		c.skip("replay", "the good request does not pass")
		return nil
	}
	r := c.good()
	passed := 0
	for range c.Connections {
		res, err := c.send(ctx, nil, r)
		if err != nil {
			return err
		}
		if errorCode(res) == "use_dpop_nonce" && passed == 0 {
			r = c.good()
			continue
		}
		if ok(res) {
			passed++
		}
	}
	const fix = "Give every replica one replay cache: dpop.WithReplayCache(redisstore.NewReplayCache(client)). With a memory of its own, each takes a proof once."
	switch {
	case passed == 0:
		c.skip("replay", "the proof was not taken even once")
	case passed == 1:
		c.pass("replay", "one proof over %d connections was taken once", c.Connections)
	case passed >= c.Connections-1:
		c.finding("replay", "error", fmt.Sprintf("one proof was taken %d times over %d connections: used proofs are not remembered at all", passed, c.Connections),
			"Leave out dpop.DangerouslyAllowReplay. "+fix)
	default:
		c.finding("replay", "error", fmt.Sprintf("no shared replay memory: one proof was taken %d times over %d connections, as by %d replicas", passed, c.Connections, passed), fix)
	}
	return nil
}
