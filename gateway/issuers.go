package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"

	"github.com/keybound-go/middleware/oidc"
)

// reported is an issuer of one plugin, and what it has published.
type reported struct {
	issuer    *oidc.Issuer
	published *published
	grants    bool // client credentials are exchanged there
	asked     bool // about tokens
}

// issuerEntry is how Kong shows an issuer.
type issuerEntry struct {
	ID            string          `json:"id"`
	Issuer        string          `json:"issuer"`
	Configuration json.RawMessage `json:"configuration"` // the discovery document; null until it has been fetched
	Keys          json.RawMessage `json:"keys"`          // of the set those that are in use
	CreatedAt     int64           `json:"created_at"`    // when the document was fetched
	Status        oidc.Status     `json:"status"`
	Uses          []string        `json:"uses"`
}

// entry shows what the verifiers of the issuer have now. It touches no network.
func (r *reported) entry() issuerEntry {
	st := r.issuer.Status()
	sum := sha256.Sum256([]byte(st.Issuer))
	e := issuerEntry{
		ID:     fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16]),
		Issuer: st.Issuer, Configuration: json.RawMessage("null"), Keys: json.RawMessage("[]"), Status: st, Uses: []string{"tokens"},
	}
	if r.asked {
		e.Uses = append(e.Uses, "introspection")
	}
	if r.grants {
		e.Uses = append(e.Uses, "client_credentials")
	}
	if m := st.Metadata; m != nil && !m.FetchedAt.IsZero() {
		e.CreatedAt = m.FetchedAt.Unix()
		if document := r.published.at(m.URL); json.Valid(document) {
			e.Configuration = document
		} else {
			e.Configuration = inBrief(st.Issuer, m)
		}
	}
	if st.Keys != nil {
		e.Keys = keysInUse(r.published.at(st.Keys.URL), st.Keys)
	}
	return e
}

// inBrief is what is known of a document that has not been kept.
func inBrief(issuer string, m *oidc.MetadataStatus) json.RawMessage {
	document := map[string]string{"issuer": issuer}
	for name, url := range map[string]string{"jwks_uri": m.JWKSURI, "token_endpoint": m.TokenEndpoint, "introspection_endpoint": m.IntrospectionEndpoint} {
		if url != "" {
			document[name] = url
		}
	}
	text, err := json.Marshal(document)
	if err != nil {
		return json.RawMessage("null")
	}
	return text
}

// keysInUse returns the keys of a set that verify tokens, without what only their
// owner should have.
func keysInUse(set []byte, st *oidc.KeysStatus) json.RawMessage {
	var parsed struct{ Keys []map[string]any }
	if json.Unmarshal(set, &parsed) != nil {
		return json.RawMessage("[]")
	}
	kept := []map[string]any{}
	for _, key := range parsed.Keys {
		kid, named := key["kid"].(string)
		if named && !slices.Contains(st.KeyIDs, kid) || key["d"] != nil || key["k"] != nil {
			continue
		}
		kept = append(kept, key)
	}
	text, err := json.Marshal(kept)
	if err != nil {
		return json.RawMessage("[]")
	}
	return text
}

// published keeps what an issuer has sent last, by URL, as it came.
type published struct {
	http.RoundTripper
	mu  sync.Mutex
	all map[string][]byte
}

// maxPublished limits what is kept of one document, and maxDocuments how many.
const maxPublished, maxDocuments = 1 << 20, 16

func (p *published) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := p.RoundTripper.RoundTrip(r)
	if err == nil && r.Method == http.MethodGet && resp.StatusCode == http.StatusOK {
		at := *r.URL
		at.RawQuery = ""
		resp.Body = &kept{ReadCloser: resp.Body, at: at.String(), in: p}
	}
	return resp, err
}

func (p *published) at(url string) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.all[url]
}

func (p *published) put(url string, document []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all == nil {
		p.all = make(map[string][]byte)
	}
	if _, known := p.all[url]; known || len(p.all) < maxDocuments {
		p.all[url] = document
	}
}

// kept is a body that is kept once all of it has been read.
type kept struct {
	io.ReadCloser
	at   string
	in   *published
	text bytes.Buffer
	long bool
}

func (k *kept) Read(b []byte) (int, error) {
	n, err := k.ReadCloser.Read(b)
	if k.long = k.long || k.text.Len()+n > maxPublished; !k.long {
		k.text.Write(b[:n])
	}
	if err == io.EOF && !k.long {
		k.in.put(k.at, bytes.TrimPrefix(k.text.Bytes(), []byte("\xef\xbb\xbf")))
	}
	return n, err
}

// showIssuers serves GET /openid-connect/issuers and /openid-connect/issuers/{id}.
func (gw *gateway) showIssuers(w http.ResponseWriter, r *http.Request) {
	entries := []issuerEntry{}
	for _, g := range gw.guards {
		for _, issuer := range g.issuers {
			entries = append(entries, issuer.entry())
		}
	}
	id := r.PathValue("id")
	if id == "" {
		writeJSON(w, http.StatusOK, struct {
			Data []issuerEntry `json:"data"`
			Next *string       `json:"next"`
		}{Data: entries})
		return
	}
	i := slices.IndexFunc(entries, func(e issuerEntry) bool { return e.ID == id || e.Issuer == id })
	if i < 0 {
		writeMessage(w, http.StatusNotFound, "Not found")
		return
	}
	writeJSON(w, http.StatusOK, entries[i])
}

// writeJSON writes what only operators are shown.
func writeJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(value) // the client went away
}
