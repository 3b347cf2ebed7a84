package issuers_test

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// need returns the path of a program or file. Without it the test is skipped, or fails if
// INTEROP_REQUIRED is set.
func need(t *testing.T, names ...string) string {
	t.Helper()
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
		if _, err := os.Stat(name); err == nil {
			return name
		}
	}
	missing := "!! NOT TESTED: " + names[0] + " is not on this machine; run interop/run"
	if os.Getenv("INTEROP_REQUIRED") != "" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}

// process is another project's program that runs beside the test, and is ended with it at
// the latest.
type process struct {
	cmd   *exec.Cmd
	lines chan string // of stdout
	log   *output     // stdout and stderr
	ended chan struct{}
}

func launch(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{cmd: cmd, lines: make(chan string, 100), log: &output{}, ended: make(chan struct{})}
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = p.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Its children included, it can be ended as one.
	require.NoError(t, cmd.Start())
	go p.read(stdout)
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("%s said:\n%s", cmd.Path, p.log.end())
		}
	})
	return p
}

func (p *process) read(stdout io.Reader) {
	defer close(p.ended)
	defer p.cmd.Wait()
	scanner := bufio.NewScanner(io.TeeReader(stdout, p.log))
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		select {
		case p.lines <- scanner.Text():
		default: // The channel is full: no test waits for this line.
		}
	}
}

// line waits for the next line of stdout.
func (p *process) line(t *testing.T) string {
	t.Helper()
	select {
	case line := <-p.lines:
		return line
	case <-p.ended:
		t.Fatalf("%s ended:\n%s", p.cmd.Path, p.log)
	case <-time.After(2 * time.Minute):
		t.Fatalf("%s says nothing:\n%s", p.cmd.Path, p.log)
	}
	return ""
}

func (p *process) stop() {
	group := -p.cmd.Process.Pid
	_ = syscall.Kill(group, syscall.SIGTERM)
	select {
	case <-p.ended:
	case <-time.After(time.Minute):
		_ = syscall.Kill(group, syscall.SIGKILL)
		<-p.ended
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// output is what a program wrote, while it may still be writing.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

// end is the last of it.
func (o *output) end() string {
	const most = 8 << 10
	all := o.String()
	return all[max(0, len(all)-most):]
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}
