package dpopclient

// Challenge lets the tests outside the package see what the parser sees.
type Challenge struct {
	Scheme string
	Params map[string]string
}

func ParseChallenges(line string) []Challenge {
	var out []Challenge
	for _, c := range parseChallenges(line) {
		params := make(map[string]string, len(c.params))
		for _, p := range c.params {
			params[p.name] = p.value
		}
		out = append(out, Challenge{c.scheme, params})
	}
	return out
}

var AsksForNonce = asksForNonce

var DefaultBase = defaultBase

const MaxNonce = maxNonce
