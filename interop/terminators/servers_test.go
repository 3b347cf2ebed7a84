package terminators_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// server knows how to run one kind of terminator.
type server interface {
	binary() []string // names, of which one must be found
	command(t *testing.T, binary string, site site) *exec.Cmd
}

// site is what a terminator is started with.
type site struct {
	configuration
	dir       string // its own, and empty
	listen    string // 127.0.0.1:port
	backend   string // 127.0.0.1:port
	cert, key string // files; cert has the key as well
}

func (s site) port() string { return s.listen[strings.LastIndex(s.listen, ":")+1:] }

func (s site) text(t *testing.T) string {
	return s.configuration.text(t,
		"127.0.0.1:8443", s.listen,
		"127.0.0.1:8080", s.backend,
		"/etc/ssl/api.example.pem", s.cert,
		"/etc/ssl/api.example.key", s.key,
	)
}

func (s site) write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(s.dir, name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	return path
}

type nginx struct{}

func (nginx) binary() []string { return []string{"nginx", "/usr/sbin/nginx"} }

func (nginx) command(t *testing.T, binary string, s site) *exec.Cmd {
	user := ""
	if os.Getuid() == 0 {
		user = "user root;" // It must write to the directory below.
	}
	temp := ""
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		temp += fmt.Sprintf("%s_temp_path %s/%s;\n", kind, s.dir, kind)
	}
	main := s.write(t, "main.conf", fmt.Sprintf(`
		daemon off; pid %[1]s/pid; error_log stderr warn; worker_processes 1; %[2]s
		events {}
		http { access_log off; %[3]s include %[4]s; }`,
		s.dir, user, temp, s.write(t, "site.conf", s.text(t))))
	return exec.Command(binary, "-e", "stderr", "-p", s.dir, "-c", main)
}

type haproxy struct{}

func (haproxy) binary() []string { return []string{"haproxy", "/usr/sbin/haproxy"} }

func (haproxy) command(t *testing.T, binary string, s site) *exec.Cmd {
	text := s.configuration.text(t, "127.0.0.1:8443", s.listen, "127.0.0.1:8080", s.backend, "/etc/ssl/api.example.pem", s.cert)
	return exec.Command(binary, "-db", "-f", s.write(t, "haproxy.cfg", text))
}

type apache struct{}

func (apache) binary() []string { return []string{"apache2", "/usr/sbin/apache2", "httpd"} }

func (apache) command(t *testing.T, binary string, s site) *exec.Cmd {
	modules := "/usr/lib/apache2/modules" // Debian's.
	if dir := os.Getenv("APACHE_MODULES"); dir != "" {
		modules = dir
	}
	load := ""
	for _, m := range []string{"mpm_event", "authz_core", "ssl", "headers", "proxy", "proxy_http"} {
		load += fmt.Sprintf("LoadModule %[1]s_module %[2]s/mod_%[1]s.so\n", m, modules)
	}
	if os.Getuid() == 0 {
		load += "User nobody\nGroup nogroup\n" // It does not run as root.
	}
	main := s.write(t, "main.conf", fmt.Sprintf(`
ServerRoot %[1]s
DefaultRuntimeDir %[1]s
PidFile %[1]s/pid
ErrorLog /dev/stderr
LogLevel warn
ServerName localhost
StartServers 1
%[2]s
Listen %[3]s
Include %[4]s
`, s.dir, load, s.listen, s.write(t, "site.conf", s.text(t))))
	return exec.Command(binary, "-f", main, "-DFOREGROUND")
}

type caddy struct{}

func (caddy) binary() []string { return []string{"../.cache/caddy"} }

func (caddy) command(t *testing.T, binary string, s site) *exec.Cmd {
	own := fmt.Sprintf(`{
	admin off
	auto_https off
	persist_config off
	default_bind 127.0.0.1
	storage file_system %s
	log {
		level WARN
	}
}
`, s.dir)
	text := s.configuration.text(t, "api.example:8443", "api.example:"+s.port(), "127.0.0.1:8080", s.backend,
		"/etc/ssl/api.example.pem", s.cert, "/etc/ssl/api.example.key", s.key)
	cmd := exec.Command(binary, "run", "--adapter", "caddyfile", "--config", s.write(t, "Caddyfile", own+text))
	cmd.Env = append(os.Environ(), "HOME="+s.dir, "XDG_CONFIG_HOME="+s.dir, "XDG_DATA_HOME="+s.dir)
	return cmd
}

// find returns the path of s's program. Without it, the test is skipped, or fails if
// INTEROP_REQUIRED is set.
func find(t *testing.T, s server) string {
	t.Helper()
	for _, name := range s.binary() {
		if path, err := exec.LookPath(name); err == nil {
			path, err = filepath.Abs(path)
			require.NoError(t, err)
			return path
		}
	}
	missing := fmt.Sprintf("!! NOT TESTED: %s is not on this machine; run interop/terminators/install.sh", s.binary()[0])
	if os.Getenv("INTEROP_REQUIRED") != "" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}

// start runs a terminator in front of backend until the test ends, and returns where it
// listens.
func start(t *testing.T, c configuration, backend string, own *identity) string {
	t.Helper()
	binary := find(t, c.server)
	s := site{configuration: c, dir: t.TempDir(), listen: freeAddress(t), backend: backend}
	s.key = s.write(t, "key.pem", own.keyPEM(t))
	s.cert = s.write(t, "cert.pem", own.certPEM()+own.keyPEM(t))
	cmd := c.server.command(t, binary, s)
	log := &output{}
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Workers included, it can be ended as one.
	require.NoError(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		stop(cmd, ended)
		if t.Failed() {
			t.Logf("%s said:\n%s", c.name, log)
		}
	})
	waitUntilItListens(t, s.listen, ended, log)
	return s.listen
}

func waitUntilItListens(t *testing.T, address string, ended chan error, log *output) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("it ended: %v\n%s", err, log)
		default:
		}
		if conn, err := net.Dial("tcp", address); err == nil {
			conn.Close()
			return
		}
	}
	t.Fatalf("it does not listen on %s\n%s", address, log)
}

func stop(cmd *exec.Cmd, ended chan error) {
	group := -cmd.Process.Pid
	_ = syscall.Kill(group, syscall.SIGTERM)
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
	}
	_ = syscall.Kill(group, syscall.SIGKILL)
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// output is what a server wrote, while it may still be writing.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}
