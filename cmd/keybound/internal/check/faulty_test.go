package check_test

import (
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/cmd/keybound/internal/check"
	"github.com/keybound-go/middleware/cmd/keybound/internal/pen"
)

// handmade is a resource server written for this test, as a developer might write one
// with the standard library. A fault leaves one check out, or makes one mistake.
type handmade struct {
	issuer *check.Issuer
	origin string
	fault  string

	mu   sync.Mutex
	seen map[string]bool
}

var (
	errProof = errors.New("invalid_dpop_proof")
	errToken = errors.New("invalid_token")
	errShape = errors.New("invalid_request")
	errNone  = errors.New("")
)

func (h *handmade) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	err := h.judge(r)
	if h.fault == "open-on-panic" && err == errProof && strings.Count(r.Header.Get("DPoP"), ".") != 2 {
		err = nil
	}
	if err == nil {
		_, _ = io.WriteString(w, "orders")
		return
	}
	status := map[error]int{errShape: 400}[err]
	if status == 0 {
		status = 401
	}
	challenge := `DPoP algs="ES256"`
	if err != errNone {
		challenge += `, error="` + err.Error() + `"`
	}
	switch h.fault {
	case "algs-none":
		challenge = strings.Replace(challenge, "ES256", "ES256 none", 1)
	case "no-algs":
		challenge = strings.Replace(challenge, ` algs="ES256",`, "", 1)
	case "broken-challenge":
		challenge += `, error="twice"`
	case "error-without-credentials":
		if err == errNone {
			challenge += `, error="invalid_token"`
		}
	case "status-400":
		status = 400
	}
	if h.fault != "no-challenge" {
		w.Header().Set("WWW-Authenticate", challenge)
	}
	if h.fault != "cacheable" {
		w.Header().Set("Cache-Control", "no-store")
	}
	w.WriteHeader(status)
}

func (h *handmade) has(fault string) bool { return h.fault == fault }

func (h *handmade) judge(r *http.Request) error {
	fields := r.Header["Authorization"]
	if len(fields) > 1 {
		if !h.has("two-tokens") {
			return errShape
		}
	}
	if len(fields) == 0 || fields[0] == "" {
		if q := r.URL.Query().Get("access_token"); q != "" && h.has("query-token") {
			fields = []string{"DPoP " + q}
		} else {
			return errNone
		}
	}
	scheme, token, _ := strings.Cut(fields[0], " ")
	token = strings.TrimLeft(token, " ")
	dpop := strings.EqualFold(scheme, "DPoP") || h.has("any-scheme")
	if h.has("case-sensitive-scheme") {
		dpop = scheme == "DPoP"
	}
	bearer := strings.EqualFold(scheme, "Bearer")
	if !dpop && !bearer {
		if strings.ContainsAny(scheme, "\t") || !strings.Contains(fields[0], " ") && strings.EqualFold(scheme, "dpop") {
			return errShape
		}
		return errNone
	}
	if token == "" || strings.ContainsAny(strings.TrimRight(token, "="), " ,\"=\t") {
		return errShape
	}
	jkt, err := h.judgeToken(token)
	if err != nil {
		return err
	}
	if bearer {
		if h.has("downgrade") {
			return nil
		}
		return errToken
	}
	if jkt == "" {
		if h.has("unbound") {
			return nil
		}
		return errToken
	}
	return h.judgeProof(r, token, jkt)
}

func decode(part string) (map[string]any, bool) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(part)
	if err != nil {
		return nil, false
	}
	var m map[string]any
	return m, json.Unmarshal(raw, &m) == nil && m != nil
}

func verifies(key *ecdsa.PublicKey, parts []string) bool {
	sig, err := base64.RawURLEncoding.Strict().DecodeString(parts[2])
	if err != nil || len(sig) != 64 {
		return false
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	return ecdsa.Verify(key, sum[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:]))
}

