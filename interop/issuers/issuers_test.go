package issuers_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/mtlspop/mtlspoptest"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/introspect"
)

// issuer is an authorization server of others, running.
type issuer struct {
	url, tokenEndpoint string

	profile []oidc.Option // what the service has to know of it
	opaque  string        // the resource whose tokens are verified by introspection
	nonces  string        // the client that has to use nonces at the issuer too, if there is one
	skip    []kind        // what it does not do

	clients      []string                // which clients come, if not all, and then without Kong's configurations and without events
	introspect   []introspect.Option     // what the service has to know to ask it
	byAudience   bool                    // it calls the parameter audience, and not resource
	tlsClient    bool                    // certificates are bound where the client authenticates with its own
	pages        map[string]http.Handler // of the issuer's, which the service serves
	user         func(t *testing.T) userTokens
	descriptions map[string]oidc.Profile // of its tokens, beside the vendors' profiles

	rotate      func(t *testing.T) // makes it sign with a new key, and publish the old one too
	stop, start func(t *testing.T)
}

// world is an issuer and a service that accepts its tokens.
type world struct {
	files   *files
	issuer  *issuer
	service *service
	origins []string // that dpopclient may send tokens to
	results matrix
	kong    matrix

	signing *ecdsa.PrivateKey // of the client "signed"
	top     *testing.T        // the test that this world is for
	node    *node             // runs the clients from npm
	browser *browser          // nil until it is needed
	gateway string            // the program, "" until it is needed
}

func newWorld(t *testing.T) *world {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	f := newFiles(t)
	s := newService(t, f)
	return &world{
		top: t, files: f, service: s, origins: []string{s.URL}, signing: key,
		results: matrix{rows: kinds}, kong: matrix{rows: kongRows()},
	}
}

// signedKey is the private key of the client "signed".
func (w *world) signedKey(t *testing.T) map[string]string {
	d, err := w.signing.Bytes()
	require.NoError(t, err)
	jwk := w.signedPublicKey()
	jwk["d"] = base64.RawURLEncoding.EncodeToString(d)
	return jwk
}

func (w *world) signedPublicKey() map[string]string {
	b64 := func(n *big.Int) string { return base64.RawURLEncoding.EncodeToString(n.FillBytes(make([]byte, 32))) }
	return map[string]string{"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": "signed",
		"x": b64(w.signing.X), "y": b64(w.signing.Y)}
}

// meet makes the service trust the issuer, once that runs.
func (w *world) meet(t *testing.T, i *issuer) {
	w.issuer = i
	resp, err := w.files.client(nil).Get(strings.TrimSuffix(i.url, "/") + "/.well-known/openid-configuration")
	require.NoError(t, err)
	defer resp.Body.Close()
	var metadata struct {
		TokenEndpoint string `json:"token_endpoint"`
	}
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&metadata))
	i.tokenEndpoint = metadata.TokenEndpoint
	w.service.guard(t, w)
	w.node = startNode(t, w.files)
}

var dpopKinds = []kind{dpopJWT, dpopAsked, dpopSigned, dpopNonces}

var clients = []client{
	library{"oauth4webapi", append(slices.Clone(dpopKinds), bearerRefused, bearerAllowed, bearerAsked, privateKeyJWT)},
	library{"openid-client", append(slices.Clone(dpopKinds), bearerRefused, bearerAllowed, bearerAsked, privateKeyJWT)},
	library{"dpop", dpopKinds},
	own{},
	curl{},
	chromium{},
}

