package issuer

import (
	"net/http"
	"testing"
)

// FuzzMetadata: no document of another issuer is ever metadata.
func FuzzMetadata(f *testing.F) {
	i, err := New(Config{URL: "https://issuer.example"})
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		`{"issuer":"https://issuer.example","jwks_uri":"https://issuer.example/jwks","token_endpoint":null}`,
		`{"issuer":"https://issuer.example/"}`, `{"issuer":null}`, `{"ISSUER":"https://issuer.example"}`,
		`{"issuer":"https://issuer.example","mtls_endpoint_aliases":{"token_endpoint":"https://mtls.issuer.example"}}`,
		"\xef\xbb\xbf{\"issuer\":\"https://issuer.example\"}", `{"issuer":"https://issuer.example","issuer":"https://other.example"}`, `[]`, ``, `<html>`,
	} {
		f.Add([]byte(seed))
	}
	h := http.Header{"Content-Type": {"application/json"}}
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := i.decode(body, h)
		if (m == nil) == (err == nil) {
			t.Fatal("neither metadata nor an error, or both")
		}
		if err == nil && m.Issuer != i.URL {
			t.Fatalf("%q is of %q", body, m.Issuer)
		}
	})
}
