package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"
)

// readyWithin is how long a readiness probe waits for the issuers.
const readyWithin = 5 * time.Second

// health answers the probes under /-/ and hands everything else to the gateway.
func (gw *gateway) health() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /-/healthz", func(w http.ResponseWriter, r *http.Request) { writeMessage(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /-/readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), readyWithin)
		defer cancel()
		if err := gw.prefetch(ctx); err != nil {
			gw.deployment.log.WarnContext(ctx, "not ready", "error", err.Error())
			writeMessage(w, http.StatusServiceUnavailable, "an issuer cannot be reached")
			return
		}
		writeMessage(w, http.StatusOK, "ready")
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/-/healthz" || r.URL.Path == "/-/readyz" {
			mux.ServeHTTP(w, r)
			return
		}
		gw.ServeHTTP(w, r) // not by the mux, which would redirect unclean paths
	})
}

// prefetch fetches what the first requests would need.
func (gw *gateway) prefetch(ctx context.Context) error {
	var problems []error
	for _, g := range gw.guards {
		for _, fetch := range g.parts.prefetch {
			problems = append(problems, fetch(ctx))
		}
	}
	return errors.Join(problems...)
}

// admin is for operators and, as far as the keys go, for issuers.
func (gw *gateway) admin() http.Handler {
	var keys []*clientKeys
	for _, g := range gw.guards {
		if g.keys != nil {
			keys = append(keys, g.keys)
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /openid-connect/issuers", gw.showIssuers)
	mux.HandleFunc("GET /openid-connect/issuers/{id...}", gw.showIssuers)
	mux.HandleFunc("GET /openid-connect/jwks", func(w http.ResponseWriter, r *http.Request) { publish(w, r, keys) })
	mux.HandleFunc("DELETE /openid-connect/jwks", func(w http.ResponseWriter, r *http.Request) {
		if err := rotate(keys); err != nil {
			gw.deployment.log.ErrorContext(r.Context(), "the keys were not rotated", "error", err.Error())
			writeMessage(w, http.StatusInternalServerError, "the keys were not rotated")
			return
		}
		writeMessage(w, http.StatusAccepted, "new keys are published, and sign in five minutes")
	})
	return http.NewCrossOriginProtection().Handler(mux)
}

// writeMessage writes a body in Kong's form.
func writeMessage(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"message": message}) // the client went away
}
