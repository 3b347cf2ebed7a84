package tenants

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/keybound-go/middleware/internal/issuer"
	"github.com/keybound-go/middleware/internal/recall"
	"github.com/keybound-go/middleware/oidc"
)

// maxStatuses is how many tenants Statuses tells of.
const maxStatuses = 100

// Len is how many tenants are live.
func (s *Tenants) Len() int {
	if s == nil {
		return 0
	}
	s.live.mu.Lock()
	defer s.live.mu.Unlock()
	return len(s.live.proven) + len(s.live.new)
}

// Ready reports whether tokens can be verified now, as far as that does not depend on one
// tenant: it fails only for Tenants that were not made by New, or are closed. A
// tenant whose issuer is down is no reason to take a service out of rotation. The
// operator must probe the database behind resolve.
func (s *Tenants) Ready(context.Context) error {
	if s == nil || s.resolve == nil {
		return errNoTenants
	}
	if !s.live.begin() {
		return errClosed
	}
	s.live.end()
	return nil
}

// Statuses returns the present state of at most 100 live tenants: first of those whose
// metadata or keys could not be fetched last time, then of those that were used last. It
// touches no network.
func (s *Tenants) Statuses() (all []oidc.Status) {
	if s == nil {
		return nil
	}
	type one struct {
		by      *verifying
		issuer  string
		failing bool
		used    int64
		status  oidc.Status
	}
	var of []one
	s.live.mu.Lock()
	for t := range s.live.all() {
		if by := t.serving(); by != nil {
			of = append(of, one{by: by, issuer: t.issuer, used: t.used.Load()})
		}
	}
	s.live.mu.Unlock()
	for i := range of {
		of[i].status = of[i].by.Status()
		of[i].failing = isFailing(&of[i].status)
	}
	slices.SortFunc(of, func(a, b one) int {
		switch {
		case a.failing && !b.failing:
			return -1
		case b.failing && !a.failing:
			return 1
		}
		return cmp.Or(cmp.Compare(b.used, a.used), cmp.Compare(a.issuer, b.issuer))
	})
	for _, o := range of[:min(len(of), maxStatuses)] {
		o.status.CachedTokens = s.tokens.Held(recall.OwnerOf(o.issuer, ""))
		all = append(all, o.status)
	}
	return all
}

func isFailing(s *oidc.Status) bool {
	return s.Metadata != nil && s.Metadata.LastError != "" || s.Keys != nil && s.Keys.LastError != ""
}

// Explain is [oidc.Verifier.Explain] for a token of any live tenant. For another issuer
// it says what the token has.
func (s *Tenants) Explain(raw string) oidc.Explanation {
	if s == nil || s.resolve == nil {
		return oidc.ExplainToken(raw)
	}
	if _, iss, err := issuer.ParseToken(raw, maxRoutedSize); err == nil {
		if t := s.live.find(string(iss)); t != nil {
			if by := t.serving(); by != nil {
				return by.Explain(raw)
			}
		}
	}
	return oidc.ExplainToken(raw)
}

// Format writes "tenants.Tenants", whatever the verb.
func (s *Tenants) Format(f fmt.State, _ rune) { fmt.Fprint(f, "tenants.Tenants") }
