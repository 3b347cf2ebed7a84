package explain

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	_ "crypto/sha256" // hashes of the algorithms
	_ "crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"regexp"
	"strings"
	"unicode/utf8"
)

var errWeak = errors.New("weak key")

// jwt is a JWT taken apart.
type jwt struct {
	header, claims map[string]any
	input          string
	signature      []byte
}

const maxJWT = 16 << 10

// readJWT reads a compact JWS strictly. problem is what is wrong with it, in words.
func readJWT(compact string) (j *jwt, problem string) {
	parts := strings.Split(compact, ".")
	switch {
	case len(parts) == 5:
		return nil, "five parts: it is encrypted (JWE)"
	case len(parts) != 3:
		return nil, fmt.Sprintf("%d parts, not 3", len(parts))
	case len(compact) > maxJWT:
		return nil, fmt.Sprintf("%d bytes", len(compact))
	}
	j = &jwt{input: parts[0] + "." + parts[1]}
	for i, name := range []string{"header", "payload", "signature"} {
		raw, err := decode(parts[i])
		if err != nil {
			return nil, "the " + name + " is not base64url"
		}
		switch i {
		case 0:
			j.header, problem = object(raw, 8)
		case 1:
			j.claims, problem = object(raw, 32)
		default:
			j.signature = raw
		}
		if problem != "" {
			return nil, "the " + name + " " + problem
		}
	}
	return j, ""
}

// decode is base64url in its one spelling. Package base64 skips line ends even if it
// is strict.
func decode(part string) ([]byte, error) {
	if strings.ContainsAny(part, "\r\n") {
		return nil, errors.New("line end")
	}
	return base64.RawURLEncoding.Strict().DecodeString(part)
}

// surrogate finds halves of UTF-16 pairs; whole pairs are taken out before.
var (
	pair      = regexp.MustCompile(`\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}`)
	surrogate = regexp.MustCompile(`\\u[dD][89a-fA-F][0-9a-fA-F]{2}`)
)

// object reads exactly one JSON object, in which no name stands twice.
func object(raw []byte, depth int) (m map[string]any, problem string) {
	if !utf8.Valid(raw) || surrogate.Match(pair.ReplaceAll(raw, nil)) {
		return nil, "is not UTF-8"
	}
	if problem := scan(raw, depth); problem != "" {
		return nil, problem
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, "is not JSON"
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, "is no JSON object"
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, "has something behind its JSON object"
	}
	return m, ""
}

// scan looks for names that stand twice, and for nesting that is too deep.
func scan(raw []byte, depth int) (problem string) {
	d := json.NewDecoder(bytes.NewReader(raw))
	type level struct {
		names map[string]bool // nil for a list
		name  bool            // the next token is a name
	}
	var open []level
	for {
		t, err := d.Token()
		if errors.Is(err, io.EOF) {
			return ""
		}
		if err != nil {
			return "is not JSON"
		}
		top := len(open) - 1
		if s, ok := t.(string); ok && top >= 0 && open[top].names != nil && open[top].name {
			if open[top].names[s] {
				return fmt.Sprintf("has the member %q twice", s)
			}
			open[top].names[s], open[top].name = true, false
			continue
		}
		if top >= 0 {
			open[top].name = true
		}
		switch t {
		case json.Delim('{'):
			open = append(open, level{map[string]bool{}, true})
		case json.Delim('['):
			open = append(open, level{})
		case json.Delim('}'), json.Delim(']'):
			open = open[:top]
			if len(open) > 0 {
				open[len(open)-1].name = true
			}
		}
		if len(open) > depth {
			return "is nested too deeply"
		}
	}
}

// verify reports whether key made the signature, as alg.
func verify(alg string, key crypto.PublicKey, input string, signature []byte) bool {
	hash := map[string]crypto.Hash{"256": crypto.SHA256, "384": crypto.SHA384, "512": crypto.SHA512}[alg[max(0, len(alg)-3):]]
	digest := []byte(input)
	if hash != 0 {
		h := hash.New()
		h.Write(digest)
		digest = h.Sum(nil)
	}
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		size := (key.Curve.Params().BitSize + 7) / 8
		if want := map[int]string{32: "ES256", 48: "ES384", 66: "ES512"}[size]; alg != want || len(signature) != 2*size {
			return false
		}
		return ecdsa.Verify(key, digest, new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:]))
	case *rsa.PublicKey:
		switch {
		case hash == 0 || key.N.BitLen() > 4096:
			return false
		case strings.HasPrefix(alg, "PS"):
			return rsa.VerifyPSS(key, hash, digest, signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
		case strings.HasPrefix(alg, "RS"):
			return rsa.VerifyPKCS1v15(key, hash, digest, signature) == nil
		}
		return false
	case ed25519.PublicKey:
		return (alg == "EdDSA" || alg == "Ed25519") && len(signature) == ed25519.SignatureSize && ed25519.Verify(key, []byte(input), signature)
	}
	return false
}

// weak reports whether an Ed25519 key is of small order, so that a constant signature
// verifies under it: with the signature (identity, 0) any message does.
func weak(key crypto.PublicKey) bool {
	ed, ok := key.(ed25519.PublicKey)
	if !ok {
		return false
	}
	identity := make([]byte, 64)
	identity[0] = 1
	for message := range 64 { // one in eight is enough for a key of order 8
		if ed25519.Verify(ed, []byte{byte(message)}, identity) {
			return true
		}
	}
	return false
}
