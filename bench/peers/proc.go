package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of the times in /proc/PID/stat: USER_HZ is 100 on every
// architecture that Go runs on.
const clockTick = 10 * time.Millisecond

// usage is what a process and its children have used until now.
type usage struct {
	cpu time.Duration // user and system
	rss int64         // bytes, of those that are alive
}

// stat is one /proc/PID/stat, see proc(5).
type stat struct {
	pid, parent    int
	own, reaped    time.Duration // the latter of children that were waited for
	residentMemory int64         // bytes
}

// parseStat reads one. The second field is the name of the program in parentheses; it
// can contain spaces and parentheses itself.
func parseStat(line []byte) (stat, error) {
	open, end := bytes.IndexByte(line, '('), bytes.LastIndexByte(line, ')')
	if open < 0 || end < open {
		return stat{}, fmt.Errorf("no name in %q", line)
	}
	fields := strings.Fields(string(line[end+1:])) // from the third on
	if len(fields) < 22 {
		return stat{}, fmt.Errorf("%d fields after the name in %q", len(fields), line)
	}
	var err error
	number := func(text string) int64 {
		n, e := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
		if e != nil && err == nil {
			err = e
		}
		return n
	}
	field := func(n int) int64 { return number(fields[n-3]) } // numbered as in proc(5)
	s := stat{
		pid:            int(number(string(line[:open]))),
		parent:         int(field(4)),
		own:            time.Duration(field(14)+field(15)) * clockTick,
		reaped:         time.Duration(field(16)+field(17)) * clockTick,
		residentMemory: field(24) * int64(os.Getpagesize()),
	}
	return s, err
}

// usageOf adds up a process and its descendants. The reaped time of each is that of
// children that are no longer there, so that nothing counts twice.
func usageOf(pid int) (usage, error) { return usageIn("/proc", pid) }

func usageIn(proc string, pid int) (usage, error) {
	files, err := filepath.Glob(filepath.Join(proc, "[0-9]*", "stat"))
	if err != nil {
		return usage{}, err
	}
	all := make(map[int]stat)
	for _, file := range files {
		line, err := os.ReadFile(file)
		if err != nil {
			continue // it has just ended
		}
		s, err := parseStat(line)
		if err != nil {
			return usage{}, err
		}
		all[s.pid] = s
	}
	if _, ok := all[pid]; !ok {
		return usage{}, fmt.Errorf("process %d is gone", pid)
	}
	var sum usage
	for _, s := range all {
		if descends(all, s.pid, pid) {
			sum.cpu += s.own + s.reaped
			sum.rss += s.residentMemory
		}
	}
	return sum, nil
}

func descends(all map[int]stat, pid, from int) bool {
	for range len(all) + 1 { // processes come and go while they are read: no loop
		if pid == from {
			return true
		}
		s, ok := all[pid]
		if !ok || s.parent == pid {
			return false
		}
		pid = s.parent
	}
	return false
}
