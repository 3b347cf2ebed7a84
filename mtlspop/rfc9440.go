package mtlspop

import (
	"encoding/base64"
	"strings"
)

// parseByteSequence reads a Byte Sequence (RFC 9651, section 4.2.7) that is a
// whole field.
//
// Padding may be missing, and the bits that it covers may be set, as that section asks
// of parsers; the alphabet and the colons are strict. A field that cannot be parsed is
// ignored as a whole (RFC 9651, section 4.2), and here the request is malformed.
func parseByteSequence(value string) ([]byte, bool) {
	inner, ok := strings.CutPrefix(value, ":")
	if !ok {
		return nil, false
	}
	inner, ok = strings.CutSuffix(inner, ":")
	// The decoder skips line breaks.
	if !ok || inner == "" || strings.ContainsAny(inner, "\r\n") {
		return nil, false
	}
	encoding := base64.RawStdEncoding
	if strings.HasSuffix(inner, "=") {
		encoding = base64.StdEncoding
	}
	der, err := encoding.DecodeString(inner)
	return der, err == nil
}

// parseByteSequences reads a List of Byte Sequences (RFC 9651, section 4.2.1)
// that is a whole field. Each element holds one or more certificates: HAProxy
// writes its whole chain as one blob. It returns nil for what is not one.
func parseByteSequences(value string) (ders [][]byte) {
	for member := range strings.SplitSeq(value, ",") {
		// An empty member, so a trailing comma, has no colons.
		der, ok := parseByteSequence(trimSpace(member))
		if !ok || len(ders) == maxChain {
			return nil
		}
		ders = append(ders, der)
	}
	return ders
}
