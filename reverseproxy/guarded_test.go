package reverseproxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/dpop/dpoptest"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
	"github.com/keybound-go/middleware/reverseproxy"
)

func TestG3WhatTheGuardSetsIsThereAfterA1xxOfTheService(t *testing.T) {
	behind := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</style.css>")
		w.WriteHeader(http.StatusEarlyHints)
		body, _ := io.ReadAll(r.Body) // which sends 100 to a client that expects it
		w.Header().Set("DPoP-Nonce", "of-the-service")
		fmt.Fprintf(w, "got %s", body)
	}))
	defer behind.Close()
	target, err := url.Parse(behind.URL)
	require.NoError(t, err)
	proxy, err := reverseproxy.New(target)
	require.NoError(t, err)

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	origin := "http://" + listener.Addr().String()
	issuer := oidctest.NewIssuer(t)
	nonces, err := dpop.NewNonces([]byte("0123456789abcdef0123456789abcdef"))
	require.NoError(t, err)
	guard, err := middleware.New(
		middleware.WithTokens(oidc.New(issuer.URL, "https://api.example", oidc.WithHTTPClient(issuer.Client()))),
		middleware.WithDPoP(dpop.New(origin, dpop.WithNonces(nonces, nil))),
		middleware.ExposeHeaders(),
	)
	require.NoError(t, err)
	server := &http.Server{Handler: guard.Wrap(proxy)}
	go server.Serve(listener)
	defer server.Close()

	key := dpoptest.NewKey(t)
	token := issuer.Token(oidctest.BoundToKey(key.Thumbprint()))
	send := func(nonce string) (informational []int, final *http.Response) {
		conn, err := net.Dial("tcp", listener.Addr().String())
		require.NoError(t, err)
		t.Cleanup(func() { conn.Close() })
		require.NoError(t, conn.SetDeadline(time.Now().Add(5*time.Second)))
		var change []dpoptest.ProofOption
		if nonce != "" {
			change = append(change, dpoptest.Nonce(nonce))
		}
		fmt.Fprintf(conn, "POST /x HTTP/1.1\r\nHost: %s\r\nOrigin: https://app.example\r\nAuthorization: DPoP %s\r\nDPoP: %s\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n",
			listener.Addr(), token, key.Proof("POST", origin+"/x", token, change...))
		in, sent := bufio.NewReader(conn), false
		for {
			resp, err := http.ReadResponse(in, nil)
			require.NoError(t, err)
			if resp.StatusCode >= 200 {
				return informational, resp
			}
			informational = append(informational, resp.StatusCode)
			if resp.StatusCode == http.StatusContinue && !sent {
				_, err := io.WriteString(conn, "body")
				require.NoError(t, err)
				sent = true
			}
		}
	}
	informational, refused := send("")
	require.Equal(t, 401, refused.StatusCode)
	require.Empty(t, informational, "a client whose request is refused is not asked for its body")
	nonce := refused.Header.Get("DPoP-Nonce")
	require.NotEmpty(t, nonce)

	informational, passed := send(nonce)
	require.Equal(t, 200, passed.StatusCode)
	require.Contains(t, informational, http.StatusEarlyHints)
	require.Contains(t, informational, http.StatusContinue)
	body, err := io.ReadAll(passed.Body)
	require.NoError(t, err)
	require.Equal(t, "got body", string(body))
	require.NotContains(t, passed.Header["Dpop-Nonce"], "of-the-service")
	require.Equal(t, "DPoP-Nonce, WWW-Authenticate", passed.Header.Get("Access-Control-Expose-Headers"), "which the guard has set before the 103")
}
