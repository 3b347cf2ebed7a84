package main

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"

	"github.com/keybound-go/middleware/internal/mutate"
)

// fromOutside is what a client can see of the decision path: these files decide what is
// answered, and the others what the operator is told, what a nested guard remembers, or
// how fast it goes.
var fromOutside = map[string][]string{
	"root":    {"check.go", "credentials.go", "challenge.go", "respond.go", "rules.go", "middleware.go", "errors.go", "request.go"},
	"dpop":    {"checks.go", "verifier.go", "nonce.go", "origin.go", "target.go", "uri.go"},
	"mtlspop": {"verifier.go", "forwarded.go", "format.go", "pem.go", "der.go", "tls.go", "thumbprint.go", "peer.go"},
	"oidc":    {"verifier.go", "token.go"},
	"dialect": {"claims.go", "dialect.go", "vendors.go"},
}

// runCheck draws mutants and lets the suite of the command keybound find them, with our
// own guard as the server.
func runCheck(ctx context.Context, sample int, seed uint64, listed string) error {
	reasons, err := readSurvivors(listed)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	type drawn struct {
		target string
		mutant mutate.Mutant
	}
	var all []drawn
	suites := make(map[string][]compiled)
	for _, name := range slices.Sorted(maps.Keys(fromOutside)) {
		dir := name
		if name == "root" {
			dir = "."
		}
		t := target{name: name, dir: dir, tests: []string{"cmd/keybound//internal/check TestOurGuardPasses"}}
		mutants, overlay, err := t.mutants(filepath.Join(work, name))
		if err != nil {
			return err
		}
		for _, m := range mutants {
			if slices.Contains(fromOutside[name], filepath.Base(m.File)) && reasons[m.File+": "+m.Key()] == "" {
				all = append(all, drawn{name, m})
			}
		}
		if suites[name], err = t.compile(ctx, filepath.Join(work, name), overlay); err != nil {
			return err
		}
	}
	rand.New(rand.NewPCG(seed, 0)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	found := 0
	var missed []string
	for _, d := range all[:min(sample, len(all))] {
		results := target{}.test(ctx, suites[d.target], []mutate.Mutant{d.mutant}, true)
		if results[0] == noticed || results[0] == hung {
			found++
		} else {
			missed = append(missed, fmt.Sprintf("%s:%d %s", d.mutant.File, d.mutant.Line, d.mutant.Key()))
		}
	}
	fmt.Printf("keybound check finds %d of %d mutants, drawn from %d with seed %d\n", found, min(sample, len(all)), len(all), seed)
	for _, m := range missed {
		fmt.Println("missed:", m)
	}
	return nil
}
