package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

func line(pid int, name string, parent, utime, stime, cutime, cstime, pages int) string {
	return fmt.Sprintf("%d (%s) S %d 1 1 0 -1 4194560 1 2 3 4 %d %d %d %d 20 0 5 0 100 999 %d 18446744073709551615 1 1\n",
		pid, name, parent, utime, stime, cutime, cstime, pages)
}

func TestParseStat(t *testing.T) {
	for _, name := range []string{"java", "Web Content", "a) R 1 (b", "", "((", "\n"} {
		got, err := parseStat([]byte(line(42, name, 7, 150, 50, 20, 10, 3)))
		want := stat{pid: 42, parent: 7, own: 2 * time.Second, reaped: 300 * time.Millisecond, residentMemory: 3 * int64(os.Getpagesize())}
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v", name, got, err)
		}
	}
}

func TestParseStatRefuses(t *testing.T) {
	for _, text := range []string{
		"", "42", "42 (java", "42 java) S 1", ") 42 (", "42 (java) S 1 2 3",
		"x" + line(42, "java", 7, 1, 1, 1, 1, 1),
		"42 (java) S 1 1 1 0 -1 4194560 1 2 3 4 x 1 1 1 20 0 5 0 100 999 3 1 1 1",
	} {
		if got, err := parseStat([]byte(text)); err == nil {
			t.Errorf("%q: %+v", text, got)
		}
	}
}

// A tree of processes beside others, as it is in /proc.
func TestUsage(t *testing.T) {
	proc := t.TempDir()
	for _, p := range []string{
		line(1, "init", 0, 9999, 0, 9999, 0, 100),
		line(10, "server", 1, 100, 0, 7, 0, 10), // 7 of a child that has ended
		line(11, "child", 10, 20, 0, 0, 0, 2),
		line(12, "grand child", 11, 3, 0, 0, 0, 1),
		line(20, "another", 1, 5000, 0, 0, 0, 50),
		line(30, "loop", 31, 1, 0, 0, 0, 1), // cannot be; must not hang
		line(31, "loop", 30, 1, 0, 0, 0, 1),
	} {
		var pid string
		if _, err := fmt.Sscan(p, &pid); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(proc, pid), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(proc, pid, "stat"), []byte(p), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := usageIn(proc, 10)
	want := usage{cpu: 1300 * time.Millisecond, rss: 13 * int64(os.Getpagesize())}
	if err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	if _, err := usageIn(proc, 99); err == nil {
		t.Error("a process that is not there has no usage")
	}
}

// A child's time counts while it runs and after it has ended.
func TestUsageOfShell(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("there is no /proc here: the comparison runs on Linux alone")
	}
	shell := exec.Command("sh", "-c", "i=0; (while [ $i -lt 200000 ]; do i=$((i+1)); done); echo done; read wait")
	in, err := shell.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := shell.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	got, err := usageOf(shell.Process.Pid)
	_ = in.Close()
	_ = shell.Wait()
	if err != nil || got.cpu < 20*time.Millisecond || got.rss == 0 {
		t.Errorf("%+v, %v, of process %s", got, err, strconv.Itoa(shell.Process.Pid))
	}
}
