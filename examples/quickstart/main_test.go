package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os/exec"
	"slices"
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

// The script of the page is tried in a browser by interop/quickstart. Here is what
// it needs of its server.
func TestThePageShowsWhatTheServiceDecided(t *testing.T) {
	d := &demo{}
	t.Cleanup(d.cleanUp)
	p := newWorld(d).servePage()
	for file, want := range map[string]string{"/": "<title>keybound quickstart</title>", "/page.js": "crypto.subtle", "/page.css": "color-scheme"} {
		resp, err := http.Get(p.url + file)
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		resp.Body.Close()
		require.Contains(t, string(body), want)
	}
	for certificate, want := range map[string]struct {
		status int
		failed string // the step, "" if the request passes
		log    string
	}{
		"machine": {200, "", "None"},
		"thief":   {401, "certificate_mismatch", "reason=certificate_mismatch"},
		"none":    {401, "certificate_missing", "reason=certificate_missing"},
	} {
		resp, err := http.Post(p.url+"/certificate/"+certificate, "", nil)
		require.NoError(t, err)
		resp.Body.Close()
		resp, err = http.Get(p.url + "/exchanges/" + resp.Header.Get("X-Exchange"))
		require.NoError(t, err)
		var seen exchange
		require.NoError(t, json.NewDecoder(resp.Body).Decode(&seen))
		resp.Body.Close()
		require.Equal(t, want.status, seen.Status)
		require.Contains(t, seen.Log, want.log)
		require.Contains(t, seen.Request, "GET /orders")
		require.Contains(t, seen.Response, http.StatusText(want.status))
		failed := slices.IndexFunc(seen.Steps, func(c check) bool { return c.Result == "failed" })
		if want.failed == "" {
			require.Equal(t, -1, failed)
			continue
		}
		require.Equal(t, certificateStep, failed)
		require.Contains(t, seen.Steps[failed].Text, want.failed)
	}
}
