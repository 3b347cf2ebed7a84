package exchange

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/keybound-go/middleware/internal/headers"
	"github.com/keybound-go/middleware/internal/strictjson"
)

// parseGrant reads a successful answer of a token endpoint (RFC 6749, section 5.1) to a
// request made at asked. Its errors are the issuer's fault.
func parseGrant(body []byte, asked time.Time, most time.Duration) (*grant, error) {
	var said struct {
		Token     string          // access_token
		Type      string          // token_type
		ExpiresIn json.RawMessage // expires_in
	}
	var o strictjson.Object
	for o.StartDocument(strictjson.WithoutBOM(body), maxDepth); o.Next(); {
		switch string(o.Name()) {
		case "access_token":
			o.Text(&said.Token)
		case "token_type":
			o.Text(&said.Type)
		case "expires_in":
			said.ExpiresIn = o.Value()
		}
	}
	if err := o.Err(); err != nil {
		return nil, fmt.Errorf("the answer is malformed: %w", err)
	}
	switch {
	case !headers.IsVisible(said.Token):
		return nil, errors.New("the answer has no access_token that could stand in a header")
	case !strings.EqualFold(said.Type, "Bearer"):
		// RFC 6749, section 7.1: a client MUST NOT use a token type that it does not
		// understand. A DPoP token could not be used: this service does not have the
		// key.
		return nil, fmt.Errorf("the token is of type %.30q, not Bearer", said.Type)
	}
	lifetime := min(expiresIn(said.ExpiresIn), most)
	return &grant{token: hide(said.Token), until: asked.Add(lifetime - earlyExpiry), good: asked.Add(trustedFor)}, nil
}

// expiresIn is the lifetime that expires_in states: a number of seconds, or a
// string of digits, which some issuers send. A missing one is unstatedExpiry.
// Whatever is no lifetime is 0, so that the token is used for this request only.
func expiresIn(raw json.RawMessage) time.Duration {
	if len(raw) == 0 {
		return unstatedExpiry
	}
	var text string
	if json.Unmarshal(raw, &text) != nil {
		text = string(raw)
	} else if strings.Trim(text, "0123456789") != "" {
		return 0
	}
	// ParseFloat also knows "inf" and hexadecimals, but raw is JSON.
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) || !(seconds > 0) {
		return 0
	}
	return time.Duration(min(math.Floor(seconds), float64(maxTokenLifetime/time.Second))) * time.Second
}

// tokenEndpointErrors are the codes of RFC 6749, section 5.2, and RFC 8707, section 2,
// that are about what this service requests, and safe to repeat in an error.
var tokenEndpointErrors = [...]string{
	"invalid_request", "unsupported_grant_type", "invalid_scope", "invalid_target",
}
