package issuers_test

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/keybound-go/middleware/dpop/dpopclient"
)

// wish is the access token that a client is to get, by the client credentials grant.
type wish struct {
	client   string // its secret is client+"-secret", except for "signed", which signs an assertion
	resource string
	scope    string // "orders" if empty
	dpop     bool
}

func (w wish) scopes() string { return cmp.Or(w.scope, "orders") }

// client is software of others that gets tokens and uses them.
type client interface {
	name() string
	can(kind) bool
	open(t *testing.T, w *world, wish wish) session
}

// session is a client with an access token.
type session interface {
	token() string
	call(t *testing.T, url string) (status int)
}

// prover is a session that signs proofs.
type prover interface {
	session
	sent() http.Header // by the last call
}

// library is one of the npm packages, in a Node process.
type library struct {
	title string
	kinds []kind
}

func (l library) name() string    { return l.title }
func (l library) can(k kind) bool { return slices.Contains(l.kinds, k) }

func (l library) open(t *testing.T, w *world, wish wish) session {
	s := &nodeSession{node: w.node, id: l.title + " " + rand.Text()}
	command := map[string]any{
		"do": "token", "library": l.title, "issuer": w.issuer.url,
		"client": wish.client, "scope": wish.scopes(), "resource": wish.resource, "dpop": wish.dpop,
	}
	if w.issuer.byAudience {
		command["audience"] = wish.resource
	}
	if wish.client == "signed" {
		command["jwk"] = w.signedKey(t)
	} else {
		command["secret"] = wish.client + "-secret"
	}
	s.accessToken = s.ask(t, command).Token
	require.NotEmpty(t, s.accessToken)
	return s
}

// node is the process in which clients/client.mjs runs.
type node struct {
	*process
	mu    sync.Mutex
	stdin *json.Encoder
}

func startNode(t *testing.T, f *files) *node {
	program := need(t, "node")
	need(t, "../node_modules/oauth4webapi/package.json")
	cmd := exec.Command(program, "../clients/client.mjs")
	cmd.Env = append(os.Environ(), "NODE_EXTRA_CA_CERTS="+f.authority)
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	return &node{process: launch(t, cmd), stdin: json.NewEncoder(stdin)}
}

type nodeSession struct {
	node            *node
	id, accessToken string
	last            nodeAnswer
}

type nodeAnswer struct {
	Error, Token string
	Status       int
	Sent         map[string]string
}

func (s *nodeSession) ask(t *testing.T, command map[string]any) (answer nodeAnswer) {
	t.Helper()
	s.node.mu.Lock()
	defer s.node.mu.Unlock()
	command["session"] = s.id
	require.NoError(t, s.node.stdin.Encode(command))
	line := s.node.line(t)
	require.NoError(t, json.Unmarshal([]byte(line), &answer), line)
	require.Empty(t, answer.Error, command["library"])
	return answer
}

func (s *nodeSession) token() string { return s.accessToken }

func (s *nodeSession) call(t *testing.T, url string) int {
	t.Helper()
	s.last = s.ask(t, map[string]any{"do": "call", "url": url})
	return s.last.Status
}

func (s *nodeSession) sent() http.Header {
	header := http.Header{}
	for name, value := range s.last.Sent {
		header.Set(name, value)
	}
	return header
}

// curl speaks for clients that have a certificate, a bearer token, or a secret.
type curl struct{}

func (curl) name() string { return "curl" }

func (curl) can(k kind) bool {
	return slices.Contains([]kind{certificateJWT, certificateAsked, certificateHeader, bearerRefused, bearerAllowed, bearerAsked, clientCredentials}, k)
}

func (curl) open(t *testing.T, w *world, wish wish) session {
	s := &curlSession{files: w.files, certificate: wish.client == "certificate" || wish.client == "machine"}
	if wish.client == "caller" {
		s.user = "caller:caller-secret"
		return s
	}
	as, parameter := []string{"-u", wish.client + ":" + wish.client + "-secret"}, "resource"
	if s.certificate && w.issuer.tlsClient {
		as = []string{"-d", "client_id=" + wish.client}
	}
	if w.issuer.byAudience {
		parameter = "audience"
	}
	body := s.run(t, append(as, "-d", "grant_type=client_credentials", "-d", "scope="+wish.scopes(),
		"--data-urlencode", parameter+"="+wish.resource, w.issuer.tokenEndpoint)...)
	var answer struct {
		AccessToken string `json:"access_token"`
	}
	require.NoError(t, json.Unmarshal([]byte(body), &answer), body)
	s.accessToken = answer.AccessToken
	require.NotEmpty(t, s.accessToken, body)
	return s
}

