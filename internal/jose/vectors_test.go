package jose_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/keybound-go/middleware/internal/jose"
)

// vector is one published example; the shape of input and expect goes with kind.
type vector struct {
	ID    string `json:"id"`
	Kind  string `json:"kind"`
	Input struct {
		JWS   string          `json:"jws"`
		JWK   json.RawMessage `json:"jwk"`
		Proof string          `json:"proof"`
		JWT   string          `json:"jwt"`
	} `json:"input"`
	Expect struct {
		Signature  string         `json:"signature"`
		Algorithm  string         `json:"alg"`
		Type       string         `json:"typ"`
		Thumbprint string         `json:"thumbprint"`
		JKT        string         `json:"jkt"`
		Payload    *string        `json:"payload_utf8"`
		Ours       string         `json:"our_library"`
		Claims     map[string]any `json:"claims"`
		Header     struct {
			Algorithm string `json:"alg"`
			KeyID     string `json:"kid"`
		} `json:"header"`
	} `json:"expect"`
}

func TestPublishedExamples(t *testing.T) {
	raw, err := os.ReadFile("testdata/rfc.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Vectors []json.RawMessage }
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	run := map[string]func(*testing.T, vector){
		"jws":              testSignatureExample,
		"jwk-thumbprint":   testThumbprintExample,
		"dpop-proof":       testProofExample,
		"jwt-access-token": testTokenExample,
	}
	count := map[string]int{}
	for _, raw := range file.Vectors {
		var kind struct{ Kind string }
		if err := json.Unmarshal(raw, &kind); err != nil {
			t.Fatal(err)
		}
		if run[kind.Kind] == nil {
			continue // for another room
		}
		var v vector
		if err := json.Unmarshal(raw, &v); err != nil {
			t.Fatal(err)
		}
		count[v.Kind]++
		t.Run(v.ID, func(t *testing.T) { run[v.Kind](t, v) })
	}
	if count["jws"] != 8 || count["jwk-thumbprint"] != 3 || count["dpop-proof"] != 3 || count["jwt-access-token"] != 1 {
		t.Errorf("examples are missing: %v", count)
	}
}

func testSignatureExample(t *testing.T, v vector) {
	m, err := jose.Parse(v.Input.JWS, testMaxSize)
	if err != nil {
		t.Fatal(err)
	}
	if m.Header.Algorithm != v.Expect.Algorithm {
		t.Errorf("alg %q", m.Header.Algorithm)
	}
	if strings.HasPrefix(v.Expect.Ours, "REJECT") {
		if _, _, err := jose.ParseKey(v.Input.JWK); err == nil {
			t.Error("its key is accepted")
		}
		if err := m.Verify(testKeys()["ES256"].Signer.Public()); err != jose.ErrAlgorithm {
			t.Error(err)
		}
		return
	}
	key, _, err := jose.ParseKey(v.Input.JWK)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Verify(key.Public); err != nil {
		t.Error(err)
	}
	if v.Expect.Payload != nil {
		if string(m.Payload) != *v.Expect.Payload {
			t.Errorf("payload %q", m.Payload)
		}
	}
}

func testThumbprintExample(t *testing.T, v vector) {
	key, thumbprint, err := jose.ParseKey(v.Input.JWK)
	if err != nil || thumbprint != v.Expect.Thumbprint {
		t.Errorf("JKT-3: %q, %v", thumbprint, err)
	}
	if got, err := jose.Thumbprint(key.Public); err != nil || got != v.Expect.Thumbprint {
		t.Errorf("JKT-3: %q, %v", got, err)
	}
}

func testProofExample(t *testing.T, v vector) {
	_, thumbprint, err := accept(v.Input.Proof)
	if err != nil || thumbprint != v.Expect.JKT {
		t.Errorf("%q, %v", thumbprint, err)
	}
	m, err := jose.Parse(v.Input.Proof, testMaxSize)
	if err != nil {
		t.Fatal(err)
	}
	if m.Header.Type != v.Expect.Type || m.Header.Algorithm != v.Expect.Algorithm {
		t.Errorf("%+v", m.Header)
	}
	testClaims(t, m, v)
}

func testTokenExample(t *testing.T, v vector) {
	m, err := jose.Parse(v.Input.JWT, testMaxSize)
	if err != nil {
		t.Fatal(err)
	}
	if m.Header.Algorithm != v.Expect.Header.Algorithm || m.Header.KeyID != v.Expect.Header.KeyID {
		t.Errorf("%+v", m.Header)
	}
	// The RFC does not publish the issuer's key.
	if err := m.Verify(testKeys()["ES256"].Signer.Public()); err != jose.ErrSignature {
		t.Error(err)
	}
	testClaims(t, m, v)
}

func testClaims(t *testing.T, m *jose.Message, v vector) {
	t.Helper()
	got := map[string]any{}
	if err := json.Unmarshal(m.Payload, &got); err != nil {
		t.Fatal(err)
	}
	if want := mustJSON(t, v.Expect.Claims); string(mustJSON(t, got)) != string(want) {
		t.Errorf("%v, want %s", got, want)
	}
}