// run is every client with every kind of token, Kong's configurations, and what happens
// to calls while the issuer changes.
func (w *world) run(t *testing.T) {
	some := len(w.issuer.clients) > 0
	for _, c := range clients {
		if some && !slices.Contains(w.issuer.clients, c.name()) {
			continue
		}
		for _, k := range kinds {
			if !c.can(k) || slices.Contains(w.issuer.skip, k) {
				continue
			}
			w.results.expect(c.name())
			t.Run(c.name()+"/"+string(k), func(t *testing.T) {
				w.results.set(c.name(), k, w.cell(t, c, k))
			})
		}
	}
	if some {
		return
	}
	t.Run("Chromium/exposed challenges", w.exposedChallenges)
	w.kongsConfigurations(t)
	w.results.expectEvents(4)
	t.Run("rotation", w.rotation)
	t.Run("restart", w.restart) // The last one, since what it starts ends with it.
}

// cell is one cell of the matrix.
func (w *world) cell(t *testing.T, c client, k kind) string {
	switch k {
	case dpopJWT:
		return w.boundToAKey(t, c, verified, wish{client: "dpop", resource: audience, dpop: true})
	case dpopAsked:
		return w.boundToAKey(t, c, asked, wish{client: "dpop", resource: w.issuer.opaque, dpop: true})
	case dpopSigned:
		return w.boundToAKey(t, c, signed, wish{client: "dpop", resource: w.issuer.opaque, dpop: true})
	case dpopNonces:
		return w.boundToAKey(t, c, nonces, wish{client: w.issuer.nonces, resource: audience, dpop: true})
	case certificateJWT:
		return w.boundToACertificate(t, c, verified, wish{client: "certificate", resource: audience})
	case certificateAsked:
		return w.boundToACertificate(t, c, asked, wish{client: "certificate", resource: w.issuer.opaque})
	case certificateHeader:
		return w.certificateInAHeader(t, c.open(t, w, wish{client: "certificate", resource: audience}))
	case bearerRefused:
		s := c.open(t, w, wish{client: "bearer", resource: audience})
		return w.expect(t, 401, s.call(t, w.service.URL+verified), "")
	case bearerAllowed:
		s := c.open(t, w, wish{client: "bearer", resource: audience})
		return w.expect(t, 200, s.call(t, w.service.URL+unbound), "")
	case bearerAsked:
		s := c.open(t, w, wish{client: "bearer", resource: w.issuer.opaque})
		w.expect(t, 401, s.call(t, w.service.URL+asked), "where bearer tokens do not pass")
		return w.expect(t, 200, statusOf(t, s, w.service.URL+reported, 2), "")
	case privateKeyJWT:
		s := c.open(t, w, wish{client: "signed", resource: audience})
		return w.expect(t, 200, s.call(t, w.service.URL+unbound), "")
	case clientCredentials:
		return w.clientCredentials(t, c)
	}
	t.Fatalf("what is %q?", k)
	return ""
}

// expect checks what a request came to, and returns it as a part of a cell.
func (w *world) expect(t *testing.T, want, got int, what string) string {
	t.Helper()
	_, outcome := w.service.last()
	require.Equal(t, want, got, "%s: %v (%s)", what, outcome.Err, outcome.Hint)
	return strings.TrimSpace(fmt.Sprintf("%s %d", what, got))
}

func (w *world) boundToAKey(t *testing.T, c client, path string, wish wish) string {
	url := w.service.URL + path
	s := c.open(t, w, wish)
	good := w.expect(t, 200, statusOf(t, s, url, 3), "")
	sent, outcome := w.service.last()
	require.Equal(t, "DPoP", outcome.Scheme)
	require.NotEmpty(t, outcome.Confirmation.JKT)
	require.Len(t, sent["Dpop"], 1)

	thief, plain := thief{w}, w.files.client(nil)
	replay := w.expect(t, 401, thief.send(t, plain, url, sent), "replay")
	w.expect(t, 401, thief.send(t, plain, url+"/other", sent), "the proof for another URL")
	stolen := w.expect(t, 401, thief.proves(t, s.token(), url), "stolen")
	w.expect(t, 401, thief.send(t, plain, url, bearer(s.token())), "as a bearer token")
	w.expect(t, 401, thief.send(t, plain, url, http.Header{"Authorization": {"DPoP " + s.token()}}), "without a proof")
	if path == verified {
		w.expect(t, 401, thief.send(t, plain, w.service.URL+unbound, bearer(s.token())), "as a bearer token, where those pass")
	}
	w.expect(t, 200, s.call(t, url), "again")
	return good + ", " + stolen + ", " + replay
}

