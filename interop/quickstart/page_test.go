// Package quickstart tries the quickstart's page in a real browser: its script makes
// every call that a person can make, and says whether each had the expected outcome.
package quickstart

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestThePageInChromium(t *testing.T) {
	browser := chromium(t)
	url := serve(t)

	dom := run(t, browser, "--dump-dom", url+"/?run=all")
	verdict := regexp.MustCompile(`id="verdict"[^>]*>([^<]*)<`).FindStringSubmatch(dom)
	require.NotNil(t, verdict, dom)
	require.Regexp(t, `^(\d+) of \d+ outcomes were the expected ones\.$`, verdict[1])
	require.NotContains(t, dom, "data-unexpected", verdict[1])
	require.Contains(t, dom, `class="accepted">200`)
	require.Contains(t, dom, `class="refused">401`)

	dom = run(t, browser, "--dump-dom", url+"/?run=Replay%20it")
	require.Contains(t, dom, "dpop_replayed", "the decision and the log line name the reason")
	require.Contains(t, dom, "DPoP proof has been used before", "the response says what the client is told")

	if os.Getenv("INTEROP_UPDATE") != "" {
		picture, err := filepath.Abs("../../docs/quickstart.png")
		require.NoError(t, err)
		run(t, browser, "--screenshot="+picture, url+"/?run=Replay%20it")
	}
}

// serve runs the quickstart and returns the address that it prints for a browser.
func serve(t *testing.T) string {
	program := filepath.Join(t.TempDir(), "quickstart")
	build := exec.Command("go", "build", "-o", program, "./examples/quickstart")
	build.Dir = "../.."
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)

	ctx, stop := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, program, "-serve")
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		stop()
		_ = cmd.Wait()
	})
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		if url, ok := strings.CutPrefix(lines.Text(), "In a browser: "); ok {
			go func() {
				for lines.Scan() { // so that the program is never held up by a full pipe
				}
			}()
			return url
		}
	}
	t.Fatal("the quickstart printed no address for a browser")
	return ""
}

func run(t *testing.T, browser string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, browser, append([]string{
		"--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir=" + t.TempDir(),
		"--window-size=1280,1250", "--virtual-time-budget=60000",
	}, args...)...)
	out, err := cmd.Output()
	require.NoError(t, err)
	return string(out)
}

func chromium(t *testing.T) string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("INTEROP_REQUIRED") != "" {
		t.Fatal("there is no Chromium on this machine, and INTEROP_REQUIRED is set")
	}
	t.Skip("NOT TESTED: there is no Chromium on this machine")
	return ""
}
