package oidc

import "encoding/json"

// Profile is how an issuer spells its access tokens.
type Profile uint8

const (
	// RFC9068 is the default: JWT access tokens as RFC 9068 has them.
	RFC9068 Profile = iota
)

type profile struct{}

func (p Profile) rules() *profile { return &profile{} }

func (p *profile) clientID(c *claims) string { s, _ := jsonString(c.ClientID); return s }

func (p *profile) scopes(c *claims) ([]string, error) {
	if c.Scope == nil {
		return nil, nil
	}
	return splitScope(c.Scope)
}

var _ json.RawMessage
