// Playground stands in for everything around the gateway: an issuer, httpbin as
// the service behind, and a client's wallet that holds a token and signs proofs.
//
//	go -C gateway run ./playground
//
// runs until Ctrl-C and prints commands to try. With -proofs it also writes tokens
// and proofs for bench.sh.
package main

import (
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/keybound-go/middleware/dpop/dpoptest"
	"github.com/keybound-go/middleware/gateway/testbed"
	"github.com/keybound-go/middleware/oidc/oidctest"
)

func main() {
	dir := flag.String("dir", defaultDir(), "where the files go")
	origin := flag.String("origin", "https://127.0.0.1:8443", "where the gateway will be")
	proofs := flag.Int("proofs", 0, "how many proofs for GET of the origin's /status/200 to write")
	flag.Parse()
	if err := makePrivate(*dir); err != nil {
		log.Fatal(err)
	}
	tb := program{}
	bed := testbed.New(tb, *dir)
	key := dpoptest.NewKey(tb)
	w := &wallet{key, bed.Issuer.Token(oidctest.BoundToKey(key.Thumbprint()), oidctest.ExpiresIn(24*time.Hour))}
	server := httptest.NewServer(w.routes())

	write(*dir, "env", strings.Join([]string{
		"export DECK_ISSUER=" + bed.Issuer.URL,
		"export DECK_UPSTREAM=" + bed.Httpbin,
		"export DECK_CLIENT_ID=client DECK_CLIENT_SECRET=secret",
		"export GATEWAY_FLAGS='-issuer-ca " + bed.CAFile + " -tls-cert " + bed.CertFile + " -tls-key " + bed.KeyFile + "'",
		"export CA=" + bed.CAFile + " WALLET=" + server.URL, "",
	}, "\n"))
	if *proofs > 0 {
		write(*dir, "bearer", bed.Issuer.Token(oidctest.ExpiresIn(24*time.Hour)))
		write(*dir, "bound", w.token)
		var all strings.Builder
		for range *proofs {
			fmt.Fprintln(&all, key.Proof(http.MethodGet, *origin+"/status/200", w.token))
		}
		write(*dir, "proofs", all.String())
	}
	fmt.Printf(`playground: the issuer is %s, httpbin is %s

In another terminal, start the gateway:

    . %s/env
    go -C gateway run . -config testdata/dpop-strict.yaml $GATEWAY_FLAGS

In a third one, call it. Without credentials (401), and with a token and a proof (200):

    . %s/env
    curl -si --cacert $CA %s/anything
    curl -si --cacert $CA %s/anything -H "Authorization: DPoP $(curl -s $WALLET/token)" -H "DPoP: $(curl -s "$WALLET/proof?url=%s/anything")"
`, bed.Issuer.URL, bed.Httpbin, *dir, *dir, *origin, *origin, *origin)

	stopped := make(chan os.Signal, 1)
	signal.Notify(stopped, os.Interrupt)
	<-stopped
}

// defaultDir is one that no other user of the machine can have made before: a shell
// runs what is in the file env there.
func defaultDir() string {
	cache, err := os.UserCacheDir()
	if err != nil {
		log.Fatal("playground: -dir is missing, and there is no directory for caches: ", err)
	}
	return filepath.Join(cache, "keybound-playground")
}

// makePrivate makes a directory that this user alone can read and write.
func makePrivate(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("playground: %s is not a directory", dir)
	}
	return os.Chmod(dir, 0o700) // which fails if it is another user's
}

// wallet is what an honest client has. A real one keeps its key to itself.
type wallet struct {
	key   *dpoptest.Key
	token string // the same one all day, since a proof is for one token
}

func (w *wallet) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /token", func(rw http.ResponseWriter, r *http.Request) { io.WriteString(rw, w.token) })
	mux.HandleFunc("GET /proof", func(rw http.ResponseWriter, r *http.Request) {
		io.WriteString(rw, w.key.Proof(http.MethodGet, r.FormValue("url"), w.token))
	})
	return mux
}

func write(dir, name, text string) {
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		log.Fatal(err)
	}
}

// program is the [testing.TB] of a program that is no test: the fakes live as
// long as it does, and their trouble ends it.
type program struct{ testing.TB }

func (program) Helper()                           {}
func (program) Name() string                      { return "playground" }
func (program) Cleanup(func())                    {}
func (program) Logf(string, ...any)               {}
func (program) Fatal(args ...any)                 { log.Fatal(args...) }
func (program) Fatalf(format string, args ...any) { log.Fatalf(format, args...) }
func (program) Errorf(format string, args ...any) { log.Fatalf(format, args...) }
