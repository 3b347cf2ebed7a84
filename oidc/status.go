package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/keybound-go/middleware/jwks"
)

// Status tells an operator how one issuer is doing. It holds no secret and
// nothing of any token.
type Status struct {
	Issuer       string          `json:"issuer"`
	Metadata     *MetadataStatus `json:"metadata,omitempty"` // nil if no discovery document is needed
	Keys         *KeysStatus     `json:"keys,omitempty"`     // nil if the keys come from WithKeys and are not a jwks.Source
	CachedTokens int             `json:"cached_tokens"`
}

// MetadataStatus is the state of a discovery document. A zero time is one that
// has not been.
type MetadataStatus struct {
	URL                   string    `json:"url"` // last asked, without query
	JWKSURI               string    `json:"jwks_uri,omitempty"`
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

// Reporter is what [StatusHandler] asks: a [Verifier], [Issuers], an
// [Introspector], and what combines them ([Introspected], [Forms]).
type Reporter interface{ statuses() []Status }

// Status returns the state at this moment. It touches no network.
func (v *Verifier) Status() Status {
	if v == nil {
		return Status{}
	}
	st := Status{Issuer: v.issuer, CachedTokens: v.cache.len()}
	if v.provider != nil {
		st.Metadata = v.provider.status()
	}
	if source, ok := v.keys.(interface{ Status() jwks.Status }); ok {
		st.Keys = keysStatus(source.Status())
	}
	return st
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

func (v *Verifier) statuses() []Status { return []Status{v.Status()} }

func (s *Issuers) statuses() (all []Status) {
	if s == nil {
		return nil
	}
	for _, v := range s.verifiers {
		all = append(all, v.Status())
	}
	return all
}

// Status returns the state at this moment. It touches no network.
func (i *Introspector) Status() Status {
	if i == nil || i.endpoint == nil {
		return Status{}
	}
	st := Status{Issuer: i.issuer, CachedTokens: i.active.size()}
	if i.provider != nil {
		st.Metadata = i.provider.status()
	}
	if i.signed != nil {
		st.Keys = keysStatus(i.signed.source.Status())
	}
	return st
}

func (i *Introspector) statuses() []Status { return []Status{i.Status()} }

func (x *Introspected) statuses() []Status {
	if x == nil {
		return nil
	}
	return append(x.verifier.statuses(), x.introspector.statuses()...)
}

func (f *Forms) statuses() (all []Status) {
	if f == nil {
		return nil
	}
	if jwts, ok := f.jwts.(Reporter); ok {
		all = jwts.statuses()
	}
	return append(all, f.opaque.statuses()...)
}

func (p *provider) status() *MetadataStatus {
	st := p.doc.Status()
	status := &MetadataStatus{
		URL:         st.URL,
		FetchedAt:   st.FetchedAt,
		Stale:       st.Stale,
		LastAttempt: st.LastAttempt,
		LastError:   st.LastError,
		NextAttempt: st.NextAttempt,
		NextRefresh: st.NextRefresh,
	}
	if s := p.doc.Peek(); s != nil {
		status.JWKSURI = s.Value.JWKSURI
		status.TokenEndpoint = s.Value.TokenEndpoint
		status.IntrospectionEndpoint = s.Value.IntrospectionEndpoint
	}
	return status
}

// Prefetch fetches what the first token would need, and returns at once if it is
// at hand: for the start of a service and for its readiness probe. An error
// says what is missing; the Verifier works all the same as soon as the issuer
// does.
func (v *Verifier) Prefetch(ctx context.Context) error {
	if v == nil || v.keys == nil {
		return errNoVerifier
	}
	if source, ok := v.keys.(interface{ Prefetch(context.Context) error }); ok {
		return source.Prefetch(ctx)
	}
	return nil
}

// Close ends the background refreshes that the first token started. A key source
// from [WithKeys] is not closed. The Verifier may be used afterwards, but what
// it knows grows old. It may be called more than once.
func (v *Verifier) Close() error {
	if v == nil {
		return nil
	}
	var problems []error
	if v.source != nil {
		problems = append(problems, v.source.Close())
	}
	if v.provider != nil {
		problems = append(problems, v.provider.doc.Close())
	}
	return errors.Join(problems...)
}

// StatusHandler answers GET with the state of each issuer, as a JSON list of
// [Status]. It is for operators: it is mounted nowhere by itself, and what it
// tells (endpoints, the issuer's troubles) is nobody else's business.
func StatusHandler(of ...Reporter) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, http.StatusText(http.StatusMethodNotAllowed), http.StatusMethodNotAllowed)
			return
		}
		all := []Status{}
		for _, reporter := range of {
			all = append(all, reporter.statuses()...)
		}
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		_ = json.NewEncoder(w).Encode(all) // the client went away
	})
}
