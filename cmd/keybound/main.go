// Keybound looks at services with sender-constrained OAuth tokens from the outside: it
// calls them, explains refusals, finds mistakes of their deployment, and checks
// their conformance. See docs/keybound.md, or keybound --help.
//
//	go install github.com/keybound-go/middleware/cmd/keybound@latest
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/keybound-go/middleware/cmd/keybound/internal/term"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// Exit statuses. The commands' help names them.
const (
	exitOK       = 0
	exitFailed   = 1 // the answer is no: a refusal, a finding, a failed row
	exitUsage    = 2 // the command line is wrong
	exitNotAsked = 3 // no answer could be had
)

// exitError ends the program with a status.
type exitError struct {
	code int
	err  error // printed, if not nil
}

func (e exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e exitError) Unwrap() error { return e.err }

// notAsked is an error for when no answer could be had.
func notAsked(err error) error { return exitError{exitNotAsked, err} }

// streams are a command's standard streams.
type streams struct {
	in       io.Reader
	out, err *term.Out
	stdout   io.Writer // for bytes that are not text of ours
	secrets  *term.Secrets
}

// run is main without the process.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	secrets := &term.Secrets{}
	s := &streams{in: stdin, out: term.New(stdout, secrets), err: term.New(stderr, secrets), stdout: stdout, secrets: secrets}
	root := newRoot(s)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	s.out.Done()
	s.err.Done()
	if err == nil {
		return exitOK
	}
	var exit exitError
	if !errors.As(err, &exit) {
		exit = exitError{exitUsage, err}
	}
	if exit.err != nil {
		s.err.Printf("keybound: %v\n", exit.err)
	}
	return exit.code
}

func newRoot(s *streams) *cobra.Command {
	root := &cobra.Command{
		Use:   "keybound",
		Short: "Call, explain, diagnose and check services with sender-constrained tokens",
		Long: `keybound looks at a service from the outside, as its clients do. The service may be
written in any language.

A sender-constrained access token is worth nothing without a key (DPoP, RFC 9449)
or a client certificate (RFC 8705) that only its rightful client has. That makes
such a service hard to try by hand, and the worst mistakes of its deployment cannot
be seen from within. The commands:

  I want to call a service                        keybound call
  I want one proof, for curl                      keybound proof
  a request is refused and I do not know why      keybound explain
  is the service deployed as it should be?        keybound doctor
  does the server do what the RFCs say?           keybound check
  I need an issuer to develop against             keybound issuer

Exit status: 0 yes, 1 no (a refusal, a finding, a failed row), 2 the command line is
wrong, 3 no answer could be had (the service is unreachable).

keybound never prints or stores an access token, a private key or a secret, unless
you name a file for one.`,
		SilenceUsage:      true,
		SilenceErrors:     true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: false},
	}
	root.AddCommand(newCall(s), newProof(s), newKey(s), newIssuer(s), newCheck(s), newExplain(s), newDoctor(s), newDocs(s))
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return exitError{exitUsage, fmt.Errorf("%w (see %s --help)", err, c.CommandPath())}
	})
	return root
}
