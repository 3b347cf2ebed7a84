package reverseproxy

import "strings"

// withoutDPoP returns the values of WWW-Authenticate without their challenges of
// the DPoP scheme. The others stay as they are, each in a value of its own where
// they shared one with DPoP.
func withoutDPoP(values []string) (kept []string) {
	for _, value := range values {
		challenges := splitChallenges(value)
		other := challenges[:0:0]
		for _, c := range challenges {
			if scheme, _, _ := strings.Cut(c, " "); !strings.EqualFold(scheme, "DPoP") {
				other = append(other, c)
			}
		}
		if len(other) == len(challenges) {
			kept = append(kept, value)
		} else {
			kept = append(kept, other...)
		}
	}
	return kept
}

// splitChallenges returns the challenges of one field value (RFC 9110, section 11.6.1).
// An element of the list begins one if it is not a parameter, name=value, of the
// challenge before.
func splitChallenges(value string) (challenges []string) {
	for _, element := range splitList(value) {
		scheme, _, _ := strings.Cut(element, " ")
		if n := len(challenges); n > 0 && strings.Contains(scheme, "=") {
			challenges[n-1] += ", " + element
			continue
		}
		challenges = append(challenges, element)
	}
	return challenges
}

// splitList splits at commas outside of quoted strings and leaves out what is empty.
func splitList(value string) (elements []string) {
	begin, quoted := 0, false
	add := func(end int) {
		if element := strings.Trim(value[begin:end], " \t"); element != "" {
			elements = append(elements, element)
		}
		begin = end + 1
	}
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			add(i)
		}
	}
	add(len(value))
	return elements
}
