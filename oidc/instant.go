package oidc

import (
	"encoding/json"
	"math"
	"time"
)

// instant is a NumericDate (RFC 7519, section 2). Stands in for jose.NumericDate until that lands.
type instant struct {
	at  time.Time
	set bool
}

func (i instant) Time() time.Time { return i.at }
func (i instant) Present() bool   { return i.set }

func (i *instant) UnmarshalJSON(raw []byte) error {
	var f float64
	if string(raw) == "null" || json.Unmarshal(raw, &f) != nil || math.Abs(f) > 253402300799 {
		return ErrClaims
	}
	sec, frac := math.Modf(f)
	i.at, i.set = time.Unix(int64(sec), int64(frac*1e9)), true
	return nil
}
