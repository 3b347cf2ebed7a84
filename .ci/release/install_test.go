package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// inTree runs a bash script in the tree, with programs of the test's own before all
// others, and returns what it prints.
func inTree(t *testing.T, programs map[string]string, script string, environment ...string) (string, error) {
	t.Helper()
	bin := t.TempDir()
	for name, text := range programs {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("bash", "-euo", "pipefail", "-c", script)
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), append(environment, "PATH="+bin+":"+os.Getenv("PATH"), "POLICY_RC_D="+filepath.Join(bin, "policy"), "TMPDIR="+t.TempDir())...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestAnInstallerThatFailsSaysWhy: the scripts that install what tests need are quiet, and
// one that fails prints what the package manager said, and ends the stage.
func TestAnInstallerThatFailsSaysWhy(t *testing.T) {
	failing := map[string]string{
		"id":      "echo 0",
		"apt-get": "case $1 in install) echo Reading package lists; echo 'E: Unable to locate package bogus' >&2; exit 100;; esac; echo Hit:1",
	}
	out, err := inTree(t, failing, ". .ci/install.sh; packages /missing/file:bogus; echo went on")
	if err == nil || strings.Contains(out, "went on") {
		t.Errorf("the failure ends nothing:\n%s", out)
	}
	for _, want := range []string{"apt-get install bogus", "E: Unable to locate package bogus", "status 100"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not said:\n%s", want, out)
		}
	}
	if strings.Contains(out, "Hit:1") {
		t.Errorf("what succeeds is not quiet:\n%s", out)
	}

	failing["id"] = "echo 1000"
	if out, err := inTree(t, failing, ". .ci/install.sh; packages /missing/file:bogus"); err == nil || !strings.Contains(out, "not root: bogus") {
		t.Errorf("without root: %v, %s", err, out)
	}
	if out, err := inTree(t, failing, ". .ci/install.sh; packages sh:bogus /etc/passwd:bogus"); err != nil || out != "" {
		t.Errorf("what is there is installed: %v, %s", err, out)
	}
}

// TestEveryInstallerIsRunQuietly finds calls of package managers past the helper, which
// would hide why they fail, or print pages.
func TestEveryInstallerIsRunQuietly(t *testing.T) {
	installers := regexp.MustCompile(`(^|[|&;{ ])(apt-get|npm( --prefix \S+)? (ci|install)|mvn|[./a-z]*pip install|unzip) `)
	found := 0
	for _, script := range []string{".ci/run", ".ci/nightly", ".ci/install.sh", "interop/run", "interop/terminators/install.sh", "interop/issuers/keycloak/install.sh", "redisstore/install.sh", "internal/model/run"} {
		text, err := os.ReadFile(filepath.Join("../..", script))
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			code, _, _ := strings.Cut(line, "# ")
			if !installers.MatchString(code) || strings.Contains(code, "command -v") || strings.Contains(code, "echo ") {
				continue
			}
			found++
			if !strings.Contains(code, "quietly ") {
				t.Errorf("%s: %s", script, strings.TrimSpace(line))
			}
		}
	}
	if found < 8 {
		t.Errorf("only %d calls found", found)
	}
}

// TestTheRunSaysWhatDidNotRun: the last lines name each stage that did not run, and why.
func TestTheRunSaysWhatDidNotRun(t *testing.T) {
	out, err := inTree(t, nil, "bash .ci/run mutate mutate", "MUTATE_BASE=no-such-commit")
	if err != nil || strings.Count(out, "=== NOT RUN: mutate: this clone has no commit no-such-commit") != 2 || !strings.Contains(out, "=== passed: none") {
		t.Errorf("%v\n%s", err, out)
	}
	out, err = inTree(t, map[string]string{"bash": "exit 7"}, "/bin/bash .ci/run mcp mutate", "MUTATE_BASE=no-such-commit")
	if err == nil || !strings.Contains(out, "=== FAILED: mcp; not reached: mutate") {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err = inTree(t, nil, "bash .ci/run no-such-stage"); err == nil || !strings.Contains(out, "there is no stage no-such-stage") {
		t.Errorf("%v\n%s", err, out)
	}
}
