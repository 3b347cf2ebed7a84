package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/cmd/keybound/internal/check"
	"github.com/keybound-go/middleware/cmd/keybound/internal/report"
)

// TestCheckFromTheCommandLine runs the command as a user does, against a guard of ours
// that lets proofs be used twice.
func TestCheckFromTheCommandLine(t *testing.T) {
	issuer := "https://" + freeAddress(t)
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	faulty := startServiceFor(t, issuer, in("issuer.pem"), true)
	good := startServiceFor(t, issuer, in("issuer.pem"), false)
	args := []string{"check", faulty.url + "/orders", "--cacert", faulty.caFile, "--issuer", issuer, "--issuer-ca-file", in("issuer.pem"),
		"--audience", "https://api.example", "--html", in("r.html"), "--junit", in("r.xml"), "--sarif", in("r.sarif"), "--json", in("r.json")}

	code, out, log := keybound(t, "", append(args, "--write-baseline", in("baseline"))...)
	require.Equal(t, exitFailed, code, log)
	require.Contains(t, out, "FAIL DPOP-11.1-03/the-same-proof-again [MAY]")
	require.Contains(t, out, "FAIL DPOP-11.1-03/the-same-proof-again@h2 [MAY]")
	require.Contains(t, out, "FAIL H2-11.1-01/one-proof-on-two-streams-at-once [MAY]")
	require.Contains(t, out, "would be declined")
	baseline, err := os.ReadFile(in("baseline"))
	require.NoError(t, err)
	require.NotContains(t, string(baseline), "@h2", "an entry is for both versions of HTTP")
	for _, name := range []string{"r.html", "r.xml", "r.sarif", "r.json"} {
		text, err := os.ReadFile(in(name))
		require.NoError(t, err)
		require.Contains(t, string(text), "DPOP-11.1-03/the-same-proof-again", name)
		noSecrets(t, string(text))
	}
	var r report.Report
	text, err := os.ReadFile(in("r.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &r))
	for _, i := range r.Items {
		if i.Status == report.Fail && !strings.HasPrefix(i.ID, "DPOP-11.1-") && !strings.HasPrefix(i.ID, "H2-11.1-") {
			t.Errorf("%s: %s", i.ID, i.Message)
		}
	}

	code, out, log = keybound(t, "", append(args, "--baseline", in("baseline"), "--http", "2")...)
	require.Equal(t, exitOK, code, out+log)
	require.Contains(t, out, " 0 fail")

	all, err := os.ReadFile(faulty.caFile)
	require.NoError(t, err)
	other, err := os.ReadFile(good.caFile)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(in("all.pem"), append(all, other...), 0o600))
	code, out, log = keybound(t, "", append(args[:2:2], "--cacert", in("all.pem"), "--issuer", issuer, "--issuer-ca-file", in("issuer.pem"),
		"--audience", "https://api.example", "--http", "1.1", "--compare", good.url+"/orders")...)
	require.Equal(t, exitFailed, code, log)
	require.Contains(t, out, "DPOP-11.1-03/the-same-proof-again [MAY]\n  A fail: the server accepted the request (200)\n  B pass")
}

// TestCheckOverTheVersionsOfHTTP says which it tried, and refuses what it cannot try.
func TestCheckOverTheVersionsOfHTTP(t *testing.T) {
	issuer := "https://" + freeAddress(t)
	ca := filepath.Join(t.TempDir(), "issuer.pem")
	old := startServiceFor(t, issuer, ca, false)
	args := []string{"check", old.url + "/orders", "--cacert", old.caFile, "--issuer", issuer, "--issuer-ca-file", ca, "--audience", "https://api.example"}
	code, out, log := keybound(t, "", append(args, "-v")...)
	require.Equal(t, exitOK, code, log)
	require.Contains(t, log, "does not offer HTTP/2: the rows are tried over HTTP/1.1 alone")
	require.Contains(t, out, "skip H2-01/good-request: only in HTTP/2")
	require.NotContains(t, out, "@h2")
	code, _, log = keybound(t, "", append(args, "--http", "2")...)
	require.Equal(t, exitNotAsked, code, log)
	require.Contains(t, log, "does not offer HTTP/2")
	code, _, log = keybound(t, "", append(args, "--http", "3")...)
	require.Equal(t, exitUsage, code, log)
	require.Contains(t, log, "--http 3 is not one of 1.1, 2, both")
}

func TestCheckSaysWhyItCannotCheck(t *testing.T) {
	code, _, log := keybound(t, "", "check", "https://127.0.0.1:1/", "--issuer", "https://"+freeAddress(t), "--wait", "1ms")
	require.Equal(t, exitNotAsked, code, log)
	require.Contains(t, log, "does not listen")
	code, out, _ := keybound(t, "", "check", "--list", "--profile", "mcp")
	require.Equal(t, exitOK, code)
	require.Contains(t, out, "PRM-3.3-01/resource-is-the-url")
	code, _, log = keybound(t, "", "check", "--list", "--profile", "x")
	require.Equal(t, exitUsage, code, log)
}

func TestAReportTellsFormFromSubstance(t *testing.T) {
	row := check.Row{ID: "A", Level: check.Must}
	r := new(checkFlags).report("t", []check.Result{
		{Row: row, Status: check.Failed},
		{Row: row, Status: check.Failed, OtherForm: true},
		{Row: row, Status: check.Failed, OtherForm: true, Accept: "known"},
		{Row: row, Status: check.Failed, Accepted: true},
	})
	var got []string
	for _, i := range r.Items {
		got = append(got, i.Level+" "+i.Severity)
	}
	require.Equal(t, []string{"MUST error", "FORM note", "FORM note", "MUST error"}, got)
}
