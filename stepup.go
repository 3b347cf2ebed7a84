package middleware

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// authTimeSkew is how far auth_time may lie in the future: clocks differ.
const authTimeSkew = 30 * time.Second

type stepUpRule struct {
	maxAge time.Duration
	acr    []string
	unmet  unmet
}

// StepUp is satisfied by a token whose user authenticated at one of the given
// levels (the acr claim), not longer ago than maxAge (the auth_time claim). The
// levels are in the order of preference; with none, any will do. A maxAge of 0
// sets no limit. A token that does not say is not enough. Failure is 401
// insufficient_user_authentication, which tells the client what to ask the
// issuer for (RFC 9470, section 3).
func StepUp(maxAge time.Duration, acr ...string) Rule {
	s := &stepUpRule{maxAge: maxAge, acr: slices.Clone(acr), unmet: unmet{err: ErrInsufficientAuthentication}}
	if len(acr) > 0 {
		s.unmet.params += `, acr_values="` + strings.Join(acr, " ") + `"`
	}
	if maxAge > 0 {
		s.unmet.params += `, max_age="` + strconv.FormatInt(int64(maxAge/time.Second), 10) + `"`
	}
	return s
}

func (s *stepUpRule) validate() error {
	var problems []error
	if s.maxAge < 0 || s.maxAge%time.Second != 0 {
		problems = append(problems, fmt.Errorf("middleware: StepUp: maxAge %v is not a whole number of seconds", s.maxAge))
	}
	if s.maxAge == 0 && len(s.acr) == 0 {
		problems = append(problems, errors.New("middleware: StepUp demands neither an age nor a level"))
	}
	for _, acr := range s.acr {
		if !isScopeToken(acr) { // It stands between spaces in a quoted-string too.
			problems = append(problems, fmt.Errorf("middleware: StepUp: %q cannot stand in a challenge", acr))
		}
	}
	return errors.Join(problems...)
}

func (s *stepUpRule) admits(shape) bool { return true }

func (s *stepUpRule) check(v *verified) *unmet {
	var claims map[string]json.RawMessage // not a struct: encoding/json would take "ACR" for "acr"
	if err := v.Token.Claims(&claims); err != nil {
		return &s.unmet
	}
	if len(s.acr) > 0 {
		var acr string
		if json.Unmarshal(claims["acr"], &acr) != nil || !slices.Contains(s.acr, acr) {
			return &s.unmet
		}
	}
	if s.maxAge > 0 && !s.recent(claims["auth_time"]) {
		return &s.unmet
	}
	return nil
}

// recent reports whether auth_time is a number that lies within maxAge.
func (s *stepUpRule) recent(authTime json.RawMessage) bool {
	var seconds *float64
	if json.Unmarshal(authTime, &seconds) != nil || seconds == nil {
		return false
	}
	age := float64(time.Now().UnixMilli())/1000 - *seconds
	return -authTimeSkew.Seconds() <= age && age <= s.maxAge.Seconds()
}