// statusOf calls n times.
func statusOf(t *testing.T, s session, url string, n int) int {
	t.Helper()
	for range n - 1 {
		if status := s.call(t, url); status != 200 {
			return status
		}
	}
	return s.call(t, url)
}

func (w *world) boundToACertificate(t *testing.T, c client, path string, wish wish) string {
	url := w.service.URL + path
	s := c.open(t, w, wish)
	good := w.expect(t, 200, statusOf(t, s, url, 3), "")
	_, outcome := w.service.last()
	require.Equal(t, w.files.machine.Thumbprint(), outcome.Confirmation.X5T)
	require.Equal(t, outcome.Confirmation.X5T, mtlspop.Thumbprint(w.files.machine.Certificate))

	thief := thief{w}
	stolen := w.expect(t, 401, thief.send(t, w.files.client(nil), url, bearer(s.token())), "stolen")
	w.expect(t, 401, thief.send(t, w.files.client(w.files.another), url, bearer(s.token())), "with another certificate")
	w.expect(t, 401, thief.proves(t, s.token(), url), "with a proof")
	if path == verified {
		w.expect(t, 401, thief.send(t, w.files.client(nil), w.service.URL+unbound, bearer(s.token())), "where bearer tokens pass")
	}
	w.expect(t, 200, s.call(t, url), "again")
	return good + ", " + stolen
}

// certificateInAHeader: the test is a terminator that passes on the certificate as nginx
// does.
func (w *world) certificateInAHeader(t *testing.T, s session) string {
	from := func(client *mtlspoptest.Client) int {
		header := bearer(s.token())
		mtlspoptest.Forward(header, certificateField, mtlspoptest.Nginx(client))
		return thief{w}.send(t, w.files.client(nil), w.service.URL+behind, header)
	}
	good := w.expect(t, 200, from(w.files.machine), "")
	stolen := w.expect(t, 401, from(w.files.another), "stolen")
	w.expect(t, 401, thief{w}.send(t, w.files.client(nil), w.service.URL+behind, bearer(s.token())), "no certificate")
	w.expect(t, 401, s.call(t, w.service.URL+behind), "the certificate of the connection, which is the terminator's")
	return good + ", " + stolen
}

func (w *world) clientCredentials(t *testing.T, c client) string {
	url := w.service.URL + basic
	s := c.open(t, w, wish{client: "caller"})
	good := w.expect(t, 200, statusOf(t, s, url, 2), "")
	_, outcome := w.service.last()
	require.Equal(t, "Basic", outcome.Scheme)
	require.Equal(t, "caller", outcome.ClientID)
	r, err := http.NewRequest(http.MethodGet, url, nil)
	require.NoError(t, err)
	r.SetBasicAuth("caller", "guessed")
	resp, err := w.files.client(nil).Do(r)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return good + ", " + w.expect(t, 401, resp.StatusCode, "wrong secret")
}

