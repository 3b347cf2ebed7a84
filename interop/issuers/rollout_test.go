package issuers_test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/mtlspop"
	"github.com/keybound-go/middleware/oidc"
)

// rollout is that of docs/rollout.md, at Keycloak: from bearer tokens to bound ones,
// while clients go on calling.
func (w *world) rollout(t *testing.T) {
	own := *w // with a service of its own
	own.service = newService(t, w.files)
	own.origins = []string{own.service.URL}
	r := &rollout{world: &own, keycloak: &keycloak{world: &own, base: strings.TrimSuffix(w.issuer.url, "/realms/interop"), url: w.issuer.url}}
	r.run(t)
	publishText(t, "rollout", r.table())
}

// The clients of the rollout.
const (
	legacy = "legacy" // bearer tokens, for ever
	modern = "modern" // signs as soon as the service can read proofs
	sloppy = "sloppy" // gets bound tokens, and sends them as Bearer until it is mended
	late   = "late"   // bearer tokens, until the report names it
)

var rolloutClients = []string{legacy, modern, sloppy, late}

// rollout is a service, its operator and its clients.
type rollout struct {
	*world
	keycloak *keycloak
	tokens   *oidc.Verifier
	rule     middleware.Stage // of DPoPBound, for all routes
	scope    middleware.Stage // of a scope, for one route
	handler  atomic.Pointer[http.Handler]

	mu  sync.Mutex
	log bytes.Buffer

	signs   map[string]bool // which clients get tokens with a proof
	careful map[string]bool // which of them send proofs to the service too
	open    map[string]session

	columns []string
	cells   map[string][]string
}

// Write makes a rollout the log of its guards.
func (r *rollout) Write(line []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.log.Write(line)
}

// verdicts is what the log says since it was last read: by path, the reason why a request
// was refused or would be. who is which clients would be refused.
func (r *rollout) verdicts(t *testing.T) (by map[string]string, who []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	by = make(map[string]string)
	for text := range strings.Lines(r.log.String()) {
		var line struct {
			Msg, Path, Reason string
			WouldDeny         string `json:"would_deny"`
			ClientID          string `json:"client_id"`
		}
		require.NoError(t, json.Unmarshal([]byte(text), &line))
		if line.Path == "" || strings.HasPrefix(line.Path, "/steady") {
			continue
		}
		require.Empty(t, by[line.Path], "one line per request")
		if by[line.Path] = line.Reason; line.WouldDeny != "" {
			require.Equal(t, "request would be refused", line.Msg)
			by[line.Path] = line.WouldDeny
			if !slices.Contains(who, line.ClientID) {
				who = append(who, line.ClientID)
			}
		}
	}
	r.log.Reset()
	slices.Sort(who)
	return by, who
}

// deploy serves with a new guard, as a release of the service would.
func (r *rollout) deploy(t *testing.T, opts ...middleware.Option) {
	guard, err := middleware.New(append(opts, middleware.WithTokens(r.tokens, nil), middleware.WithLogger(slog.New(slog.NewJSONHandler(r, nil))))...)
	require.NoError(t, err)
	ok := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	mux := http.NewServeMux()
	mux.Handle("/", guard.Wrap(ok))
	mux.Handle("/admin/", guard.Require(middleware.Staged(middleware.Scopes("orders:write"), &r.scope)).Wrap(ok))
	h := http.Handler(mux)
	r.handler.Store(&h)
}

func (r *rollout) serve(t *testing.T) {
	s := r.service
	s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { (*r.handler.Load()).ServeHTTP(w, req) })
	s.TLS = mtlspop.RequestClientCert(&tls.Config{Certificates: []tls.Certificate{*certificate(r.files.server)}})
	own := s.URL
	s.Server.URL = ""
	s.StartTLS()
	s.Server.URL = own
	t.Cleanup(s.Close)
}

