package oidc

import (
	"errors"

	"github.com/keybound-go/middleware/internal/jose"
)

// parse parses a JWT whose signature nobody has checked yet.
func parse(raw string, maxSize int) (*jose.Message, error) {
	m, err := jose.Parse(raw, maxSize)
	if err == nil {
		return m, nil
	}
	if kind, ok := errors.AsType[jose.Error](err); ok {
		switch kind {
		case jose.ErrTooLarge:
			return nil, ErrTooLarge
		case jose.ErrEncrypted:
			return nil, ErrEncrypted
		case jose.ErrCritical:
			return nil, ErrCritical
		case jose.ErrAlgorithm:
			return nil, ErrAlgorithm
		}
	}
	return nil, ErrMalformed
}