// rotation: the issuer signs with a new key. Old tokens stay good as long as it publishes
// the old key, and new ones are good at once.
func (w *world) rotation(t *testing.T) {
	jwt := wish{client: "dpop", resource: audience, dpop: true}
	opaque := wish{client: "dpop", resource: w.issuer.opaque, dpop: true}
	asking := w.service.URL + asked
	old, oldAsked := own{}.open(t, w, jwt), own{}.open(t, w, opaque)
	before, beforeAsked := old.call(t, w.service.URL+verified), oldAsked.call(t, asking)
	during := w.keepCalling(t, old, func() { w.issuer.rotate(t) })
	renewed, renewedAsked := clients[0].open(t, w, jwt), clients[0].open(t, w, opaque)
	require.NotEqual(t, keyID(t, old.token()), keyID(t, renewed.token()), "the issuer has not rotated its keys")
	after := renewed.call(t, w.service.URL+verified)
	w.expect(t, 200, old.call(t, w.service.URL+verified), "the old token")
	w.expect(t, 200, before, "before")
	w.expect(t, 200, during, "during")
	w.expect(t, 200, after, "after")
	w.results.event("rotation of the issuer's key, JWT", before, during, after)
	time.Sleep(1100 * time.Millisecond) // Until the answer before is forgotten.
	duringAsked, afterAsked := oldAsked.call(t, asking), renewedAsked.call(t, asking)
	w.expect(t, 200, beforeAsked, "before")
	w.expect(t, 200, duringAsked, "during")
	w.expect(t, 200, afterAsked, "after")
	w.results.event("rotation of the issuer's key, introspection", beforeAsked, duringAsked, afterAsked)
}

// restart: JWTs stay good while the issuer is away. Where it has to be asked, the guard
// cannot tell whether a token is good: 503, never 401.
func (w *world) restart(t *testing.T) {
	jwt := own{}.open(t, w, wish{client: "dpop", resource: audience, dpop: true})
	unseen := own{}.open(t, w, wish{client: "dpop", resource: audience, dpop: true})
	opaque := own{}.open(t, w, wish{client: "dpop", resource: w.issuer.opaque, dpop: true})
	asking := w.service.URL + asked
	before, beforeAsked := jwt.call(t, w.service.URL+verified), opaque.call(t, asking)
	var duringAsked int
	during := w.keepCalling(t, jwt, func() {
		w.issuer.stop(t)
		time.Sleep(1100 * time.Millisecond) // Until the answer before is forgotten.
		w.expect(t, 200, unseen.call(t, w.service.URL+verified), "a token that the service has not seen before")
		duringAsked = opaque.call(t, asking)
		w.expect(t, 503, duringAsked, "introspection while the issuer is away")
		w.issuer.start(t)
	})
	var afterAsked int
	require.Eventually(t, func() bool {
		afterAsked = opaque.call(t, asking)
		return afterAsked == 200
	}, time.Minute, time.Second, "introspection does not recover")
	after := own{}.open(t, w, wish{client: "dpop", resource: audience, dpop: true}).call(t, w.service.URL+verified)
	w.expect(t, 200, before, "before")
	w.expect(t, 200, during, "during")
	w.expect(t, 200, after, "after")
	w.expect(t, 200, beforeAsked, "before")
	w.results.event("restart of the issuer, JWT", before, during, after)
	w.results.event("restart of the issuer, introspection", beforeAsked, duringAsked, afterAsked)
}

// keepCalling calls the service all the while that event takes, and returns the worst
// status.
func (w *world) keepCalling(t *testing.T, s session, event func()) (worst int) {
	t.Helper()
	calls, done := s.(*goSession), make(chan struct{})
	var caller sync.WaitGroup
	caller.Go(func() {
		for {
			status, err := calls.try(w.service.URL + verified)
			if err != nil {
				t.Error(err)
			}
			worst = max(worst, status)
			select {
			case <-done:
				return
			case <-time.After(50 * time.Millisecond):
			}
		}
	})
	func() {
		defer caller.Wait()
		defer close(done)
		event()
	}()
	return worst
}

// keyID is the kid of a JWT.
func keyID(t *testing.T, token string) string {
	var header struct{ Kid string }
	part(t, token, 0, &header)
	require.NotEmpty(t, header.Kid)
	return header.Kid
}

// part decodes one part of a JWT.
func part(t *testing.T, token string, n int, into any) {
	t.Helper()
	parts := strings.Split(token, ".")
	require.Len(t, parts, 3)
	text, err := base64.RawURLEncoding.DecodeString(parts[n])
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, into))
}
