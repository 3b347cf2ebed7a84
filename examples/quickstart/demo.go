package main

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
)

// demo is the [testing.TB] of a program that is no test: the fakes need
// one that cleans up after them and tells what went wrong. As with any
// testing.TB, several goroutines may use it at once: the wallet's handlers do.
type demo struct {
	testing.TB

	mu       sync.Mutex
	cleanups []func()
}

// fatal is what Fatalf panics with.
type fatal string

func (d *demo) Helper()             {}
func (d *demo) Name() string        { return "quickstart" }
func (d *demo) Logf(string, ...any) {}

func (d *demo) Fatal(args ...any)                 { panic(fatal(fmt.Sprint(args...))) }
func (d *demo) Fatalf(format string, args ...any) { panic(fatal(fmt.Sprintf(format, args...))) }
func (d *demo) Error(args ...any)                 { d.Fatal(args...) }
func (d *demo) Errorf(format string, args ...any) { d.Fatalf(format, args...) }

func (d *demo) Cleanup(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cleanups = append(d.cleanups, f)
}

// check ends the demo if err is not nil.
func (d *demo) check(err error) {
	if err != nil {
		d.Fatal(err)
	}
}

func (d *demo) cleanUp() {
	d.mu.Lock()
	cleanups := d.cleanups
	d.mu.Unlock()
	for _, f := range slices.Backward(cleanups) {
		f()
	}
}

// tempDir makes a directory that goes away with the demo.
func (d *demo) tempDir() string {
	dir, err := os.MkdirTemp("", "quickstart")
	d.check(err)
	d.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
