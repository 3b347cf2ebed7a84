// Package profile says by which profile of package oidc a token is an access token.
package profile

import (
	"fmt"
	"strings"

	"github.com/keybound-go/middleware/oidc"
)

// aliases are names that package oidc does not have.
var aliases = map[string]oidc.Vendor{"": oidc.RFC9068, "entra": oidc.EntraID, "spring": oidc.SpringAuthorizationServer}

// Named returns the profile with a name, in any case.
func Named(name string) (oidc.Vendor, error) {
	if v, ok := aliases[strings.ToLower(name)]; ok {
		return v, nil
	}
	var names []string
	for v := oidc.RFC9068; v.String() != "unknown"; v++ {
		if strings.EqualFold(v.String(), name) {
			return v, nil
		}
		names = append(names, strings.ToLower(v.String()))
	}
	return 0, fmt.Errorf("there is no profile %q; there are %s", name, strings.Join(names, ", "))
}

// Fits reports whether a token is an access token by the profile, apart from audience,
// times and signature. If it is not, advice names a profile that reads it, or says what
// else to do.
func Fits(raw string, by oidc.Vendor) (fits bool, advice string, err error) {
	// The identifiers do not matter: nothing is compared with them, and nothing is
	// fetched.
	v, err := oidc.New("https://issuer.example", "https://api.example", oidc.WithProfile(by))
	if err != nil {
		return false, "", err
	}
	defer v.Close()
	switch e := v.Explain(raw); {
	case e.FitsProfile:
		return true, "", nil
	case e.ReadableBy == oidc.RFC9068.String():
		return false, "needs no profile: it is as RFC 9068 has it", nil
	case e.ReadableBy != "":
		return false, "needs oidc.WithProfile(oidc." + e.ReadableBy + "), if that is the issuer's software", nil
	default:
		return false, fmt.Sprintf("no profile reads it (typ is %q): it is an ID token or the like, or the issuer needs a description (oidc.Described)", e.Type), nil
	}
}
