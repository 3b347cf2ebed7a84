// Package term answers "what does the output look like here?" Colours and progress
// are for terminals; a file or a pipe gets plain text.
package term

import (
	"fmt"
	"io"
	"os"
	"sync"

	xterm "golang.org/x/term"
)

// Out is where a command writes. Its methods may be used concurrently.
type Out struct {
	mu       sync.Mutex
	w        io.Writer
	terminal bool
	progress bool // a progress line is on the screen
	secrets  *Secrets
}

// New wraps w, and lets nothing of secrets through. Colours need a terminal, no NO_COLOR
// in the environment, and a TERM other than dumb.
func New(w io.Writer, secrets *Secrets) *Out {
	f, ok := w.(*os.File)
	terminal := ok && xterm.IsTerminal(int(f.Fd())) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return &Out{w: w, terminal: terminal, secrets: secrets}
}

// Printf writes text.
func (o *Out) Printf(format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.clear()
	io.WriteString(o.w, o.secrets.Cut(fmt.Sprintf(format, args...)))
}

// Progress replaces the progress line on a terminal, and writes nothing elsewhere.
func (o *Out) Progress(format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.terminal {
		return
	}
	o.clear()
	io.WriteString(o.w, o.secrets.Cut(fmt.Sprintf(format, args...)))
	o.progress = true
}

// Done takes the progress line away.
func (o *Out) Done() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.clear()
}

func (o *Out) clear() {
	if o.progress {
		io.WriteString(o.w, "\r\x1b[K")
		o.progress = false
	}
}

func (o *Out) style(code, text string) string {
	if !o.terminal {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// Good, Bad, Warn, Dim and Bold return text in a colour, or as it is.
func (o *Out) Good(text string) string { return o.style("32", text) }

// Bad is for what failed.
func (o *Out) Bad(text string) string { return o.style("31", text) }

// Warn is for what a reader should look at.
func (o *Out) Warn(text string) string { return o.style("33", text) }

// Dim is for what can be skipped.
func (o *Out) Dim(text string) string { return o.style("2", text) }

// Bold is for headings.
func (o *Out) Bold(text string) string { return o.style("1", text) }