func (h *handmade) judgeToken(token string) (jkt string, err error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "", errToken
	}
	header, ok1 := decode(parts[0])
	claims, ok2 := decode(parts[1])
	if !ok1 || !ok2 {
		return "", errToken
	}
	typ, _ := header["typ"].(string)
	typ = strings.ToLower(strings.TrimPrefix(typ, "application/"))
	alg, _ := header["alg"].(string)
	unsigned := h.has("token-none") && strings.EqualFold(alg, "none")
	key := h.issuer.Key("ES256").Signer().Public().(*ecdsa.PublicKey)
	if h.has("token-header-jwk") {
		if jwk, ok := header["jwk"].(map[string]any); ok {
			if public, err := pen.ParsePublic(jwk); err == nil {
				key, _ = public.(*ecdsa.PublicKey)
			}
		}
	}
	aud := []any{claims["aud"]}
	if list, ok := claims["aud"].([]any); ok {
		aud = list
	}
	iss, _ := claims["iss"].(string)
	exp, _ := claims["exp"].(float64)
	nbf, _ := claims["nbf"].(float64)
	now := float64(time.Now().Unix())
	switch {
	case typ != "at+jwt" && !h.has("token-typ"),
		alg != "ES256" && !unsigned,
		header["crit"] != nil && !h.has("token-crit"),
		!unsigned && !h.has("token-signature") && !verifies(key, parts),
		iss != h.issuer.URL && !h.has("issuer") && !(h.has("issuer-prefix") && strings.HasPrefix(iss, h.issuer.URL)),
		!slices.Contains(aud, any(audience)) && !h.has("audience") && !(h.has("audience-prefix") && strings.HasPrefix(text(claims["aud"]), audience)),
		now > exp && !h.has("expired"),
		now < nbf && !h.has("not-yet"):
		return "", errToken
	}
	cnf, isObject := claims["cnf"].(map[string]any)
	if claims["cnf"] == nil && !isObject {
		return "", nil
	}
	jkt, _ = cnf["jkt"].(string)
	return jkt, nil
}

func text(v any) string { s, _ := v.(string); return s }

