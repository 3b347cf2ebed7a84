package main

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestExitStatusesDoNotDependOnTheFormat: a pipeline reads the status, whatever file it
// asked for.
func TestExitStatusesDoNotDependOnTheFormat(t *testing.T) {
	good, bad := setUp{}.start(t), setUp{noReplayMemory: true}.start(t)
	dir := t.TempDir()
	for _, format := range [][]string{nil, {"--json", "-"}, {"--json", filepath.Join(dir, "json")}, {"--junit", filepath.Join(dir, "xml")}, {"--sarif", filepath.Join(dir, "sarif")}, {"--html", filepath.Join(dir, "html")}} {
		for want, d := range map[int]*deployment{exitOK: good, exitFailed: bad} {
			code, out, log := keybound(t, "", append([]string{"doctor", d.url, "--cacert", d.caFile, "--key", d.key, "--token-file", d.token, "--no-browsers", "--http", "1.1", "--connections", "4"}, format...)...)
			require.Equal(t, want, code, "%v %s %s", format, out, log)
		}
		if len(format) > 0 && format[0] != "--json" {
			continue
		}
		_, proof, _ := keybound(t, "", "proof", "--key", good.key, "--token-file", good.token, good.url)
		explain := append([]string{"explain", "--token-file", good.token, "--proof-file", file(t, "proof", proof), "--url", good.url, "--issuer", good.issuer.url}, format...)
		code, out, log := keybound(t, "", append(explain, "--audience", "https://api.example")...)
		require.Equal(t, exitOK, code, out+log)
		code, out, log = keybound(t, "", append(explain, "--audience", "https://other.example")...)
		require.Equal(t, exitFailed, code, out+log)
	}
	nowhere := "https://" + freeAddress(t)
	for name, c := range map[string]struct {
		want int
		args []string
	}{
		"call, refused":       {exitFailed, []string{"call", "--cacert", good.caFile, "--token-file", good.token, good.url}},
		"call, no server":     {exitNotAsked, []string{"call", nowhere}},
		"call, no URL":        {exitUsage, []string{"call"}},
		"doctor, no server":   {exitNotAsked, []string{"doctor", nowhere}},
		"doctor, no URL":      {exitUsage, []string{"doctor", "orders"}},
		"doctor, bad version": {exitUsage, []string{"doctor", good.url, "--http", "0.9"}},
		"explain, nothing":    {exitUsage, []string{"explain"}},
		"check, no server":    {exitNotAsked, []string{"check", nowhere, "--issuer", "https://" + freeAddress(t), "--wait", "1ms"}},
		"a report in no directory": {exitUsage, []string{"doctor", good.url, "--cacert", good.caFile, "--no-browsers", "--http", "1.1",
			"--junit", filepath.Join(dir, "none", "xml")}},
		"no such command": {exitUsage, []string{"diagnose"}},
	} {
		code, out, log := keybound(t, "", c.args...)
		require.Equal(t, c.want, code, name+out+log)
	}
}
