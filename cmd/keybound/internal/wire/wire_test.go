package wire_test

import (
	"bufio"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/cmd/keybound/internal/wire"
)

func TestARequestGoesOutAsItIsWritten(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	got := make(chan []string, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		var lines []string
		for s := bufio.NewScanner(conn); s.Scan() && s.Text() != ""; {
			lines = append(lines, s.Text())
		}
		got <- lines
		_, _ = conn.Write([]byte("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: DPoP error=\"x\"\r\nContent-Length: 2\r\n\r\nno"))
	}()
	u, err := url.Parse("http://" + listener.Addr().String())
	require.NoError(t, err)
	client, err := wire.NewClient(u, "", nil)
	require.NoError(t, err)
	res, err := client.Do(t.Context(), nil, wire.Request{Method: "get", Target: "/a/../b?x", Fields: []wire.Field{{"dPoP", "a"}, {"DPoP", "b"}}})
	require.NoError(t, err)
	require.Equal(t, 401, res.Status)
	require.Equal(t, []int{103}, res.Informational)
	require.Equal(t, "no", string(res.Body))
	require.Equal(t, []string{"get /a/../b?x HTTP/1.1", "Host: " + u.Host, "dPoP: a", "DPoP: b", "Connection: close"}, <-got)
}

func TestChallengesAreReadStrictly(t *testing.T) {
	for line, want := range map[string]struct {
		challenges string
		problem    string
	}{
		`DPoP algs="ES256 PS256", Bearer realm="a\"b"`: {`DPoP algs=ES256 PS256;Bearer realm=a"b;`, ""},
		`Bearer`:                                     {"Bearer;", ""},
		`Negotiate abc=, DPoP error="x"`:             {"Negotiate;DPoP error=x;", ""},
		`DPoP error=invalid_token`:                   {"DPoP error=invalid_token;", ""},
		`DPoP error="a", error="b"`:                  {"DPoP error=a error=b;", "twice"},
		`DPoP error="a`:                              {"DPoP;", "no end"},
		`DPoP error="a" algs="b"`:                    {"DPoP error=a;", "no comma"},
		`DPoP a="1", error=`:                         {"DPoP a=1;", "no value"},
		`"DPoP"`:                                     {"", "cannot be read"},
		`DPoP error description "x"`:                 {"DPoP;", "neither"},
		`, ,DPoP  a = "1" ,, b="2", Basic realm="c"`: {"DPoP a=1 b=2;Basic realm=c;", ""},
	} {
		found, problems := wire.Challenges(http.Header{"Www-Authenticate": {line}})
		var b strings.Builder
		for _, c := range found {
			b.WriteString(c.Scheme)
			for _, p := range c.Params {
				b.WriteString(" " + p.Name + "=" + p.Value)
			}
			b.WriteString(";")
		}
		require.Equal(t, want.challenges, b.String(), line)
		if want.problem == "" {
			require.Empty(t, problems, line)
		} else {
			require.Contains(t, strings.Join(problems, " "), want.problem, line)
		}
	}
}

func TestChallengesAreExplainedInWords(t *testing.T) {
	h := http.Header{"Www-Authenticate": {`DPoP error="use_dpop_nonce", algs="ES256"`, `Bearer realm="x", scope="a"`}}
	words := strings.Join(wire.Explain(401, h), "\n")
	require.Contains(t, words, "nonce from DPoP-Nonce")
	require.Contains(t, words, "signed with ES256")
	require.Contains(t, words, "scope wanted: a")
	require.Contains(t, strings.Join(wire.Explain(503, http.Header{"Retry-After": {"7"}}), ""), "in 7 s")
	require.Contains(t, strings.Join(wire.Explain(401, http.Header{}), ""), "without a challenge")
}
