package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/keybound-go/middleware/dpop/dpoptest"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

// world is the issuer, which runs in this process, and two clients.
type world struct {
	issuer      *oidctest.Issuer
	http        *http.Server
	key, thiefs *dpoptest.Key
}

func newWorld() (*world, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	issuer, err := oidctest.Start(oidctest.InMemory("http://"+listener.Addr().String()), oidctest.WithChanges(long))
	if err != nil {
		_ = listener.Close()
		return nil, err
	}
	w := &world{
		issuer: issuer,
		http:   &http.Server{Handler: issuer, ReadHeaderTimeout: timeout},
		key:    dpoptest.NewKey(new(program)),
		thiefs: dpoptest.NewKey(new(program)),
	}
	go func() { _ = w.http.Serve(listener) }()
	return w, nil
}

// long gives tokens of five minutes an hour.
func long(d *oidctest.Draft) {
	if exp, ok := d.Claims["exp"].(int64); ok && exp > time.Now().Unix() {
		d.Claims["exp"] = exp + 3600
	}
}

func (w *world) close() {
	_ = w.http.Close()
	w.issuer.Close()
}

const guardedPath, barePath = "/guarded", "/bare"

func url(address string) string { return "http://" + address + guardedPath }

func (w *world) bearer(address string, changes ...oidctest.Change) message {
	return newMessage("GET", address, guardedPath, "Authorization", "Bearer "+w.issuer.Token(changes...))
}

func (w *world) bound() string { return w.issuer.Token(oidctest.BoundToKey(w.key.Thumbprint())) }

func withProof(address, token, proof string) message {
	return newMessage("GET", address, guardedPath, "Authorization", "DPoP "+token, "DPoP", proof)
}

func (w *world) proof(address, token string, opts ...dpoptest.ProofOption) string {
	return w.key.Proof("GET", url(address), token, opts...)
}

// kind is what good requests are like. Each proof is new; a token is if the name says so.
type kind string

const (
	bare      kind = "bare"
	bearer    kind = "bearer"
	newBearer kind = "bearer, new token"
	dpop      kind = "DPoP"
	newDPoP   kind = "DPoP, new token"
)

var kinds = []kind{bare, bearer, newBearer, dpop, newDPoP}

// messages makes n good requests.
func (w *world) messages(k kind, address string, n int) []message {
	defer w.issuer.Forget()
	all := make([]message, n)
	token, same := w.bound(), w.bearer(address)
	for i := range all {
		switch k {
		case bare:
			all[i] = newMessage("GET", address, barePath)
		case bearer:
			all[i] = same
		case newBearer:
			all[i] = w.bearer(address)
		case dpop:
			all[i] = withProof(address, token, w.proof(address, token))
		case newDPoP:
			fresh := w.bound()
			all[i] = withProof(address, fresh, w.proof(address, fresh))
		}
	}
	return all
}

// program is the testing.TB of a program.
type program struct{ testing.TB }

func (*program) Helper()        {}
func (*program) Cleanup(func()) {}
func (*program) Name() string   { return "peers" }

func (*program) Errorf(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

func (p *program) Fatalf(format string, args ...any) {
	p.Errorf(format, args...)
	os.Exit(1)
}
