package mtlspop

import "strings"

// xfccElement is what one Envoy says about the certificate that it has seen.
// The values are still encoded; nil is a key that the element does not have.
type xfccElement struct {
	hash, cert, chain *string
}

// parseXFCC reads the certificate of the outermost of hops Envoys.
func parseXFCC(value string, hops int) (presented, bool) {
	element, n, ok := outermostXFCC(value, hops)
	if !ok {
		return presented{}, false
	}
	if n < hops {
		return presented{sum: thumbprintOfNothing}, true
	}
	p, ok := element.certificate()
	if !ok {
		return presented{}, false
	}
	if element.hash != nil {
		sum, ok := parseHexThumbprint(*element.hash)
		if !ok || sum != p.sum {
			return presented{}, false
		}
	}
	return p, true
}

// parseXFCCThumbprint reads the Hash of the outermost of hops Envoys.
func parseXFCCThumbprint(value string, hops int) (presented, bool) {
	element, n, ok := outermostXFCC(value, hops)
	if !ok {
		return presented{}, false
	}
	if n < hops {
		return presented{sum: thumbprintOfNothing}, true
	}
	if element.hash == nil {
		return presented{}, false
	}
	return presentThumbprint(parseHexThumbprint(*element.hash))
}

// certificate reads Cert, Chain, or both. The leaf is in either.
func (e xfccElement) certificate() (presented, bool) {
	var p presented
	if e.chain != nil {
		var ok bool
		if p, ok = presentChain(parsePEMChain(*e.chain)); !ok {
			return presented{}, false
		}
	}
	if e.cert == nil {
		return p, e.chain != nil
	}
	leaf, ok := presentOne(parsePEM(*e.cert))
	if !ok || e.chain != nil && leaf.sum != p.sum {
		return presented{}, false
	}
	leaf.others = p.others
	return leaf, true
}

// outermostXFCC returns the first element of a well-formed value and the
// number of all, which must not exceed hops.
func outermostXFCC(value string, hops int) (first xfccElement, n int, ok bool) {
	for n < hops {
		element, rest, ok := nextXFCC(value)
		if !ok {
			return xfccElement{}, 0, false
		}
		if n++; n == 1 {
			first = element
		}
		if rest == "" {
			return first, n, true
		}
		value = rest[1:] // behind the comma
	}
	return xfccElement{}, 0, false
}

// nextXFCC reads pairs up to the end of an element. The rest is empty, or
// starts with the comma.
func nextXFCC(value string) (e xfccElement, rest string, ok bool) {
	for {
		key, v, rest, ok := nextXFCCPair(value)
		if !ok || !e.set(key, v) {
			return xfccElement{}, "", false
		}
		if rest == "" || rest[0] == ',' {
			return e, rest, true
		}
		value = rest[1:] // behind the semicolon
	}
}

// set takes up one pair. Those that identify the certificate may come once;
// By, URI and DNS may come several times, and are not used.
func (e *xfccElement) set(key, value string) bool {
	var field **string
	switch {
	case strings.EqualFold(key, "Hash"):
		field = &e.hash
	case strings.EqualFold(key, "Cert"):
		field = &e.cert
	case strings.EqualFold(key, "Chain"):
		field = &e.chain
	default:
		return true
	}
	if *field != nil {
		return false
	}
	*field = &value
	return true
}

// nextXFCCPair reads key=value or key="value" up to the separator, with which
// the rest starts unless it is empty.
func nextXFCCPair(s string) (key, value, rest string, ok bool) {
	key, s, ok = strings.Cut(s, "=")
	if !ok || !isXFCCKey(key) {
		return "", "", "", false
	}
	if strings.HasPrefix(s, `"`) {
		value, rest, ok = quotedXFCC(s[1:])
	} else {
		end := strings.IndexAny(s, `,;"`)
		if end < 0 {
			end = len(s)
		}
		value, rest, ok = s[:end], s[end:], true
	}
	if !ok || rest != "" && rest[0] != ',' && rest[0] != ';' {
		return "", "", "", false
	}
	return key, value, rest, true
}

// quotedXFCC returns what precedes the closing quote, still escaped, and what
// follows it. Envoy writes \" for a quote and leaves other backslashes as they
// are, so that only a quote can be escaped. None of the values that are used
// has anything to unescape.
func quotedXFCC(s string) (value, rest string, ok bool) {
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return s[:i], s[i+1:], true
		case s[i] == '\\' && i+1 < len(s) && s[i+1] == '"':
			i++
		}
	}
	return "", "", false
}

func isXFCCKey(key string) bool {
	for i := range len(key) {
		if c := key[i] | 0x20; c < 'a' || c > 'z' {
			return false
		}
	}
	return key != ""
}