// admin sends a request to Keycloak's administration.
func (r *rollout) admin(t *testing.T, method, path string, body any) []byte {
	t.Helper()
	client := r.files.client(nil)
	token := r.keycloak.grant(t, client, "master", url.Values{
		"grant_type": {"password"}, "client_id": {"admin-cli"}, "username": {"admin"}, "password": {"admin"},
	}).AccessToken
	text, err := json.Marshal(body)
	require.NoError(t, err)
	req, err := http.NewRequest(method, r.keycloak.base+"/admin/realms/interop/"+path, bytes.NewReader(text))
	require.NoError(t, err)
	req.Header = bearer(token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Less(t, resp.StatusCode, 300, "%s", answer)
	return answer
}

func (r *rollout) addClient(t *testing.T, id string) {
	r.admin(t, http.MethodPost, "clients", map[string]any{
		"clientId": id, "secret": id + "-secret", "protocol": "openid-connect", "publicClient": false,
		"serviceAccountsEnabled": true, "standardFlowEnabled": false, "defaultClientScopes": []string{"orders"},
	})
}

// bind has Keycloak demand proofs of a client, and bind all of its tokens.
func (r *rollout) bind(t *testing.T, id string) {
	var found []map[string]any
	require.NoError(t, json.Unmarshal(r.admin(t, http.MethodGet, "clients?clientId="+id, nil), &found))
	require.Len(t, found, 1)
	attributes, _ := found[0]["attributes"].(map[string]any)
	if attributes == nil {
		attributes = map[string]any{}
	}
	attributes["dpop.bound.access.tokens"] = "true"
	found[0]["attributes"] = attributes
	r.admin(t, http.MethodPut, "clients/"+found[0]["id"].(string), found[0])
}

// login has every client get a new token.
func (r *rollout) login(t *testing.T) {
	r.open = make(map[string]session)
	for _, id := range rolloutClients {
		if r.signs[id] {
			r.open[id] = own{}.open(t, r.world, wish{client: id})
		} else {
			r.open[id] = &plainSession{r.files.client(nil), r.keycloak.grant(t, r.files.client(nil), "interop", url.Values{
				"grant_type": {"client_credentials"}, "client_id": {id}, "client_secret": {id + "-secret"}, "scope": {"orders"},
			}).AccessToken}
		}
	}
}

// plainSession is a client with a bearer token.
type plainSession struct {
	http        *http.Client
	accessToken string
}

func (s *plainSession) token() string { return s.accessToken }

func (s *plainSession) call(t *testing.T, url string) int {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	require.NoError(t, err)
	req.Header = bearer(s.accessToken)
	resp, err := s.http.Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return resp.StatusCode
}

// call is a request of the client, as it is now.
func (r *rollout) call(t *testing.T, id, path string) int {
	t.Helper()
	s := r.open[id]
	if !r.careful[id] {
		s = &plainSession{r.files.client(nil), s.token()}
	}
	return s.call(t, r.service.URL+path)
}

// traffic is what honest clients and a thief send: each request has a path of its own,
// the same in each phase.
func (r *rollout) traffic(t *testing.T) (status map[string]int) {
	status = make(map[string]int)
	for _, id := range rolloutClients {
		for _, path := range []string{"/orders/" + id, "/orders/" + id + "/again", "/admin/" + id} {
			status[path] = r.call(t, id, path)
		}
		thief, plain := thief{r.world}, r.files.client(nil)
		status["/stolen/"+id] = thief.proves(t, r.open[id].token(), r.service.URL+"/stolen/"+id)
		status["/downgraded/"+id] = thief.send(t, plain, r.service.URL+"/downgraded/"+id, bearer(r.open[id].token()))
		if s, ok := r.open[id].(prover); ok && r.careful[id] {
			require.Equal(t, 200, r.call(t, id, "/replayed/"+id))
			status["/replayed/"+id] = thief.send(t, plain, r.service.URL+"/replayed/"+id, s.sent())
		}
		broken := r.open[id].token()
		status["/forged/"+id] = thief.send(t, plain, r.service.URL+"/forged/"+id, bearer(broken[:len(broken)-8]+"AAAAAAAA"))
	}
	status["/anonymous"] = thief{r.world}.send(t, r.files.client(nil), r.service.URL+"/anonymous", nil)
	return status
}

// column is one phase of the table, with what honest clients get.
func (r *rollout) column(t *testing.T, phase string, want map[string]int) {
	t.Helper()
	r.columns = append(r.columns, phase)
	for _, id := range rolloutClients {
		got := r.call(t, id, "/steady/"+id)
		if expected, ok := want[id]; ok {
			require.Equal(t, expected, got, "%s, %s", phase, id)
		} else {
			require.Equal(t, 200, got, "%s, %s", phase, id)
		}
		r.cells[id] = append(r.cells[id], fmt.Sprint(got))
	}
}

func (r *rollout) run(t *testing.T) {
	r.cells, r.signs, r.careful = make(map[string][]string), make(map[string]bool), make(map[string]bool)
	var err error
	r.tokens, err = oidc.New(r.issuer.url, audience, append(slices.Clone(r.issuer.profile), r.trust())...)
	require.NoError(t, err)
	t.Cleanup(func() { r.tokens.Close() })
	r.serve(t)
	for _, id := range rolloutClients {
		r.addClient(t, id)
	}
	r.login(t)
	r.deploy(t, middleware.AllowUnbound())
	r.column(t, "before", nil)

	// 1. The service learns DPoP, and demands nothing.
	proofs := middleware.WithDPoP(dpop.New(r.service.URL))
	r.deploy(t, proofs, middleware.AllowUnbound())
	r.column(t, "the service knows DPoP", nil)

	// 2. Clients sign. Keycloak binds the tokens of a client that sends a proof, also
	// before it demands one.
	r.signs[modern], r.careful[modern] = true, true
	r.login(t)
	r.column(t, "a client signs", nil)

	// 3. The issuer binds. One client gets bound tokens and sends them as Bearer.
	r.bind(t, modern)
	r.bind(t, sloppy)
	r.signs[sloppy] = true
	r.login(t)
	r.column(t, "the issuer binds", map[string]int{sloppy: 401})
	by, _ := r.verdicts(t)
	require.Empty(t, by)
	staged := middleware.WithRules(middleware.Staged(middleware.DPoPBound(), &r.rule))
	tolerant := middleware.DangerouslyAcceptAsBearer(time.Now().Add(30*24*time.Hour), sloppy)
	r.rule.Set(middleware.Report)
	r.scope.Set(middleware.Report)
	r.deploy(t, proofs, middleware.AllowUnbound(), tolerant, staged)
	r.column(t, "tolerated for now", nil)

	// A client that is ready goes on calling, whatever the operator does from here on.
	worst := r.steadily(t, func() {
		// 4. Report, and what would come of enforcing it now: none is missed, none is
		// extra.
		left := r.predict(t)
		require.Equal(t, []string{late, legacy, modern, sloppy}, left, "modern lacks the scope, and nothing else")
		r.column(t, "report", nil)
		r.enforce(t)
		r.column(t, "enforced too early", map[string]int{legacy: 401, sloppy: 401, late: 401})

		// Back, at once.
		r.back()
		r.column(t, "back", nil)
		r.scope.Set(middleware.Off)

		// The report named them: they are mended, and one client stays as it is.
		r.careful[sloppy], r.signs[late], r.careful[late] = true, true, true
		r.bind(t, late)
		r.login(t)
		require.Equal(t, []string{legacy, sloppy}, r.predict(t), "a thief with a token of sloppy passes as long as sloppy is tolerated")
		r.deploy(t, proofs, middleware.AllowUnbound(), staged)
		require.Equal(t, []string{legacy}, r.predict(t))
		r.column(t, "the named are mended", nil)

		// 5. Enforce, client by client, then for all.
		r.rule.Choose(func(c *middleware.Credential) middleware.Level {
			if c.Token.ClientID == legacy {
				return middleware.Report
			}
			return middleware.Enforce
		})
		r.column(t, "client by client", nil)
		r.enforce(t)
		r.column(t, "enforce", map[string]int{legacy: 401})

		// 6. Clean up: what was staged is what the guard demands.
		before := r.traffic(t)
		r.deploy(t, proofs)
		after := r.traffic(t)
		require.Equal(t, before, after)
	})
	require.Equal(t, 200, worst, "a client that is ready is never refused")
}

func (r *rollout) back() {
	r.rule.Set(middleware.Report)
	r.rule.Choose(nil)
	r.scope.Set(middleware.Report)
}

// predict sends the traffic while the rules report, then while they are enforced, and
// compares the log lines of both. It leaves the rules in report, and returns the clients
// that would be refused.
func (r *rollout) predict(t *testing.T) (left []string) {
	t.Helper()
	scope := r.scope.Level()
	r.verdicts(t)
	passed := r.traffic(t)
	predicted, left := r.verdicts(t)
	r.rule.Set(middleware.Enforce)
	if scope == middleware.Report {
		r.scope.Set(middleware.Enforce)
	}
	status := r.traffic(t)
	enforced, none := r.verdicts(t)
	r.rule.Set(middleware.Report)
	r.scope.Set(scope)
	require.Empty(t, none)
	require.Equal(t, predicted, enforced, "what the report said of each request is what came of it")
	more := 0
	for path, got := range status {
		require.Equal(t, enforced[path] != "", got != 200, "%s: %d %s", path, got, enforced[path])
		if passed[path] == 200 && got != 200 {
			more++
		}
	}
	require.Positive(t, more, "nothing was staged that mattered")
	t.Logf("of %d requests %d were refused before; enforcing refuses %d more, all of them predicted: %v", len(status), len(enforced)-more, more, left)
	return left
}

func (r *rollout) enforce(t *testing.T) {
	r.rule.Set(middleware.Enforce)
	r.rule.Choose(nil)
}

// steadily has the modern client call all the while, and returns the worst status.
func (r *rollout) steadily(t *testing.T, during func()) (worst int) {
	s := r.open[modern].(*goSession)
	done := make(chan struct{})
	var caller sync.WaitGroup
	caller.Go(func() {
		for {
			status, err := s.try(r.service.URL + "/steady/all-the-while")
			if err != nil {
				t.Error(err)
			}
			worst = max(worst, status)
			select {
			case <-done:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
	func() {
		defer caller.Wait()
		defer close(done)
		during()
	}()
	return worst
}

// table has a row for each phase and a column for each client.
func (r *rollout) table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "| phase | %s |\n| --- |%s\n", strings.Join(rolloutClients, " | "), strings.Repeat(" --- |", len(rolloutClients)))
	for i, phase := range r.columns {
		fmt.Fprintf(&b, "| %s |", phase)
		for _, id := range rolloutClients {
			fmt.Fprintf(&b, " %s |", r.cells[id][i])
		}
		b.WriteByte('\n')
	}
	return b.String()
}
