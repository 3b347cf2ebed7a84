package oidc

import (
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/keybound-go/middleware/internal/issuer"
	"github.com/keybound-go/middleware/internal/remote"
	"github.com/keybound-go/middleware/jwks"
)

// Status tells an operator how one issuer is doing. It holds no secret and
// nothing of any token.
type Status struct {
	Issuer       string          `json:"issuer"`
	Metadata     *MetadataStatus `json:"metadata,omitempty"` // nil if no discovery document is needed
	Keys         *KeysStatus     `json:"keys,omitempty"`     // nil if the keys come from WithKeys and are not a jwks.Source
	CachedTokens int             `json:"cached_tokens"`
	// CachedAnswers are those of the CachedTokens that the introspection endpoint has
	// answered for.
	CachedAnswers int `json:"cached_answers,omitempty"`
}

// MetadataStatus is the state of a discovery document. A zero time is one that
// has not been.
type MetadataStatus struct {
	URL                   string    `json:"url"`                // last asked, without query
	JWKSURI               string    `json:"jwks_uri,omitempty"` // this and the endpoints without query
	TokenEndpoint         string    `json:"token_endpoint,omitempty"`
	IntrospectionEndpoint string    `json:"introspection_endpoint,omitempty"`
	FetchedAt             time.Time `json:"fetched_at,omitzero"` // of the document in use
	Stale                 bool      `json:"stale,omitempty"`     // too old, and not in use any more
	LastAttempt           time.Time `json:"last_attempt,omitzero"`
	LastError             string    `json:"last_error,omitempty"` // of the last attempt
	NextAttempt           time.Time `json:"next_attempt,omitzero"`
	NextRefresh           time.Time `json:"next_refresh,omitzero"`
}

// KeysStatus is the state of a key set; see [jwks.Status].
type KeysStatus struct {
	URL         string    `json:"url"`
	Keys        int       `json:"keys"`              // in use
	KeyIDs      []string  `json:"key_ids,omitempty"` // those of them that have one
	Skipped     []string  `json:"skipped,omitempty"` // why others are not
	FetchedAt   time.Time `json:"fetched_at,omitzero"`
	Stale       bool      `json:"stale,omitempty"`
	LastAttempt time.Time `json:"last_attempt,omitzero"`
	LastError   string    `json:"last_error,omitempty"`
	NextAttempt time.Time `json:"next_attempt,omitzero"`
	NextRefresh time.Time `json:"next_refresh,omitzero"`
}

// Reporter is what [StatusHandler] asks: an [Issuer], a [Verifier], [Verifiers], and the
// parts of oidc/tenants and oidc/introspect.
type Reporter interface {
	// Statuses returns the state of each issuer at this moment. It touches no network.
	Statuses() []Status
}

// Status returns the state at this moment. It touches no network.
func (i *Issuer) Status() Status {
	if i.insides() == nil {
		return Status{}
	}
	st := Status{Issuer: i.URL()}
	if m, fetched, ok := i.inside.PeekMetadata(); ok {
		st.Metadata = metadataStatus(m, fetched)
	}
	if source, ok := i.inside.Keys.(interface{ Status() jwks.Status }); ok {
		st.Keys = keysStatus(source.Status())
	}
	return st
}

// Statuses is Status, as a [Reporter].
func (i *Issuer) Statuses() []Status { return []Status{i.Status()} }

// Status returns the state at this moment. It touches no network.
func (v *Verifier) Status() Status {
	if v == nil {
		return Status{}
	}
	st := v.issuer.Status()
	st.CachedTokens = v.cache.len()
	return st
}

// Statuses is Status, as a [Reporter].
func (v *Verifier) Statuses() []Status { return []Status{v.Status()} }

// Statuses returns the state of each issuer at this moment. It touches no network.
func (s *Verifiers) Statuses() (all []Status) {
	if s == nil {
		return nil
	}
	for _, v := range s.verifiers {
		all = append(all, v.Status())
	}
	return all
}

func metadataStatus(m *issuer.Metadata, st remote.Status) *MetadataStatus {
	status := &MetadataStatus{
		URL:         st.URL,
		FetchedAt:   st.FetchedAt,
		Stale:       st.Stale,
		LastAttempt: st.LastAttempt,
		LastError:   st.LastError,
		NextAttempt: st.NextAttempt,
		NextRefresh: st.NextRefresh,
	}
	if m != nil {
		status.JWKSURI = withoutQuery(m.JWKSURI)
		status.TokenEndpoint = withoutQuery(m.TokenEndpoint)
		status.IntrospectionEndpoint = withoutQuery(m.IntrospectionEndpoint)
	}
	return status
}

// withoutQuery is a URL without what may hold a secret: user information and query.
func withoutQuery(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String()
}

func keysStatus(st jwks.Status) *KeysStatus {
	return &KeysStatus{
		URL:         st.URL,
		Keys:        st.Keys,
		KeyIDs:      st.KeyIDs,
		Skipped:     st.Skipped,
		FetchedAt:   st.FetchedAt,
		Stale:       st.Stale,
		LastAttempt: st.LastAttempt,
		LastError:   st.LastError,
		NextAttempt: st.NextAttempt,
		NextRefresh: st.NextRefresh,
	}
}

// StatusHandler answers GET with the state of each issuer, as a JSON list of
// [Status]. It is for operators: it is mounted nowhere by itself, and what it
// tells (endpoints, the issuer's troubles) is not for clients.
func StatusHandler(of ...Reporter) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
			return
		}
		all := []Status{}
		for _, reporter := range of {
			all = append(all, reporter.Statuses()...)
		}
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		_ = json.NewEncoder(w).Encode(all) // the client went away
	})
}
