package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCompletionInRealShells sources the script of each shell that is on this machine,
// and lets it complete a command, a flag and a value.
func TestCompletionInRealShells(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the command")
	}
	dir := t.TempDir()
	out, err := exec.Command("go", "build", "-o", filepath.Join(dir, "keybound"), ".").CombinedOutput()
	require.NoError(t, err, string(out))
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	for shell, run := range map[string]string{
		// What readline does: the words, and the function that complete -F has named. The
		// script takes the words apart itself where the package bash-completion is missing.
		"bash": `set -e; source "$1"; complete -p keybound >&2; set +e
			_get_comp_words_by_ref() { cur=${COMP_WORDS[COMP_CWORD]}; prev=${COMP_WORDS[COMP_CWORD-1]}; words=("${COMP_WORDS[@]}"); cword=$COMP_CWORD; }
			compopt() { :; }
			ask() { COMP_WORDS=("$@"); COMP_CWORD=$(($#-1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}; COMP_TYPE=9; COMP_KEY=9; COMPREPLY=(); __start_keybound; printf '%s\n' "${COMPREPLY[@]}"; }
			ask keybound do; ask keybound doctor --app; ask keybound check --http ''; ask keybound check --profile f`,
		"zsh": `set -e; autoload -U compinit; compinit -u -d "$2/zcompdump"; source "$1"; [[ $_comps[keybound] = _keybound ]]
			compadd() { :; }; _describe() { local -a all; eval "all=(\"\${$3[@]:-\${$4[@]}}\")" 2>/dev/null; for name in "$@"; do [[ $name = completions ]] && print -l -- $completions; done; return 0; }
			ask() { words=("$@"); CURRENT=$#; _keybound; }
			ask keybound do; ask keybound doctor --app; ask keybound check --http ''; ask keybound check --profile f`,
		"fish": `source $argv[1]; complete -C "keybound do"; complete -C "keybound doctor --app"; complete -C "keybound check --http "; complete -C "keybound check --profile f"`,
	} {
		t.Run(shell, func(t *testing.T) {
			path, err := exec.LookPath(shell)
			if err != nil {
				t.Skipf("!! NOT TESTED: %s is not on this machine", shell)
			}
			code, script, log := keybound(t, "", "completion", shell)
			require.Equal(t, exitOK, code, log)
			file := filepath.Join(dir, "completion."+shell)
			require.NoError(t, os.WriteFile(file, []byte(script), 0o600))
			out, err := exec.Command(path, "-n", file).CombinedOutput()
			require.NoError(t, err, "syntax: %s", out)
			args := []string{"-c", run, shell, file, dir}
			if shell == "fish" {
				args = []string{"-c", run, file}
			}
			if shell == "zsh" {
				args = append([]string{"-f"}, args...)
			}
			cmd := exec.Command(path, args...)
			cmd.Env = append(os.Environ(), "HOME="+dir)
			out, err = cmd.CombinedOutput()
			require.NoError(t, err, string(out))
			for _, want := range []string{"doctor", "--app-origin", "both", "fapi2"} {
				require.Contains(t, string(out), want, strings.TrimSpace(string(out)))
			}
		})
	}
}
