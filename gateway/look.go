package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/keybound-go/middleware/dpop"
	"github.com/keybound-go/middleware/gateway/kongfile"
)

// look runs "gateway check", which says what is wrong with files, and "gateway
// print-go", which prints the Go program that does the same.
func look(command string, args []string, stdout, stderr io.Writer) int {
	s, err := parseFlags(args, stderr, true)
	if errors.Is(err, errHelp) {
		return 0
	}
	used := make(map[string]string)
	var f *kongfile.File
	if err == nil {
		f, err = s.look(used)
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitUsage
	}
	if command == "print-go" {
		if err := s.deployment.printGo(stdout, f, used); err != nil {
			fmt.Fprintln(stderr, err)
			return exitFailed
		}
		return 0
	}
	for _, w := range append(f.Warnings, warningsOf(f, true)...) {
		fmt.Fprintf(stdout, "%s: warning: %s\n", w.Place, w.Text)
	}
	fmt.Fprintf(stdout, "gateway: nothing is wrong with %d services and %d plugins\n", len(f.Services), len(f.Attached))
	return 0
}

// look reads the files, in any form, and makes what they say as far as that needs
// neither the network nor what the environment of the gateway has.
func (s *settings) look(used map[string]string) (*kongfile.File, error) {
	sources, err := kongfile.Sources(s.config, os.Stdin)
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	d := &s.deployment
	if len(d.origins) == 0 {
		d.origins = []string{"https://localhost:8443"}
	}
	d.log = slog.New(slog.DiscardHandler)
	if d.replay, err = dpop.NewMemoryCache(); err != nil {
		return nil, err
	}
	f := kongfile.ReadAny(lookedUp(used), sources...)
	gw, err := newGateway(f, d, nil)
	if err != nil {
		return nil, err
	}
	gw.close()
	return f, nil
}
