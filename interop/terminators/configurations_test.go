package terminators_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/mtlspop"
)

// configuration is a recommended file, or that file with another line for the same
// purpose.
type configuration struct {
	name    string
	server  server
	file    string
	line    string   // that sets the field; in the file unless it stands instead of the file's own
	instead string   // of the file's line
	also    string   // a further line behind it, for chains
	edits   []string // pairs: what stands in the file, and what stands there instead
	header  string
	format  mtlspop.Format

	// hopByHop: the server removes its own field if the client lists it in Connection.
	hopByHop bool
	// mistake: not recommended. The service may refuse what it could accept, and must
	// still not accept a forgery.
	mistake bool
}

const (
	nginxLine   = "proxy_set_header X-Client-Cert $ssl_client_escaped_cert;"
	haproxyLine = "http-request set-header Client-Cert :%[ssl_c_der,base64]: if { ssl_c_used }"
	apacheLine  = `RequestHeader set X-Client-Cert "expr=%{escape:%{SSL_CLIENT_CERT}}"`
	caddyLine   = `header_up Client-Cert ":{http.request.tls.client.certificate_der_base64}:"`
)

func configurations() []configuration {
	return []configuration{
		{
			name: "nginx", server: nginx{}, file: "nginx.conf", line: nginxLine,
			header: "X-Client-Cert", format: mtlspop.PEM,
		},
		{
			name: "nginx folded", server: nginx{}, file: "nginx.conf", instead: nginxLine,
			line:   "proxy_set_header X-Client-Cert $ssl_client_cert;",
			header: "X-Client-Cert", format: mtlspop.PEM,
		},
		{
			name: "HAProxy", server: haproxy{}, file: "haproxy.cfg", line: haproxyLine,
			header: "Client-Cert", format: mtlspop.RFC9440,
		},
		{
			name: "HAProxy DER", server: haproxy{}, file: "haproxy.cfg", instead: haproxyLine,
			line:   "http-request set-header X-SSL-Client-Cert %[ssl_c_der,base64]",
			header: "X-SSL-Client-Cert", format: mtlspop.DER,
		},
		{
			name: "HAProxy with add-header", server: haproxy{}, file: "haproxy.cfg", instead: haproxyLine,
			line:   "http-request add-header X-SSL-Client-Cert %[ssl_c_der,base64]",
			header: "X-SSL-Client-Cert", format: mtlspop.DER, mistake: true,
		},
		{
			name: "Apache", server: apache{}, file: "httpd.conf", line: apacheLine,
			header: "X-Client-Cert", format: mtlspop.PEM, hopByHop: true,
		},
		{
			name: "Apache with spaces", server: apache{}, file: "httpd.conf", instead: apacheLine,
			line:   `RequestHeader set X-Client-Cert "%{SSL_CLIENT_CERT}s"`,
			header: "X-Client-Cert", format: mtlspop.PEM, hopByHop: true,
		},
		{
			name: "Apache base64", server: apache{}, file: "httpd.conf", instead: apacheLine,
			line:   `RequestHeader set X-Client-Cert "expr=%{base64:%{SSL_CLIENT_CERT}}"`,
			header: "X-Client-Cert", format: mtlspop.Base64PEM, hopByHop: true,
		},
		{
			name: "Caddy", server: caddy{}, file: "Caddyfile", line: caddyLine,
			header: "Client-Cert", format: mtlspop.RFC9440,
		},
		{
			name: "Caddy DER", server: caddy{}, file: "Caddyfile", instead: caddyLine,
			line:   "header_up X-Client-Cert-Der {http.request.tls.client.certificate_der_base64}",
			header: "X-Client-Cert-Der", format: mtlspop.DER,
		},
		{
			name: "Caddy thumbprint", server: caddy{}, file: "Caddyfile", instead: caddyLine,
			line:   "header_up X-Client-Cert-Fp {http.request.tls.client.fingerprint}",
			header: "X-Client-Cert-Fp", format: mtlspop.ThumbprintHex,
		},
	}
}

// text returns the file with c's line, its addresses and paths replaced.
func (c configuration) text(t *testing.T, replacements ...string) string {
	t.Helper()
	raw, err := os.ReadFile(c.file)
	require.NoError(t, err)
	text := string(raw)
	if c.instead != "" {
		require.Equal(t, 1, strings.Count(text, c.instead), "%s has its line once", c.file)
		text = strings.Replace(text, c.instead, c.line, 1)
	}
	require.Equal(t, 1, strings.Count(text, c.line), "%s has its line once", c.file)
	text = strings.Replace(text, c.line, c.line+"\n"+c.also, 1)
	for i := 0; i < len(c.edits); i += 2 {
		require.Equal(t, 1, strings.Count(text, c.edits[i]), "%s has %q once", c.file, c.edits[i])
		text = strings.Replace(text, c.edits[i], c.edits[i+1], 1)
	}
	for i := 0; i < len(replacements); i += 2 {
		require.Contains(t, text, replacements[i])
	}
	return strings.NewReplacer(replacements...).Replace(text)
}

const (
	haproxyChain = "http-request set-header Client-Cert-Chain :%[ssl_c_chain_der,base64]: if { ssl_c_used }"
	apacheChain  = `RequestHeader set X-Client-Chain0 "%{SSL_CLIENT_CERT_CHAIN_0}s"`
)

func TestTheDocumentationQuotesLinesThatAreTested(t *testing.T) {
	formats, err := os.ReadFile("../../mtlspop/format.go")
	require.NoError(t, err)
	for _, c := range configurations() {
		if !c.mistake {
			require.Contains(t, string(formats), c.line, c.name)
		}
	}
	for language, files := range map[string][]string{
		"nginx": {"nginx.conf", "nginx-guard.conf"}, "haproxy": {"haproxy.cfg", "haproxy-guard.cfg"}, "apache": {"httpd.conf"}, "caddy": {"Caddyfile", "Caddyfile.guard"},
	} {
		var lines []string
		for _, file := range files {
			whole, err := os.ReadFile(file)
			require.NoError(t, err)
			lines = append(lines, trimmedLines(string(whole))...)
		}
		for _, u := range upgradings() {
			if !u.open && slices.Contains(files, named(t, u.of).file) {
				lines = append(lines, trimmedLines(strings.Join(u.edits, "\n"))...)
			}
		}
		quoted := quotes(t, language)
		require.NotEmpty(t, quoted, language)
		for _, line := range quoted {
			require.Contains(t, lines, line, files)
		}
	}
	options, err := os.ReadFile("../../mtlspop/options.go")
	require.NoError(t, err)
	require.Contains(t, string(options), haproxyChain)
	require.Contains(t, string(options), apacheChain)
}

// quotes returns the lines of the page's blocks in a language.
func quotes(t *testing.T, language string) []string {
	t.Helper()
	page, err := os.ReadFile("../../docs/terminators.md")
	require.NoError(t, err)
	var lines []string
	for _, block := range strings.Split(string(page), "```"+language+"\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		lines = append(lines, trimmedLines(block)...)
	}
	return lines
}

func trimmedLines(text string) []string {
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}
