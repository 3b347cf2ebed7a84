// Package remote answers "what does the document at this URL say, as of lately?"
//
//	keys, err := remote.New(remote.Config[[]string]{
//		Locate: remote.At("https://issuer.example/jwks"),
//		Decode: func(body []byte, _ http.Header) ([]string, error) {
//			return strings.Fields(string(body)), nil
//		},
//	})
//	...
//	defer keys.Close()
//	s, err := keys.Get(ctx) // the first Get waits for the network, the others read a pointer
//
// A [Resource] keeps the last good answer and replaces it only by a better
// one. There are three reasons to go to the network, and all of them share one
// flight at a time:
//
//   - Nobody has fetched yet, or what there is has grown too old: [Resource.Get]
//     waits, and after a failure answers at once until a backoff has passed.
//   - Somebody needs something newer than what is there: [Resource.Renew], at
//     most once per cooldown.
//   - The answer's lifetime is over: in the background, where nobody waits.
//
// The flight is detached from the callers: a request that goes away does not
// take the answer from the others.
//
// # What it does not check
//
// What the document means: that is Decode's task. Nor the server's identity
// beyond TLS and the URL: whoever can answer for the URL is believed.
package remote
