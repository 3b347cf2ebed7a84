package oracle

import (
	"bytes"
	"os"
	"testing"
)

// A decision that cannot be read beside the RFC in one sitting is no oracle.
func TestTheDecisionHas200LinesAtMost(t *testing.T) {
	source, err := os.ReadFile("decide.go")
	if err != nil {
		t.Fatal(err)
	}
	if lines := bytes.Count(source, []byte("\n")); lines > 200 {
		t.Errorf("decide.go has %d lines", lines)
	}
}

// The figures of RFC 9449, section 7, as far as they say what the answer is.
func TestFiguresOfTheRFC(t *testing.T) {
	dual := Config{DPoP: true, MTLS: true, AllowUnbound: true}
	only := Config{DPoP: true}
	for name, tc := range map[string]struct {
		c    Config
		q    Request
		want Verdict
	}{
		"figure 15: no credentials, DPoP only": {only, Request{Scheme: NoCredentials},
			Verdict{Status: 401, Reason: NoToken, DPoP: "bare", Cache: "no-store"}},
		"figure 16: a proof by another key": {only, Request{Scheme: DPoP, Binding: ToKey, Proof: OtherKey},
			Verdict{Status: 401, Reason: "proof key", DPoP: "invalid_token", Cache: "no-store"}},
		"figure 17: no credentials, both schemes": {dual, Request{Scheme: NoCredentials},
			Verdict{Status: 401, Reason: NoToken, DPoP: "bare", Bearer: "bare", Cache: "no-store"}},
		"figure 18: an invalid bearer token": {dual, Request{Token: ExpiredToken},
			Verdict{Status: 401, Reason: "token exp", DPoP: "bare", Bearer: "invalid_token", Cache: "no-store"}},
		"figure 19: two tokens": {dual, Request{Scheme: TwoFields},
			Verdict{Status: 400, Reason: TwoTokens, DPoP: "invalid_request", Bearer: "invalid_request", Cache: "no-store"}},
	} {
		if got := Decide(tc.c, tc.q); got != tc.want {
			t.Errorf("%s: %+v, not %+v", name, got, tc.want)
		}
	}
}
