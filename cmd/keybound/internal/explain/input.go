package explain

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/keybound-go/middleware/cmd/keybound/internal/wire"
)

// Request is a request as the client sent it.
type Request struct {
	Method string
	URL    string // absolute; or a path, where only Host says which server
	Fields []wire.Field
	Time   time.Time // when it was sent; zero if that is not known
	// CertificateFile is what the curl line names with --cert, "" for none.
	CertificateFile string
	// Status and Header are of the response, if it is known.
	Status int
	Header http.Header
	// withoutTLS: curl -v tells of a connection, and of no TLS on it.
	withoutTLS bool
}

// values returns the fields of that name, in any case.
func (r *Request) values(name string) []string {
	var all []string
	for _, f := range r.Fields {
		if strings.EqualFold(f.Name, name) {
			all = append(all, f.Value)
		}
	}
	return all
}

// Read finds out what text is (a HAR file, a curl line, or raw headers) and reads the
// request. entry chooses among the entries of a HAR file, counted from 1; 0 takes the
// first one that was refused.
func Read(text string, entry int) (*Request, error) {
	trimmed := strings.TrimSpace(text)
	switch {
	case strings.HasPrefix(trimmed, "{"):
		return readHAR([]byte(trimmed), entry)
	case strings.HasPrefix(trimmed, "curl"):
		return readCurl(trimmed)
	default:
		return readRaw(trimmed)
	}
}

type harEntry struct {
	Started string `json:"startedDateTime"`
	Request struct {
		Method  string     `json:"method"`
		URL     string     `json:"url"`
		Headers []harField `json:"headers"`
	} `json:"request"`
	Response struct {
		Status  int        `json:"status"`
		Headers []harField `json:"headers"`
	} `json:"response"`
}

type harField struct{ Name, Value string }

func readHAR(data []byte, entry int) (*Request, error) {
	var doc struct {
		Log struct {
			Entries []harEntry `json:"entries"`
		} `json:"log"`
		harEntry // a single entry
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("explain: the HAR file is not JSON: %w", err)
	}
	entries := doc.Log.Entries
	if len(entries) == 0 && doc.Request.URL != "" {
		entries = []harEntry{doc.harEntry}
	}
	if entry > len(entries) || len(entries) == 0 {
		return nil, fmt.Errorf("explain: the HAR file has %d entries", len(entries))
	}
	chosen := entries[0]
	if entry > 0 {
		chosen = entries[entry-1]
	} else {
		for _, e := range entries {
			if e.Response.Status >= 400 {
				chosen = e
				break
			}
		}
	}
	return chosen.request(), nil
}

func (e harEntry) request() *Request {
	r := &Request{Method: e.Request.Method, URL: e.Request.URL, Status: e.Response.Status, Header: make(http.Header)}
	for _, f := range e.Request.Headers {
		if !strings.HasPrefix(f.Name, ":") { // HTTP/2 pseudo-header fields
			r.Fields = append(r.Fields, wire.Field{Name: f.Name, Value: f.Value})
		}
	}
	for _, f := range e.Response.Headers {
		for value := range strings.SplitSeq(f.Value, "\n") { // as browsers join fields
			r.Header.Add(f.Name, value)
		}
	}
	r.Time, _ = time.Parse(time.RFC3339, e.Started)
	return r
}

// flagsWithValue are curl's that are of no interest here, and take a value.
var flagsWithValue = " -o --output -A --user-agent -e --referer -b --cookie -u --user -m --max-time --cacert --key --resolve --connect-to -x --proxy -w --write-out --connect-timeout --retry -F --form -T --upload-file --ciphers --tls-max -c --cookie-jar -D --dump-header --interface --limit-rate --cert-type --key-type --pass --proxy-user --aws-sigv4 --user-agent --max-redirs --noproxy --pinnedpubkey --capath --data-ascii -r --range -z --time-cond -Y -y -C --continue-at -K --config --create-file-mode --dns-servers --doh-url --etag-save --etag-compare --hostpubmd5 --proto --proto-default --retry-delay --retry-max-time --service-name --socks5 --tls13-ciphers --unix-socket --abstract-unix-socket --trace --trace-ascii --stderr --curves "

func readCurl(line string) (*Request, error) {
	words, err := split(line)
	if err != nil {
		return nil, err
	}
	r := &Request{}
	data := false
	for i := 1; i < len(words); i++ {
		name, value, joined := flag(words[i])
		next := func() string {
			if !joined && i+1 < len(words) {
				i++
				return words[i]
			}
			return value
		}
		switch {
		case name == "-X" || name == "--request":
			r.Method = next()
		case name == "-H" || name == "--header":
			field, content, _ := strings.Cut(next(), ":")
			r.Fields = append(r.Fields, wire.Field{Name: strings.TrimSpace(field), Value: strings.TrimSpace(content)})
		case name == "--url":
			r.URL = next()
		case name == "-E" || name == "--cert":
			r.CertificateFile, _, _ = strings.Cut(next(), ":") // a password may follow
		case name == "--oauth2-bearer":
			r.Fields = append(r.Fields, wire.Field{Name: "Authorization", Value: "Bearer " + next()})
		case name == "-I" || name == "--head":
			r.Method = http.MethodHead
		case name == "-d" || strings.HasPrefix(name, "--data") || name == "--json":
			next()
			data = true
		case strings.Contains(flagsWithValue, " "+name+" "):
			next()
		case !strings.HasPrefix(name, "-"):
			// A word may be the value of a flag that is not known here: one with a scheme is
			// the URL, whatever comes behind it.
			if !strings.Contains(r.URL, "://") {
				r.URL = words[i]
			}
		}
	}
	if r.Method == "" {
		r.Method = http.MethodGet
		if data {
			r.Method = http.MethodPost
		}
	}
	if r.URL == "" {
		return nil, errors.New("explain: the curl line has no URL")
	}
	return r, nil
}

