package middleware

import (
	"fmt"
	"io"
	"log/slog"
)

// What follows prints values that hold tokens, proofs, cookies or queries without these,
// in every verb of package fmt, in package slog and in encoders: a program that logs
// what it is handed must not log a secret by that.

// String names the method, host and path, without the query.
func (q Request) String() string {
	target := q.Target
	if q.URL != "" {
		target = q.URL
	}
	return fmt.Sprintf("%q %q %q", q.Method, q.Host, withoutSecrets(target))
}

// Format prints [Request.String] for every verb.
func (q Request) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, q.String()) }

// LogValue is [Request.String].
func (q Request) LogValue() slog.Value { return slog.StringValue(q.String()) }

// MarshalText is [Request.String], for encoders such as encoding/json.
func (q Request) MarshalText() ([]byte, error) { return []byte(q.String()), nil }

// String says whether the request may pass and, if not, why.
func (v Verdict) String() string {
	if v.Pass {
		return "may pass"
	}
	return fmt.Sprintf("refused with %d: %v", v.Denial.Status, v.Err)
}

// Format prints [Verdict.String] for every verb.
func (v Verdict) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, v.String()) }

// LogValue is [Verdict.String].
func (v Verdict) LogValue() slog.Value { return slog.StringValue(v.String()) }

// MarshalText is [Verdict.String], for encoders such as encoding/json.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// String names the issuer, subject and client of the token.
func (c Credential) String() string {
	if c.Token == nil {
		return "no credential"
	}
	return fmt.Sprintf("a token of %q for subject %q and client %q", c.Token.Issuer, c.Token.Subject, c.Token.ClientID)
}

// Format prints [Credential.String] for every verb.
func (c Credential) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// LogValue is [Credential.String].
func (c Credential) LogValue() slog.Value { return slog.StringValue(c.String()) }

// MarshalText is [Credential.String], for encoders such as encoding/json.
func (c Credential) MarshalText() ([]byte, error) { return []byte(c.String()), nil }
