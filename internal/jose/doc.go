// Package jose answers "is this compact JWS well formed, and did this key sign
// it?" It reads untrusted bytes strictly, and knows nothing about HTTP, OAuth
// or the time of day.
//
//	m, err := jose.Parse(compact, 8<<10)
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
//	var id string
//	var o strictjson.Object
//	for o.Start(m.Payload, 8); o.Next(); {
//		if string(o.Name()) == "jti" {
//			o.Text(&id)
//		}
//	}
//	if err := o.Err(); err != nil {
//		return err
//	}
//	if err := m.Verify(key.Public); err != nil {
//		return err
//	}
//
// # What is strict
//
// Only the compact serialization, with three parts, in canonical base64url, and
// JSON as internal/strictjson reads it. Signature algorithms are those of
// [Algorithms]; each fits one kind of key and one curve. There is no "none", and
// nothing symmetric.
//
// A key in a proof has exactly one form. The keys that a configured issuer
// publishes may have their numbers in other forms, which [ParseKeySet] repairs by
// one table:
//
//	EC   x, y  a big-endian integer, in the width of the curve
//	RSA  n, e  a big-endian integer, in as few bytes as possible
//	OKP  x     32 bytes as they are: nothing to repair
//
// # What this package does not check
//
//   - whether an algorithm is allowed here: that is its caller's list
//   - typ: compare it with [IsType]
//   - any claim, and any time
//   - whether the key is the right one: kid is what the sender says
//   - the payload, which is for strictjson.Object; jku, x5u and x5c are ignored, never
//     fetched
//
// Everything here is safe for concurrent use, and keeps no state.
package jose
