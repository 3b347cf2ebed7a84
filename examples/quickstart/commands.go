package main

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/keybound-go/middleware/dpop/dpoptest"
)

// command is something to type.
type command struct{ what, line, answer string }

// printCommands prints what a user can try while the service runs.
func (w *world) printCommands(out io.Writer, dir string) {
	fmt.Fprintf(out, "\nThe service runs at %s until you press Ctrl-C. Try, in another terminal:\n", w.service.URL)
	for _, c := range w.commands(dir) {
		fmt.Fprintf(out, "\n# %s\n%s\n# answer: %s\n", c.what, c.line, c.answer)
	}
}

func (w *world) commands(dir string) []command {
	ca := filepath.Join(dir, "service.pem")
	w.writePEM(ca, "CERTIFICATE", w.service.Certificate().Raw)
	cert, key := filepath.Join(dir, "machine.pem"), filepath.Join(dir, "machine.key")
	w.writePEM(cert, "CERTIFICATE", w.machine.Certificate.Raw)
	der, err := x509.MarshalPKCS8PrivateKey(w.machine.Key)
	w.check(err)
	w.writePEM(key, "PRIVATE KEY", der)

	wallet := w.wallet()
	curl := fmt.Sprintf("curl -si --cacert %s ", ca)
	orders, payments := w.service.URL+"/orders", w.service.URL+"/payments"
	dpop := func(url, nonce string) string {
		return fmt.Sprintf(`-H "Authorization: DPoP $(curl -s %[1]s/token)" -H "DPoP: $(curl -s '%[1]s/proof?method=GET&url=%[2]s'%[3]s)" %[2]s`, wallet, url, nonce)
	}
	return []command{
		{"no credentials", curl + orders, "401"},
		{"a token and a fresh proof for the next call (the client's key answers at " + wallet + ")", curl + dpop(orders, ""), "200"},
		{"the token without a proof", fmt.Sprintf(`%s-H "Authorization: DPoP $(curl -s %s/token)" %s`, curl, wallet, orders), "401"},
		{"where nonces are demanded: without one", curl + dpop(payments, ""), "401"},
		{"and with the one that the service gives",
			curl + dpop(payments, fmt.Sprintf(`"&nonce=$(%s%s | sed -n 's/^dpop-nonce: *//Ip' | tr -d '\r')"`, curl, payments)), "200"},
		{"a certificate-bound token over its certificate", fmt.Sprintf(`%s--cert %s --key %s -H "Authorization: Bearer $(curl -s %s/certificate-token)" %s`, curl, cert, key, wallet, orders), "200"},
		{"and without it", fmt.Sprintf(`%s-H "Authorization: Bearer $(curl -s %s/certificate-token)" %s`, curl, wallet, orders), "401"},
	}
}

func (w *world) writePEM(name, kind string, der []byte) {
	w.check(os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
}

// wallet serves what the honest client has: tokens, and its key's signature
// under proofs. A real client keeps its key to itself.
func (w *world) wallet() (url string) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /token", w.answer(func(*http.Request) string { return w.current() }))
	mux.HandleFunc("GET /certificate-token", w.answer(func(*http.Request) string { return w.certificateToken() }))
	mux.HandleFunc("GET /proof", w.answer(func(r *http.Request) string {
		var opts []dpoptest.ProofOption
		if nonce := r.FormValue("nonce"); nonce != "" {
			opts = append(opts, dpoptest.Nonce(nonce))
		}
		return w.key.Proof(r.FormValue("method"), r.FormValue("url"), w.current(), opts...)
	}))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	w.check(err)
	server := &http.Server{Handler: mux}
	go server.Serve(listener) // ends with Close
	w.Cleanup(func() { server.Close() })
	return "http://" + listener.Addr().String()
}

// current is the honest client's token, the same one for two minutes: a proof is
// for one token.
func (w *world) current() string {
	w.held.Lock()
	defer w.held.Unlock()
	if time.Since(w.held.since) > 2*time.Minute {
		w.held.token, w.held.since = w.dpopToken(), time.Now()
	}
	return w.held.token
}

func (w *world) answer(f func(*http.Request) string) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) { io.WriteString(rw, f(r)) }
}
