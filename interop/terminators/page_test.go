package terminators_test

import (
	"context"
	"crypto/tls"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestTheNginxPage runs docs/nginx.md as it stands, but for the ports: its files, the three
// programs that it starts, the calls that are accepted and those that are refused.
func TestTheNginxPage(t *testing.T) {
	binary := find(t, nginx{})
	for _, program := range []string{"openssl", "curl"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("INTEROP_REQUIRED") != "" {
				t.Fatal(err)
			}
			t.Skip("!! NOT TESTED: ", err)
		}
	}
	text, err := os.ReadFile("../../docs/nginx.md")
	require.NoError(t, err)
	page := string(text)
	for _, port := range []string{"8080", "8443", "9443"} {
		_, free, _ := strings.Cut(freeAddress(t), ":")
		page = strings.ReplaceAll(page, ":"+port, ":"+free)
	}
	blocks := func(language string) (found []string) {
		for _, m := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```").FindAllStringSubmatch(page, -1) {
			found = append(found, m[1])
		}
		return found
	}
	dir, bin := t.TempDir(), t.TempDir()
	root, err := filepath.Abs("../..")
	require.NoError(t, err)
	sums, err := os.ReadFile("../../go.sum")
	require.NoError(t, err)
	for name, content := range map[string]string{
		"main.go":    blocks("go")[0],
		"nginx.conf": blocks("nginx")[0],
		"go.mod":     "module example.com/orders\n\ngo 1.26.0\n\nrequire github.com/keybound-go/middleware v0.0.0\n\nreplace github.com/keybound-go/middleware => " + root + "\n",
		"go.sum":     string(sums),
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	build := exec.Command("go", "-C", "../../cmd/keybound", "build", "-o", filepath.Join(bin, "keybound"), ".")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	environment := append(os.Environ(), "GOFLAGS=-mod=mod", "GOWORK=off", "PATH="+strings.Join([]string{bin, filepath.Dir(binary), os.Getenv("PATH")}, ":"))
	run := func(script string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script)
		cmd.Dir, cmd.Env = dir, environment
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s\n%s", script, out)
		return string(out)
	}
	launch := func(script, url string) *output {
		t.Helper()
		ctx, cancel := context.WithCancel(context.Background())
		cmd := exec.CommandContext(ctx, "bash", "-c", "exec env "+script)
		log := &output{}
		cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, environment, log, log
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
		require.NoError(t, cmd.Start())
		t.Cleanup(func() {
			cancel()
			_ = cmd.Wait()
		})
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
		require.Eventually(t, func() bool {
			resp, err := client.Get(url)
			return err == nil && resp.Body.Close() == nil
		}, 30*time.Second, 50*time.Millisecond, "%s\n%s", script, log)
		return log
	}
	address := func(pattern string) string {
		t.Helper()
		m := regexp.MustCompile(pattern).FindStringSubmatch(page)
		require.NotNil(t, m, pattern)
		return m[1]
	}

	shell := blocks("sh")
	require.Len(t, shell, 9)
	run(shell[0])                                      // certificates
	run(strings.TrimPrefix(shell[1], "go mod tidy\n")) // go.mod is the test's: it has the tree in place of a version
	launch(shell[2], address(`--url (https://localhost:\d+)`)+"/.well-known/openid-configuration")
	logged := launch(shell[3], address(`proxy_pass (http://127.0.0.1:\d+)`))
	launch(shell[4], address(`--client-id machine (https://localhost:\d+/orders)`))

	const hello = "hello machine, with the certificate of machine\n"
	require.Contains(t, page, strings.TrimSpace(hello))
	require.Contains(t, run(shell[5]), hello)
	require.Equal(t, hello, run(shell[6]))
	refusal := strings.TrimSpace(blocks("json")[0])
	require.Equal(t, 2, strings.Count(run(shell[7]), refusal))
	line := strings.Split(strings.TrimSpace(strings.ReplaceAll(blocks("text")[0], ":... sent", "... sent")), "...")
	require.Len(t, line, 3)
	require.Eventually(t, func() bool {
		at := strings.Index(logged.String(), strings.TrimSpace(line[0]))
		return at >= 0 && strings.Contains(logged.String()[at:], strings.TrimSpace(line[1])) && strings.Contains(logged.String()[at:], strings.TrimSpace(line[2]))
	}, 5*time.Second, 20*time.Millisecond, "%s", logged)

	require.Contains(t, page, "`0 findings`")
	require.Contains(t, run(shell[8]), "0 findings")
}
