package issuers_test

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// kind is a row of a matrix: what a token is bound to, and how the service learns of it.
type kind string

const (
	dpopJWT           kind = "DPoP, JWT"
	dpopAsked         kind = "DPoP, introspection"
	dpopSigned        kind = "DPoP, signed introspection"
	dpopNonces        kind = "DPoP, nonces"
	certificateJWT    kind = "certificate, JWT"
	certificateAsked  kind = "certificate, introspection"
	certificateHeader kind = "certificate in a header"
	bearerRefused     kind = "bearer refused"
	bearerAllowed     kind = "bearer allowed"
	bearerAsked       kind = "bearer, introspection"
	privateKeyJWT     kind = "private_key_jwt"
	clientCredentials kind = "client credentials"
)

var kinds = []kind{dpopJWT, dpopAsked, dpopSigned, dpopNonces, certificateJWT, certificateAsked,
	certificateHeader, bearerRefused, bearerAllowed, bearerAsked, privateKeyJWT, clientCredentials}

// matrix is what came of each client with each kind of token, for one issuer.
type matrix struct {
	rows    []kind
	clients []string
	cells   map[string]map[kind]string // "" until the test of that cell has passed
	events  []string                   // lines about rotation and restart
	missing int                        // how many lines and cells have not come yet
}

func (m *matrix) expect(client string) {
	if m.cells == nil {
		m.cells = map[string]map[kind]string{}
	}
	if m.cells[client] == nil {
		m.clients = append(m.clients, client)
		m.cells[client] = map[kind]string{}
	}
	m.missing++
}

func (m *matrix) expectEvents(n int) { m.missing += n }

func (m *matrix) set(client string, k kind, cell string) {
	m.cells[client][k] = cell
	m.missing--
}

func (m *matrix) event(what string, before, during, after int) {
	m.events = append(m.events, fmt.Sprintf("| %s | %d | %d | %d |", what, before, during, after))
	m.missing--
}

// markdown has a row for each kind that any client did, and a column for each client.
func (m *matrix) markdown() string {
	var b strings.Builder
	line := func(first string, cell func(client string) string) {
		b.WriteString("| " + first)
		for _, c := range m.clients {
			b.WriteString(" | " + cell(c))
		}
		b.WriteString(" |\n")
	}
	line("", func(c string) string { return c })
	line("---", func(string) string { return "---" })
	for _, k := range m.rows {
		done := false
		for _, c := range m.clients {
			done = done || m.cells[c][k] != ""
		}
		if done {
			line(string(k), func(c string) string {
				if cell := m.cells[c][k]; cell != "" {
					return cell
				}
				return "-"
			})
		}
	}
	if len(m.events) > 0 {
		b.WriteString("\n| while calls go on | before | during | after |\n| --- | --- | --- | --- |\n")
		b.WriteString(strings.Join(m.events, "\n") + "\n")
	}
	return b.String()
}

// publish is publishText for a matrix. One with gaps, because software is missing or the
// test was asked to leave something out, is not compared.
func publish(t *testing.T, name string, m *matrix) {
	t.Helper()
	text := m.markdown()
	t.Logf("%s:\n%s", name, text)
	if m.missing > 0 {
		t.Logf("!! not compared with README.md: %d results are missing", m.missing)
		return
	}
	publishText(t, name, text)
}

var readme sync.Mutex // tests of several issuers write their sections at once

// publishText compares the section called name of the README with text, or writes it
// there with INTEROP_UPDATE.
func publishText(t *testing.T, name, text string) {
	t.Helper()
	readme.Lock()
	defer readme.Unlock()
	const path = "../README.md"
	page, err := os.ReadFile(path)
	require.NoError(t, err)
	start, end := "<!-- "+name+" -->\n", "<!-- end of "+name+" -->\n"
	before, rest, ok := strings.Cut(string(page), start)
	require.True(t, ok, "no %s in README.md", start)
	old, after, ok := strings.Cut(rest, end)
	require.True(t, ok, "no %s in README.md", end)
	if os.Getenv("INTEROP_UPDATE") != "" {
		require.NoError(t, os.WriteFile(path, []byte(before+start+text+end+after), 0o644))
		return
	}
	require.Equal(t, old, text, "README.md says otherwise; run the test with INTEROP_UPDATE=1")
}
