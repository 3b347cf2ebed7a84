package jwks

import (
	"errors"
	"fmt"
	"strings"
)

var (
	// ErrNoKey says that the issuer has no key that fits: the token's fault.
	ErrNoKey = errors.New("jwks: the issuer has no such key")

	// ErrTooManyKeys is an ErrNoKey too: more than 16 keys fit, and a token
	// that cannot say which one it means is not worth that many signatures.
	ErrTooManyKeys error = tooManyKeys{}

	// ErrUnavailable says that the issuer's keys could not be fetched, so that it is
	// not known whether a key fits: not the token's fault. The error around it has the
	// cause, and one in its chain has a method RetryAfter() time.Duration if it is known
	// when the next attempt will be made:
	//
	//	var retry interface{ RetryAfter() time.Duration }
	//	if errors.As(err, &retry) { ... }
	ErrUnavailable = errors.New("jwks: no keys")
)

type tooManyKeys struct{}

func (tooManyKeys) Error() string        { return "jwks: more than 16 keys fit" }
func (tooManyKeys) Is(target error) bool { return target == ErrNoKey }

func unavailable(err error) error { return fmt.Errorf("%w: %w", ErrUnavailable, err) }

// renamed gives the mistakes that internal/remote reports this room's name.
func renamed(err error) error {
	if err == nil {
		return nil
	}
	return errors.New(strings.ReplaceAll(err.Error(), "remote: ", "jwks: "))
}
