package dpop

import (
	"strings"
	"unicode/utf8"
)

// The normal form of an http or https URI (RFC 3986, sections 6.2.2 and 6.2.3;
// RFC 9110, section 4.2.3). Everything here is total, works in linear time, and
// appends to a buffer of the caller's, so that comparing does not allocate.

// withoutQuery drops the query and the fragment, whichever comes first.
func withoutQuery(uri string) string {
	if i := strings.IndexAny(uri, "?#"); i >= 0 {
		return uri[:i]
	}
	return uri
}

// splitURI takes an absolute URI without query and fragment apart. The scheme is
// normal; authority and path are as they stand.
func splitURI(uri string) (scheme, authority, path string, ok bool) {
	scheme, rest, ok := strings.Cut(uri, "://")
	if !ok {
		return "", "", "", false
	}
	scheme = normalScheme(scheme)
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		return scheme, rest[:i], rest[i:], scheme != ""
	}
	return scheme, rest, "", scheme != ""
}

// normalScheme returns http or https, or nothing for any other scheme. It is not
// [strings.EqualFold], for which "httpſ" is https.
func normalScheme(s string) string {
	var buf [len("https")]byte
	if len(s) > len(buf) {
		return ""
	}
	switch string(appendLower(buf[:0], s)) {
	case "https":
		return "https"
	case "http":
		return "http"
	default:
		return ""
	}
}

func appendLower(dst []byte, s string) []byte {
	for i := range len(s) {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}

// appendPath appends the normal form of path, which is empty or starts with a
// slash. An empty path becomes "/", unless emptyPath, as for OPTIONS, where it
// means something else (RFC 9110, section 4.2.3).
func appendPath(dst []byte, path string, emptyPath bool) ([]byte, bool) {
	if path == "" && !emptyPath {
		return append(dst, '/'), true
	}
	start := len(dst)
	dst, ok := appendEscaped(dst, path)
	return removeDots(dst, start), ok
}

// appendEscaped appends path with its percent-encoding in normal form: upper case,
// and where it is needed. An encoded reserved character, such as %2F or %40, is
// not the same as the character.
func appendEscaped(dst []byte, path string) ([]byte, bool) {
	if !utf8.ValidString(path) {
		return dst, false
	}
	for i := 0; i < len(path); i++ {
		c := path[i]
		switch {
		case isPathChar(c):
			dst = append(dst, c)
		case isEscapable(c):
			dst = append(dst, '%', hexDigits[c>>4], hexDigits[c&15])
		case isEscape(path, i):
			decoded := unhex(path[i+1])<<4 | unhex(path[i+2])
			if isUnreserved(decoded) {
				dst = append(dst, decoded)
			} else {
				dst = append(dst, '%', upper(path[i+1]), upper(path[i+2]))
			}
			i += 2
		default:
			return dst, false
		}
	}
	return dst, true
}

// isClaimable reports whether a proof may claim a path that is spelt like that.
func isClaimable(path string) bool {
	for i := range len(path) {
		if c := path[i]; !isPathChar(c) && !isEscapable(c) && !isEscape(path, i) {
			return false
		}
	}
	return utf8.ValidString(path)
}

// isEscape reports whether a percent-encoded byte begins at path[i].
func isEscape(path string, i int) bool {
	return path[i] == '%' && i+2 < len(path) && isHex(path[i+1]) && isHex(path[i+2])
}

// sameSpelling reports whether claimed is prefix and path, byte by byte, except for the
// case of hex digits. Precondition: every percent sign in claimed begins an encoded byte.
func sameSpelling[T string | []byte](claimed T, prefix, path string) bool {
	if len(claimed) != len(prefix)+len(path) {
		return false
	}
	digits := 0 // that are due of an encoded byte
	for i := range len(claimed) {
		c, want := claimed[i], byte(0)
		if i < len(prefix) {
			want = prefix[i]
		} else {
			want = path[i-len(prefix)]
		}
		if c != want && (digits == 0 || !isHex(want) || upper(c) != upper(want)) {
			return false
		}
		if digits = max(digits-1, 0); c == '%' {
			digits = 2
		}
	}
	return true
}

// removeDots removes the dot segments of path = b[start:], which is empty or
// starts with a slash (RFC 3986, section 5.2.4).
func removeDots(b []byte, start int) []byte {
	out := start
	for in := start; in < len(b); {
		// Invariant: b[in] is a slash, and out <= in.
		end := in + 1
		for end < len(b) && b[end] != '/' {
			end++
		}
		switch segment := string(b[in+1 : end]); segment {
		case ".", "..":
			if segment == ".." {
				out = parent(b, start, out)
			}
			if end == len(b) {
				b[out] = '/'
				out++
			}
		default:
			out += copy(b[out:], b[in:end])
		}
		in = end
	}
	return b[:out]
}

// parent returns where the last segment of b[start:out] begins, its slash included.
func parent(b []byte, start, out int) int {
	for out > start {
		out--
		if b[out] == '/' {
			break
		}
	}
	return out
}

// isPathChar reports whether c may stand in a path as it is. The two brackets may
// not (RFC 3986, section 3.3), but are legal elsewhere in a URI, and clients leave them.
func isPathChar(c byte) bool {
	if isUnreserved(c) {
		return true
	}
	switch c {
	case '/', ':', '@', '!', '$', '&', '\'', '(', ')', '*', '+', ',', ';', '=', '[', ']':
		return true
	default:
		return false
	}
}

// isEscapable reports whether c, which no URI may hold as it is, means its
// percent-encoded form in a claim: many clients sign the address that they were
// given, and their HTTP library escapes it. A space, a control character and a
// backslash stay refused, since libraries differ in what they make of these.
func isEscapable(c byte) bool {
	switch c {
	case '{', '}', '|', '"', '^', '<', '>', '`':
		return true
	default:
		return c >= utf8.RuneSelf
	}
}

const hexDigits = "0123456789ABCDEF"

func isUnreserved(c byte) bool {
	return isAlphanumeric(c) || c == '-' || c == '.' || c == '_' || c == '~'
}

func isAlphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// Precondition of unhex and upper: isHex(c).
func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c&^0x20 - 'A' + 10
}

func upper(c byte) byte {
	if c >= 'a' {
		return c - 'a' + 'A'
	}
	return c
}
