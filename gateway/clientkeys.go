package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/keybound-go/middleware/gateway/kongfile"
	"github.com/keybound-go/middleware/oidc/clientauth"
)

// clientKeys are the keys that the gateway signs with for one plugin.
type clientKeys struct {
	*clientauth.Keys
	plugin *kongfile.OpenIDConnect
}

// lead is how long a new key is published before it signs: as long as issuers may
// keep a set.
const lead = 5 * time.Minute

// rotate gives a new key to those whose key was not given by the file.
func rotate(all []*clientKeys) error {
	var problems []error
	for _, keys := range all {
		if keys.plugin.Client.Key != nil {
			continue
		}
		next, err := generateKey(keys.plugin.Client.Algorithm)
		if err == nil {
			err = keys.Rotate(next, lead)
		}
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}

// publish serves the keys of all plugins as one set.
func publish(w http.ResponseWriter, r *http.Request, all []*clientKeys) {
	if len(all) == 1 {
		all[0].ServeHTTP(w, r)
		return
	}
	set := struct {
		Keys []json.RawMessage `json:"keys"`
	}{Keys: []json.RawMessage{}}
	for _, keys := range all {
		one := capture{header: make(http.Header)}
		keys.ServeHTTP(&one, &http.Request{Method: http.MethodGet})
		var more struct{ Keys []json.RawMessage }
		if json.Unmarshal(one.Bytes(), &more) == nil {
			set.Keys = append(set.Keys, more.Keys...)
		}
	}
	w.Header().Set("Content-Type", "application/jwk-set+json")
	w.Header().Set("Cache-Control", "max-age=300")
	_ = json.NewEncoder(w).Encode(set) // the client went away
}

// capture is an http.ResponseWriter that keeps the body.
type capture struct {
	bytes.Buffer
	header http.Header
}

func (c *capture) Header() http.Header { return c.header }
func (c *capture) WriteHeader(int)     {}