// flag takes a word apart into a flag and the value that stands in the same word, as in
// --header=x, -XPOST and -sXPOST.
func flag(word string) (name, value string, joined bool) {
	if strings.HasPrefix(word, "--") {
		return strings.Cut(word, "=")
	}
	if !strings.HasPrefix(word, "-") {
		return word, "", false
	}
	const taking = "XHdoAebumEKxwFTcD"
	for i := 1; i < len(word); i++ {
		if strings.IndexByte(taking, word[i]) >= 0 {
			return "-" + word[i:i+1], word[i+1:], i+1 < len(word)
		}
		if word[i] == 'I' {
			return "-I", "", false
		}
	}
	return word, "", false
}

// split takes a shell line apart: quotes, backslashes, and $'...' as browsers write it.
func split(line string) (words []string, err error) {
	var word strings.Builder
	inWord := false
	quote := byte(0)
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case quote == 0 && strings.IndexByte(" \t\r\n", c) >= 0:
			if inWord {
				words, inWord = append(words, word.String()), false
				word.Reset()
			}
		case quote == 0 && c == '$' && i+1 < len(line) && line[i+1] == '\'':
			i++
			quote, inWord = '$', true
		case quote == 0 && (c == '\'' || c == '"'):
			quote, inWord = c, true
		case quote != 0 && (c == quote || quote == '$' && c == '\''):
			quote = 0
		case c == '\\' && quote != '\'' && i+1 < len(line):
			i++
			if line[i] != '\n' {
				word.WriteByte(line[i])
				inWord = true
			}
		default:
			word.WriteByte(c)
			inWord = true
		}
	}
	if quote != 0 {
		return nil, errors.New("explain: a quote of the curl line has no end")
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}

// readRaw reads the head of a request, alone or as curl -v shows it with the response.
func readRaw(text string) (*Request, error) {
	r := &Request{Header: make(http.Header)}
	lines := strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	verbose := strings.HasPrefix(text, "> ") || strings.Contains(text, "\n> ")
	first, connection, tls := true, false, false
	for _, line := range lines {
		if verbose {
			if told, ok := strings.CutPrefix(line, "* "); ok {
				connection = connection || strings.HasPrefix(told, "Connected to ") || strings.HasPrefix(told, "Established connection to ")
				tls = tls || strings.Contains(told, "SSL") || strings.Contains(told, "TLS") || strings.Contains(told, "ALPN")
			}
			if response, ok := strings.CutPrefix(line, "< "); ok {
				r.response(response)
				continue
			}
			if !strings.HasPrefix(line, ">") {
				continue // what curl says itself, and bodies
			}
			line = strings.TrimPrefix(strings.TrimPrefix(line, ">"), " ")
		}
		if strings.TrimSpace(line) == "" {
			if !verbose {
				break // the body follows
			}
			continue
		}
		parts := strings.Fields(line)
		if first && len(parts) == 3 && strings.HasPrefix(parts[2], "HTTP/") {
			r.Method, r.URL, first = parts[0], parts[1], false
			continue
		}
		first = false
		name, value, ok := strings.Cut(line, ":")
		if !ok || strings.ContainsAny(name, " \t") {
			return nil, errors.New("explain: this is neither a HAR file, nor a curl line, nor the head of a request")
		}
		r.Fields = append(r.Fields, wire.Field{Name: name, Value: strings.TrimSpace(value)})
	}
	r.withoutTLS = connection && !tls
	return r, nil
}

// response reads a line of a response's head.
func (r *Request) response(line string) {
	if strings.HasPrefix(line, "HTTP/") {
		_, _ = fmt.Sscanf(line[strings.IndexByte(line, ' ')+1:], "%d", &r.Status) // 0 if it is none
		clear(r.Header)                                                           // of a 1xx before it
		return
	}
	if name, value, ok := strings.Cut(line, ":"); ok {
		r.Header.Add(name, strings.TrimSpace(value))
	}
}

// complete makes the URL absolute, by Host where only a path is known.
func (r *Request) complete() (*url.URL, error) {
	u, err := url.Parse(r.URL)
	if err != nil {
		return nil, errors.New("explain: the request has no URL that can be read")
	}
	if u.Host == "" {
		if hosts := r.values("Host"); len(hosts) == 1 {
			u.Scheme, u.Host = "https", hosts[0]
			if r.withoutTLS {
				u.Scheme = "http"
			}
		}
	}
	return u, nil
}