type curlSession struct {
	files             *files
	certificate       bool
	accessToken, user string
}

func (s *curlSession) run(t *testing.T, args ...string) string {
	t.Helper()
	args = append([]string{"-sS", "--max-time", "60", "--cacert", s.files.authority}, args...)
	if s.certificate {
		args = append(args, "--cert", s.files.machineCert, "--key", s.files.machineKey)
	}
	cmd := exec.Command(need(t, "curl"), args...)
	cmd.Stderr = os.Stderr
	body, err := cmd.Output()
	require.NoError(t, err)
	return string(body)
}

func (s *curlSession) token() string { return s.accessToken }

func (s *curlSession) call(t *testing.T, url string) int {
	t.Helper()
	as := []string{"-H", "Authorization: Bearer " + s.accessToken}
	if s.user != "" {
		as = []string{"-u", s.user}
	}
	text := s.run(t, append(as, "-o", os.DevNull, "-w", "%{http_code}", url)...)
	status, err := strconv.Atoi(text)
	require.NoError(t, err)
	return status
}

// own is dpopclient, under the token source of golang.org/x/oauth2.
type own struct{}

func (own) name() string { return "dpopclient" }
func (own) can(k kind) bool {
	return slices.Contains([]kind{dpopJWT, dpopAsked, dpopSigned, dpopNonces}, k)
}

func (own) open(t *testing.T, w *world, wish wish) session {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	base := w.files.client(nil).Transport
	forTokens, err := dpopclient.New(key, dpopclient.WithTokenEndpoint(w.issuer.tokenEndpoint), dpopclient.WithBase(base))
	require.NoError(t, err)
	config := clientcredentials.Config{
		ClientID: wish.client, ClientSecret: wish.client + "-secret", TokenURL: w.issuer.tokenEndpoint,
		Scopes: strings.Fields(wish.scopes()), EndpointParams: url.Values{"resource": {wish.resource}},
	}
	source := config.TokenSource(context.WithValue(context.Background(), oauth2.HTTPClient, &http.Client{Transport: forTokens}))
	token, err := source.Token()
	require.NoError(t, err)
	return newGoSession(t, w, key, token.AccessToken, token.TokenType)
}

// goSession calls with dpopclient.
type goSession struct {
	accessToken string
	http        *http.Client
	recorder    *recorder
}

// recorder keeps the header of the last request.
type recorder struct {
	next http.RoundTripper
	last atomic.Pointer[http.Header]
}

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	header := req.Header.Clone()
	r.last.Store(&header)
	return r.next.RoundTrip(req)
}

func newGoSession(t *testing.T, w *world, key *ecdsa.PrivateKey, accessToken, tokenType string) *goSession {
	recorder := &recorder{next: w.files.client(nil).Transport}
	transport, err := dpopclient.New(key,
		dpopclient.WithOrigins(w.origins...),
		dpopclient.WithBase(recorder),
		dpopclient.WithTokenSource(dpopclient.TokenSourceFunc(func(context.Context) (string, string, error) {
			return accessToken, tokenType, nil
		})))
	require.NoError(t, err)
	return &goSession{accessToken, &http.Client{Transport: transport}, recorder}
}

func (s *goSession) token() string     { return s.accessToken }
func (s *goSession) sent() http.Header { return *s.recorder.last.Load() }

func (s *goSession) call(t *testing.T, url string) int {
	t.Helper()
	status, err := s.try(url)
	require.NoError(t, err)
	return status
}

func (s *goSession) try(url string) (int, error) {
	resp, err := s.http.Get(url)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

// thief has tokens and proofs of others, a key, and certificates, but not theirs.
type thief struct{ w *world }

// send sends a request with the given fields of its header.
func (th thief) send(t *testing.T, client *http.Client, url string, header http.Header) int {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, url, nil)
	require.NoError(t, err)
	for _, name := range []string{"Authorization", "Dpop", certificateField} {
		if values, ok := header[name]; ok {
			r.Header[name] = values
		}
	}
	resp, err := client.Do(r)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return resp.StatusCode
}

// proves calls with the token and a good proof of the thief's own key.
func (th thief) proves(t *testing.T, accessToken, url string) int {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return newGoSession(t, th.w, key, accessToken, "DPoP").call(t, url)
}

func bearer(accessToken string) http.Header {
	return http.Header{"Authorization": {"Bearer " + accessToken}}
}
