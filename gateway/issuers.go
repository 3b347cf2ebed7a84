package main

import (
	"bytes"
	"context"
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
	e := issuerEntry{ID: idOf(st.Issuer), Issuer: st.Issuer, Configuration: json.RawMessage("null"), Keys: json.RawMessage("[]"), Status: st}
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

// idOf makes an id of an issuer, which is the same in all replicas.
func idOf(issuer string) string {
	sum := sha256.Sum256([]byte(issuer))
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}

// uses are what the plugin has the issuer for.
func (r *reported) uses() []string {
	all := []string{"tokens"}
	if r.asked {
		all = append(all, "introspection")
	}
	if r.grants {
		all = append(all, "client_credentials")
	}
	return all
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

// entries are the issuers of all plugins, each of them once.
func (gw *gateway) entries() []issuerEntry {
	entries := []issuerEntry{}
	at := map[*oidc.Issuer]int{}
	for _, g := range gw.guards {
		for _, r := range g.issuers {
			i, known := at[r.issuer]
			if !known {
				i, at[r.issuer] = len(entries), len(entries)
				entries = append(entries, r.entry())
			}
			for _, use := range r.uses() {
				if !slices.Contains(entries[i].Uses, use) {
					entries[i].Uses = append(entries[i].Uses, use)
				}
			}
		}
	}
	return entries
}

// showIssuers serves GET /openid-connect/issuers and /openid-connect/issuers/{id}.
func (gw *gateway) showIssuers(w http.ResponseWriter, r *http.Request) {
	entries := gw.entries()
	id := r.PathValue("id")
	if id == "" {
		writeJSON(w, http.StatusOK, struct {
			Data []issuerEntry `json:"data"`
			Next *string       `json:"next"`
		}{Data: entries})
		return
	}
	i := slices.IndexFunc(entries, func(e issuerEntry) bool { return e.is(id) })
	if i < 0 {
		writeMessage(w, http.StatusNotFound, "Not found")
		return
	}
	writeJSON(w, http.StatusOK, entries[i])
}

func (e issuerEntry) is(id string) bool { return e.ID == id || e.Issuer == id }

// forgetIssuers serves DELETE /openid-connect/issuers and /openid-connect/issuers/{id}:
// what has been learned from the issuers is fetched anew. As in Kong, it is no mistake
// if there is no such issuer.
func (s *settings) forgetIssuers(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	err := s.server.live.forget(context.WithoutCancel(r.Context()), func(issuer string) bool {
		return id == "" || issuerEntry{ID: idOf(issuer), Issuer: issuer}.is(id)
	})
	if err != nil {
		s.deployment.log.ErrorContext(r.Context(), "the issuers were not forgotten", "error", err.Error())
		writeMessage(w, http.StatusInternalServerError, "the issuers were not forgotten")
		return
	}
	w.WriteHeader(http.StatusNoContent)
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
