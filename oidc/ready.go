package oidc

import (
	"context"
	"errors"
)

// Ready reports whether tokens of any of the issuers can be verified now: it is nil as
// soon as the keys of one are at hand. An issuer that is down is no reason to take a
// service out of rotation while another one's tokens are good. Each issuer is asked
// no more often than its cooldown allows.
func (s *Verifiers) Ready(ctx context.Context) error {
	if s == nil || len(s.verifiers) == 0 {
		return errNoVerifier
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan error, len(s.verifiers))
	for _, v := range s.verifiers {
		go func() { answers <- v.Prefetch(ctx) }()
	}
	var problems []error
	for range s.verifiers {
		err := <-answers
		if err == nil {
			return nil
		}
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}