func (h *handmade) judgeProof(r *http.Request, token, jkt string) error {
	proofs := r.Header["Dpop"]
	if len(proofs) == 0 || len(proofs) > 1 && !h.has("two-proofs") {
		return errProof
	}
	parts := strings.Split(proofs[0], ".")
	if len(parts) != 3 {
		return errProof
	}
	header, ok1 := decode(parts[0])
	claims, ok2 := decode(parts[1])
	jwk, ok3 := header["jwk"].(map[string]any)
	if !ok1 || !ok2 || !ok3 {
		return errProof
	}
	public, err := pen.ParsePublic(jwk)
	key, isEC := public.(*ecdsa.PublicKey)
	alg := text(header["alg"])
	unsigned := h.has("none") && strings.EqualFold(alg, "none")
	iat, isNumber := claims["iat"].(float64)
	age := float64(time.Now().Unix()) - iat
	htu, _, _ := strings.Cut(text(claims["htu"]), "#")
	htu, _, _ = strings.Cut(htu, "?")
	target, _, _ := strings.Cut(r.RequestURI, "?")
	origin := h.origin
	switch {
	case h.has("trusts-host"):
		origin = "https://" + r.Host
	case h.has("trusts-forwarded") && r.Header.Get("X-Forwarded-Host") != "":
		origin = "https://" + r.Header.Get("X-Forwarded-Host")
	}
	sum := sha256.Sum256([]byte(token))
	private := slices.ContainsFunc([]string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"}, func(name string) bool { _, ok := jwk[name]; return ok })
	switch {
	case text(header["typ"]) != "dpop+jwt" && !h.has("typ"),
		alg != "ES256" && !unsigned,
		err != nil || !isEC,
		header["crit"] != nil && !h.has("crit"),
		!unsigned && !h.has("signature") && !verifies(key, parts),
		private && !h.has("private-key"),
		text(claims["htm"]) != r.Method && !h.has("method") && !(h.has("method-case") && strings.EqualFold(text(claims["htm"]), r.Method)),
		htu != origin+target && !h.has("target") && !(h.has("target-prefix") && strings.HasPrefix(htu, origin+target)),
		(!isNumber || age > 60) && !h.has("old"),
		age < -30 && !h.has("future"),
		text(claims["ath"]) != base64.RawURLEncoding.EncodeToString(sum[:]) && !h.has("ath") && !(h.has("ath-optional") && claims["ath"] == nil),
		text(claims["jti"]) == "":
		return errProof
	}
	if pen.Thumbprint(jwk) != jkt && !h.has("binding") {
		return errToken
	}
	return h.remember(jkt, text(claims["jti"]))
}

func (h *handmade) remember(jkt, jti string) error {
	id := jkt + " " + jti
	if h.has("replay-by-jti-alone") {
		id = jti
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.seen[id] && !h.has("replay") {
		return errProof
	}
	h.seen[id] = true
	return nil
}

// faults are single mistakes, each with a row that must find it.
var faults = map[string]string{
	"two-tokens":                "AUTH-06/another-token-second",
	"query-token":               "AUTH-07/query",
	"any-scheme":                "AUTH-05/token",
	"case-sensitive-scheme":     "AUTH-02/dpop",
	"downgrade":                 "DPOP-7.2-01/as-bearer-without-proof",
	"unbound":                   "DPOP-7.1-02/unbound-token",
	"token-none":                "AT-4-05/alg-none-unsigned",
	"token-header-jwk":          "AT-4-05/jwk-in-the-header",
	"token-typ":                 "AT-4-01/JWT",
	"token-crit":                "JWS-4.1.11/token-crit-unknown",
	"token-signature":           "AT-4-05/subject-changed-afterwards",
	"issuer":                    "AT-4-03/other",
	"issuer-prefix":             "AT-4-03/longer",
	"audience":                  "AT-4-04/other",
	"audience-prefix":           "AT-4-04/below",
	"expired":                   "AT-4-06/an-hour-ago",
	"not-yet":                   "AT-4-08/nbf-in-an-hour",
	"two-proofs":                "DPOP-4.3-01/garbage-second",
	"none":                      "DPOP-4.3-05/alg-none-unsigned",
	"typ":                       "DPOP-4.3-04/typ-JWT",
	"crit":                      "JWS-4.1.11/crit-unknown",
	"signature":                 "DPOP-4.3-06/by-another-key",
	"private-key":               "DPOP-4.3-07/private-d",
	"method":                    "DPOP-4.3-08/other-method",
	"method-case":               "DPOP-4.3-08/lower-case",
	"target":                    "DPOP-4.3-09/other-host",
	"target-prefix":             "DPOP-4.3-09/path-below",
	"trusts-host":               "DPOP-4.3-09b/host",
	"trusts-forwarded":          "DPOP-4.3-09b/x-forwarded-host",
	"old":                       "DPOP-4.3-11/an-hour-ago",
	"future":                    "DPOP-4.3-11/an-hour-ahead",
	"ath":                       "DPOP-7-01/proof-for-another-token",
	"ath-optional":              "DPOP-4.3-03/missing-ath",
	"binding":                   "DPOP-4.3-12b/another-key",
	"replay":                    "DPOP-11.1-03/the-same-proof-again",
	"replay-by-jti-alone":       "DPOP-11.1-06/the-same-jti-by-two-clients",
	"open-on-panic":             "DPOP-4.3-02/two-parts",
	"algs-none":                 "ALL-AUTH-12/bad-algs",
	"no-algs":                   "ALL-AUTH-12/no-algs",
	"broken-challenge":          "ALL-AUTH-15/grammar",
	"error-without-credentials": "AUTH-04/no-error-information",
	"status-400":                "DPOP-4.3-08/other-method",
	"no-challenge":              "ALL-AUTH-04/no-challenge",
	"cacheable":                 "ALL-AUTH-22/cacheable",
}

func TestASingleFaultOfAServerIsFound(t *testing.T) {
	l := newLab(t) // one for all: its keys take long to make
	var server atomic.Pointer[handmade]
	l.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { server.Load().ServeHTTP(w, r) })
	l.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	checked := func(t *testing.T, fault string, only func(string) bool) map[string]bool {
		server.Store(&handmade{issuer: l.issuer, origin: l.server.URL, fault: fault, seen: make(map[string]bool)})
		c := l.config(t, check.RFC9449, "/orders")
		c.Only = only
		failed := make(map[string]bool)
		for _, r := range run(t, c) {
			if r.Status == check.Failed {
				failed[r.Row.ID] = true
			}
		}
		return failed
	}
	before := checked(t, "", nil)
	require.Less(t, len(before), 250, "the server without a fault is good enough to tell one by")
	for fault, row := range faults {
		t.Run(fault, func(t *testing.T) {
			require.False(t, before[row], "the row fails without the fault")
			// The rows ALL- look at the answers to others.
			only := func(id string) bool {
				return id == row || strings.HasPrefix(row, "ALL-") && strings.HasPrefix(id, "AUTH-")
			}
			require.True(t, checked(t, fault, only)[row], row)
		})
	}
	t.Logf("without a fault: %v", keys(before))
}

func keys(m map[string]bool) []string {
	var all []string
	for k := range m {
		all = append(all, k)
	}
	slices.Sort(all)
	return all
}

func TestTheBaselineAcceptsWithAReason(t *testing.T) {
	results := []check.Result{{Row: check.Row{ID: "A"}, Status: check.Failed, Reason: "got 200"}, {Row: check.Row{ID: "B"}, Status: check.Passed}}
	b, err := check.ReadBaseline(strings.NewReader("# ours\n\nA  known since 2026\nB was broken\n"))
	require.NoError(t, err)
	require.Equal(t, []string{"B"}, b.Apply(results))
	require.Equal(t, "known since 2026", results[0].Accept)
	var out strings.Builder
	require.NoError(t, check.WriteBaseline(&out, results))
	require.Equal(t, "A known since 2026\n", out.String())
	for text, want := range map[string]string{"A": "no reason", "A x\nA y": "twice"} {
		_, err := check.ReadBaseline(strings.NewReader(text))
		require.ErrorContains(t, err, want)
	}
}
