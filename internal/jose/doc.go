// Package jose answers "is this compact JWS well formed, and did this key sign
// it?" It reads untrusted bytes strictly, and knows nothing about HTTP, OAuth
// or the time of day.
//
//	m, err := jose.Parse(compact, 8<<10, 8)
//	if err != nil {
//		return err
//	}
//	key, thumbprint, err := jose.ParseKey(m.Header.JWK)
//	if err != nil {
//		return err
//	}
//	if err := key.Usable(m.Header.Algorithm); err != nil {
//		return err
//	}
//	var claims struct {
//		ID       string           `json:"jti"`
//		IssuedAt jose.NumericDate `json:"iat"`
//	}
//	if err := jose.Unmarshal(m.Payload, &claims, 8); err != nil {
//		return err
//	}
//	if err := m.Verify(key.Public); err != nil {
//		return err
//	}
//
// # What is strict
//
// Only the compact serialization, with three parts, in canonical base64url.
// JSON is one object in valid UTF-8, without duplicate names at any depth,
// with names compared exactly, and with bounded depth. Signature algorithms
// are those of [Algorithms]; each fits one kind of key and one curve. There is
// no "none", and nothing symmetric.
//
// # What this package does not check
//
//   - whether an algorithm is allowed here: that is its caller's list
//   - typ: compare it with [IsType]
//   - any claim, and any time
//   - whether the key is the right one: kid is what the sender says
//   - the payload, until [Object] or [Unmarshal]; jku, x5u and x5c are ignored, never fetched
//
// Everything here is safe for concurrent use, and keeps no state.
package jose
