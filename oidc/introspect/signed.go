package introspect

import (
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/keybound-go/middleware/internal/issuer"
	"github.com/keybound-go/middleware/internal/jose"
	"github.com/keybound-go/middleware/internal/strictjson"
)

// introspectionJWT is the typ of a signed answer, and its media type without
// "application/" (RFC 9701, section 5).
const introspectionJWT = "token-introspection+jwt"

// signedAnswers opens the signed answers of one issuer.
type signedAnswers struct {
	issuer     string
	audiences  []string // what the issuer may call us: the client id, and the identifiers of the service
	algorithms []string
	skew       time.Duration
	keys       issuer.Keys
}

func newSignedAnswers(i *issuer.Issuer, c *config, clientID string) *signedAnswers {
	return &signedAnswers{
		issuer:     i.URL,
		audiences:  append([]string{clientID}, c.Audiences...),
		algorithms: c.Algorithms,
		skew:       c.Skew,
		keys:       i.Keys,
	}
}

// open returns the token_introspection member of a signed answer. Whatever is
// wrong with the answer says nothing about the token, so no error here is an
// oidc.TokenError.
// The header's typ keeps answers and access tokens apart (RFC 9701, section 8.1).
func (s *signedAnswers) open(ctx context.Context, r *issuer.Reply, asked time.Time) ([]byte, error) {
	if r.MediaType != "application/"+introspectionJWT {
		return nil, fmt.Errorf("the answer is %q, not the signed one that was asked for (RFC 9701)", r.MediaType)
	}
	m, err := jose.Parse(string(r.Body), issuer.MaxAnswerSize)
	if errors.Is(err, jose.ErrEncrypted) {
		return nil, errors.New("the answer is encrypted, which is not supported: register the client without introspection_encrypted_response_alg")
	}
	if err != nil {
		return nil, err
	}
	if !jose.IsType(m.Header.Type, introspectionJWT) {
		return nil, fmt.Errorf("the answer's typ is %.50q, not %s", m.Header.Type, introspectionJWT)
	}
	if !slices.Contains(s.algorithms, m.Header.Algorithm) {
		return nil, fmt.Errorf("the answer's alg %.50q is not accepted; WithAlgorithms sets the list", m.Header.Algorithm)
	}
	claims, err := s.checkClaims(m.Payload, asked)
	if err != nil {
		return nil, err
	}
	return claims, s.checkSignature(ctx, m)
}

// checkClaims is RFC 9701, section 5.
// An answer that a proxy kept from an earlier question is refused by iat
// (RFC 9700, section 4.13).
func (s *signedAnswers) checkClaims(payload []byte, asked time.Time) ([]byte, error) {
	var c struct {
		Issuer   string                 // iss
		Audience []string               // aud
		IssuedAt strictjson.NumericDate // iat
		Claims   json.RawMessage        // token_introspection
	}
	var o strictjson.Object
	for o.StartDocument(payload, maxDepth); o.Next(); {
		switch string(o.Name()) {
		case "iss":
			o.Text(&c.Issuer)
		case "aud":
			o.TextOrList(&c.Audience)
		case "iat":
			o.Date(&c.IssuedAt)
		case "token_introspection":
			c.Claims = o.Value()
		}
	}
	if err := o.Err(); err != nil {
		return nil, fmt.Errorf("the signed answer is malformed: %w", err)
	}
	switch iat := c.IssuedAt.Time(); {
	case c.Issuer != s.issuer:
		return nil, errors.New("the signed answer is from another issuer")
	case !slices.ContainsFunc(c.Audience, func(a string) bool { return slices.Contains(s.audiences, a) }):
		return nil, errors.New("the signed answer is for another audience")
	case !c.IssuedAt.Present():
		return nil, errors.New("the signed answer has no iat")
	// It answers a question that was asked just now: one made before, or not yet, is
	// about something else.
	case iat.Before(asked.Add(-s.skew).Truncate(time.Second)), iat.After(time.Now().Add(s.skew)):
		return nil, errors.New("the signed answer was not made for this question: its iat is too old or in the future")
	case len(c.Claims) == 0 || c.Claims[0] != '{':
		return nil, errors.New("the signed answer has no token_introspection object")
	}
	return c.Claims, nil
}

func (s *signedAnswers) checkSignature(ctx context.Context, m *jose.Message) error {
	keys, err := s.keys.Keys(ctx, m.Header.Algorithm, m.Header.KeyID)
	if err != nil {
		return fmt.Errorf("the key of the signed answer: %w", err)
	}
	if !slices.ContainsFunc(keys, func(k crypto.PublicKey) bool { return m.Verify(k) == nil }) {
		return errors.New("the signature of the answer is not valid")
	}
	return nil
}
