package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// stats is what the server says of itself.
type stats struct {
	Mallocs, Heap uint64
}

// serve runs the issuer and the service, writes where they are, and stops when
// standard input ends.
func serve() error {
	tb := new(process)
	issuer := oidctest.NewIssuer(tb)
	service := httptest.NewUnstartedServer(nil)
	verifier, err := oidc.New(issuer.URL, oidctest.Audience, oidc.WithHTTPClient(issuer.Client()))
	if err != nil {
		return err
	}
	// Proofs are made long before they are used here, and are to stay remembered.
	proofs, err := dpop.New("https://"+service.Listener.Addr().String(), dpop.WithLifetime(time.Hour))
	if err != nil {
		return err
	}
	guard, err := middleware.New(middleware.WithTokens(verifier, nil), middleware.WithDPoP(proofs, nil))
	if err != nil {
		return err
	}
	answer := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	mux := http.NewServeMux()
	mux.Handle("/bare", answer)
	mux.Handle("/guarded", guard.Wrap(answer))
	service.Config.Handler = mux
	service.StartTLS()
	defer service.Close()

	control := http.NewServeMux()
	control.HandleFunc("/token", func(w http.ResponseWriter, r *http.Request) {
		changes := []oidctest.Change{oidctest.BoundToKey(r.FormValue("jkt")), oidctest.ExpiresIn(24 * time.Hour)}
		if r.FormValue("expired") != "" {
			changes = append(changes, oidctest.ExpiresIn(-time.Hour))
		}
		if kid := r.FormValue("kid"); kid != "" {
			changes = append(changes, oidctest.Header("kid", kid))
		}
		_, _ = io.WriteString(w, issuer.Token(changes...))
	})
	control.HandleFunc("/stats", func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("gc") != "" {
			runtime.GC()
			runtime.GC()
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		_ = json.NewEncoder(w).Encode(stats{m.Mallocs, m.HeapAlloc})
	})
	side := httptest.NewServer(control)
	defer side.Close()
	fmt.Println(service.URL, side.URL)
	_, err = io.Copy(io.Discard, os.Stdin)
	return errors.Join(err, verifier.Close())
}

// process is the testing.TB of a program.
type process struct{ testing.TB }

func (*process) Helper()        {}
func (*process) Cleanup(func()) {}
func (*process) Name() string   { return "http" }

func (*process) Logf(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

func (p *process) Errorf(format string, args ...any) { p.Logf(format, args...) }

func (p *process) Fatalf(format string, args ...any) {
	p.Logf(format, args...)
	os.Exit(1)
}

func (p *process) Fatal(args ...any) { p.Fatalf("%s", fmt.Sprintln(args...)) }
