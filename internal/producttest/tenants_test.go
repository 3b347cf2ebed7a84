package producttest

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
	"github.com/keybound-go/middleware/oidc/tenants"
)

// database is the operator's table of tenants at the other end of a network that fails.
type database struct {
	mu    sync.Mutex
	state databaseState
	rows  map[string]*row // by issuer
}

type databaseState uint8

const (
	databaseUp   databaseState = iota
	databaseDown               // no connection
	databaseLost               // a mistake of the operator: every row is another tenant's
	databaseStates
)

type row struct {
	issuer *oidctest.Issuer
	url    string
	host   string
	there  bool
	since  time.Time // there, or gone
}

func (d *database) set(change func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change()
}

func (d *database) resolve(_ context.Context, iss string) (*oidc.Verifier, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	found := d.rows[iss]
	switch {
	case d.state == databaseDown:
		return nil, errConnection
	case found == nil || !found.there:
		return nil, oidc.ErrIssuer
	case d.state == databaseLost:
		for _, other := range d.rows {
			if other != found {
				found = other
				break
			}
		}
	}
	return oidc.New(found.url, oidctest.Audience, oidc.WithHTTPClient(found.issuer.Client()),
		oidc.WithSkew(0), oidc.WithCacheSize(0), oidc.WithOrigins("https://"+found.host))
}

// Whatever happens to the table of tenants: once Forget has returned, no token of a
// tenant that is gone passes, and none ever does at the host of another tenant. A tenant
// that is back is refused for the lifetime of a refusal at the most, and a database that
// is down is never the client's fault.
func TestATenantDiesWithItsRow(t *testing.T) {
	const (
		refusal = 10 * time.Second // the default of tenants.WithRefusalLifetime
		failure = time.Second      // how long an error of the database counts
	)
	eachHistory(t, func(t *testing.T, r *rand.Rand) {
		d := &database{rows: make(map[string]*row)}
		var all []*row
		for _, host := range []string{"one.example", "two.example", "three.example"} {
			url := "https://issuer." + host
			all = append(all, &row{issuer: oidctest.NewIssuer(t, oidctest.InMemory(url)), url: url, host: host, there: true})
			d.rows[url] = all[len(all)-1]
		}
		customers, err := tenants.New(d.resolve, tenants.RequireOrigins())
		if err != nil {
			t.Fatal(err)
		}
		defer customers.Close()
		g, err := middleware.New(middleware.WithTokens(customers, nil), middleware.AllowUnbound())
		if err != nil {
			t.Fatal(err)
		}
		ask := func(token, host string) error {
			_, err := g.Check(&http.Request{
				Method: http.MethodGet, Host: host, URL: &url.URL{Path: defaultPath}, RequestURI: defaultPath, RemoteAddr: PeerAddr, Body: http.NoBody,
				Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{"Authorization": {"Bearer " + token}},
			})
			return err
		}
		tokens := make(map[*row][]string)
		state, since := databaseUp, time.Now().Add(-time.Hour)
		for range 200 {
			w := all[r.IntN(len(all))]
			switch r.IntN(10) {
			case 0:
				time.Sleep(time.Duration(r.IntN(20)) * time.Second)
			case 1:
				state, since = databaseState(r.IntN(int(databaseStates))), time.Now()
				d.set(func() { d.state = state })
			case 2: // a row goes, and the service is told
				d.set(func() { w.there, w.since = false, time.Now() })
				customers.Forget(w.url)
			case 3: // a row comes, and the service is told, or finds out by itself
				d.set(func() {
					if !w.there {
						w.there, w.since = true, time.Now()
					}
				})
				if r.IntN(2) == 0 {
					customers.Forget(w.url)
					w.since = time.Time{}
				}
			default:
				if len(tokens[w]) == 0 || r.IntN(4) == 0 {
					tokens[w] = append(tokens[w], w.issuer.Token())
				}
				token := tokens[w][r.IntN(len(tokens[w]))]
				at := all[r.IntN(len(all))]
				err := ask(token, at.host)
				now := time.Now()
				_, isClients := errors.AsType[oidc.TokenError](err)
				settled := state == databaseUp && now.Sub(since) > failure
				switch {
				case err == nil && !w.there:
					t.Errorf("a token passes %v after its tenant went", now.Sub(w.since))
				case err == nil && at != w:
					t.Errorf("a token of %s passes at %s", w.host, at.host)
				case w.there && at == w && settled && now.Sub(w.since) > refusal && err != nil:
					t.Errorf("a good token is refused, %v after its tenant came: %v", now.Sub(w.since), err)
				case w.there && at == w && now.Sub(w.since) > refusal && isClients:
					t.Errorf("the client is told that a good token is bad: %v", err)
				}
			}
		}
	})
}
