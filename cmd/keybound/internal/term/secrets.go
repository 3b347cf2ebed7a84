package term

import (
	"fmt"
	"regexp"
	"strings"
	"sync"
)

// Secrets cuts what must not be printed out of texts: every secret that it was told of,
// anything that looks like a signed JWT or a private key, and the values of query and form
// members that carry secrets. Its methods may be used concurrently.
type Secrets struct {
	mu  sync.Mutex
	all []string
}

// shortest is the length of the shortest secret that is looked for: shorter ones are
// words of ordinary texts too.
const shortest = 8

// Add tells of secrets, as whole values or as fields with a scheme in front.
func (s *Secrets) Add(values ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range values {
		for part := range strings.FieldsSeq(v) {
			if len(part) >= shortest {
				s.all = append(s.all, part)
			}
		}
	}
}

var (
	signedJWT  = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*\.[A-Za-z0-9_.-]{8,}`)
	privateJWK = regexp.MustCompile(`"(d|p|q|dp|dq|qi|k)"\s*:\s*"[^"]+"`)
	privatePEM = regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|$)`)
	member     = regexp.MustCompile(`(?i)\b((?:access_|refresh_|id_)?token|client_secret|client_assertion|assertion|password)=([^&\s"'#;<>]+)`)
	// A code of the device flow that a user types is shorter, and must be shown.
	code = regexp.MustCompile(`(?i)\b(code|device_code)=([^&\s"'#;<>]{20,})`)
)

// Cut returns text without secrets.
func (s *Secrets) Cut(text string) string {
	s.mu.Lock()
	all := s.all
	s.mu.Unlock()
	for _, secret := range all {
		if strings.Contains(text, secret) {
			text = strings.ReplaceAll(text, secret, Short(secret))
		}
	}
	text = signedJWT.ReplaceAllStringFunc(text, Short)
	text = privateJWK.ReplaceAllString(text, `"$1":"..."`)
	text = privatePEM.ReplaceAllString(text, "(a private key)")
	text = code.ReplaceAllString(text, "$1=...")
	return member.ReplaceAllString(text, "$1=...")
}

// Short leaves enough of a secret to recognise it by, and too little to use it.
func Short(secret string) string {
	if len(secret) < 32 {
		return fmt.Sprintf("... (%d characters)", len(secret))
	}
	return fmt.Sprintf("%s... (%d characters)", secret[:8], len(secret))
}
