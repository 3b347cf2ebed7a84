package main

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEveryOutcomeIsTheExpectedOne(t *testing.T) {
	var out bytes.Buffer
	require.Equal(t, 0, run(t.Context(), &out, false), out.String())
	require.Contains(t, out.String(), "13 of 13 outcomes were the expected ones.")
	require.NotContains(t, out.String(), "UNEXPECTED")
}

func TestAnUnexpectedOutcomeIsAFailure(t *testing.T) {
	d := &demo{}
	t.Cleanup(d.cleanUp)
	w := newWorld(d)
	var out bytes.Buffer
	s := w.steps()[1]
	require.True(t, w.take(&out, 1, s))
	require.False(t, w.take(&out, 2, s), "the proof is used")
	require.Contains(t, out.String(), "UNEXPECTED")
}

func TestThePrintedCommandsWorkAsPrinted(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Log("NOT TESTED: there is no curl on this machine")
		return
	}
	d := &demo{}
	t.Cleanup(d.cleanUp)
	w := newWorld(d)
	for _, c := range w.commands(t.TempDir()) {
		for range 2 { // a fresh proof each time
			out, err := exec.Command("sh", "-c", c.line).CombinedOutput()
			require.NoError(t, err, "%s\n%s", c.line, out)
			status, _, _ := strings.Cut(string(out), "\r\n")
			require.Contains(t, status, " "+c.answer, "%s\n%s", c.line, out)
		}
	}
}
