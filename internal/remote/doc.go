// Package remote answers "what does the document at this URL say?" and keeps the
// answer fresh.
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
//   - There is no answer yet, or it has grown too old: [Resource.Get] waits, and
//     after a failure answers at once until a backoff has passed.
//   - A caller needs something newer than what is there: [Resource.Renew], at
//     most once per cooldown.
//   - The answer's lifetime is over: in the background, where no caller waits.
//
// The flight is detached from the callers: a caller that goes away does not take
// the answer from the others.
//
// # Answers that are no answers
//
// What an answer means for the document, where Locate names several places for it:
//
//	200, and Decode accepts the body   the document
//	404 and other 4xx                  not here: the next place is asked; after the last, an outage
//	408, 429                           an outage
//	200, and Decode refuses the body   an outage: nothing in it, a web page, {}, another media
//	                                   type, another issuer's document, malformed, too large
//	any other 2xx, 5xx                 an outage
//	a redirect within the origin       followed, three times at most
//	any other redirect                 an outage
//	no answer, a broken one, a panic   an outage
//
// An outage replaces nothing: the last good answer serves until it is older than
// MaxStale, and without one the error says what came instead. Only a 4xx leads to
// the next place. What answers otherwise in the preferred place is broken there, and
// the document of another place could be one that the issuer has given up.
//
// # What it does not check
//
// What the document means: that is Decode's task. Nor the server's identity beyond
// TLS and the URL: the server that answers for the URL is believed.
package remote
