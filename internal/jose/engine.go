package jose

import (
	"crypto"

	jwxkey "github.com/lestrrat-go/jwx/v2/jwk"
)

// engineKey makes the key of an issuer's set with jwx, the JOSE library of this
// module. It sees the required members alone, after our own parser has found
// them sound: jwx panics on coordinates and keys of a wrong size, and reads JSON
// less strictly. A request's bytes never get here.
//
// Precondition: j.public has passed.
func (j *jwk) engineKey() (key crypto.PublicKey, fault Error) {
	defer func() {
		if recover() != nil {
			key, fault = nil, ErrKey
		}
	}()
	parsed, err := jwxkey.ParseKey(j.appendRequired(nil))
	if err != nil {
		return nil, ErrKey
	}
	if err := parsed.Raw(&key); err != nil {
		return nil, ErrKey
	}
	return key, 0
}

// setKey makes the key of an issuer's set: what jwx and our own parser agree on.
func (j *jwk) setKey() (crypto.PublicKey, Error) {
	own, fault := j.public()
	if fault != 0 {
		return nil, fault
	}
	key, fault := j.engineKey()
	if fault != 0 {
		return nil, fault
	}
	if same, ok := own.(interface{ Equal(crypto.PublicKey) bool }); !ok || !same.Equal(key) {
		return nil, ErrKey
	}
	return key, 0
}
