package kongfile

import (
	"errors"
	"fmt"
	"strings"
)

var (
	errPathForm = errors.New("the path is malformed")
	ErrPathDots = errors.New("the path has a dot segment")
)

// NormalPath returns a raw path in the form in which routes are matched and
// services asked: unreserved characters decoded, other escapes in upper case,
// repeated slashes merged. What has been matched is what is forwarded, so that a
// service cannot see another path than the one that was judged.
//
// A path with a dot segment, plain or escaped, is an error: clients remove them
// before they send, and a service that resolves one would leave the route. So is
// an escaped NUL.
func NormalPath(raw string) (string, error) {
	if !strings.HasPrefix(raw, "/") {
		return "", errPathForm
	}
	var b strings.Builder
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case c == '/' && strings.HasSuffix(b.String(), "/"):
		case c != '%':
			b.WriteByte(c)
		case i+2 >= len(raw) || unhex(raw[i+1]) < 0 || unhex(raw[i+2]) < 0:
			return "", errPathForm
		default:
			c := byte(unhex(raw[i+1])<<4 | unhex(raw[i+2]))
			if i += 2; c == 0 {
				return "", errPathForm
			}
			if isUnreserved(c) {
				b.WriteByte(c)
			} else {
				fmt.Fprintf(&b, "%%%02X", c)
			}
		}
	}
	path := b.String()
	if HasDotSegment(path) {
		return "", ErrPathDots
	}
	return path, nil
}

// HasDotSegment looks at a path as the most forgiving service would: with escaped
// slashes and backslashes as slashes, and without path parameters.
func HasDotSegment(path string) bool {
	if !strings.Contains(path, ".") {
		return false
	}
	plain := strings.NewReplacer("%2F", "/", "%5C", "/", `\`, "/", "%3B", ";").Replace(path)
	for segment := range strings.SplitSeq(plain, "/") {
		segment, _, _ = strings.Cut(segment, ";")
		if segment == "." || segment == ".." {
			return true
		}
	}
	return false
}

// isUnreserved is RFC 3986, section 2.3.
func isUnreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~'
}

func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// JoinPath puts what is left of a request's path behind that of the service, with
// one slash between them, as path_handling v0 does.
func JoinPath(base, rest string) string {
	switch {
	case rest == "" && base == "":
		return "/"
	case rest == "":
		return base
	}
	return strings.TrimSuffix(base, "/") + "/" + strings.TrimPrefix(rest, "/")
}
