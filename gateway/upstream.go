package main

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/keybound-go/middleware/gateway/kongfile"
	"github.com/keybound-go/middleware/oidc"
)

// tell tells the service behind. What it says is the only thing under these names:
// the proxy has deleted what the client sent.
func tell(u *kongfile.Upstream, h http.Header, token *oidc.Token, raw string) {
	if u.TokenHeader != "" && raw != "" {
		h[u.TokenHeader] = []string{u.TokenScheme + raw}
	}
	if len(u.Claims) == 0 {
		return
	}
	var claims map[string]json.RawMessage
	if token.Claims(&claims) != nil {
		return
	}
	for _, c := range u.Claims {
		if value, ok := claimText(claims, c.Path); ok {
			h[c.Name] = []string{value}
		}
	}
}

// claimText is a claim as it stands in a header: a string, number or boolean as it
// is, and a list or object as base64 of its JSON, as in Kong, so that an element
// with a comma is not two.
func claimText(claims map[string]json.RawMessage, path []string) (string, bool) {
	value, ok := claims[path[0]]
	if !ok || string(value) == "null" {
		return "", false
	}
	if len(path) > 1 {
		var within map[string]json.RawMessage
		if json.Unmarshal(value, &within) != nil {
			return "", false
		}
		return claimText(within, path[1:])
	}
	var text string
	switch value[0] {
	case '"':
		if json.Unmarshal(value, &text) != nil {
			return "", false
		}
	case '[', '{':
		text = base64.StdEncoding.EncodeToString(value)
	default:
		text = string(value)
	}
	// A header cannot begin or end with a space: " root" would arrive as "root".
	return text, text == strings.TrimSpace(text) && !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f })
}
