// Quickstart shows what the guard does, in one process and with no set-up: an
// issuer (the fake of package oidctest), a TLS service behind two guards, and a
// client that walks through it, honestly and not.
//
//	go run ./examples/quickstart          walk through, exit 0 if every outcome was the expected one
//	go run ./examples/quickstart -serve   then keep running, with a page to try it in a browser, and curl commands
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
)

func main() {
	serve := flag.Bool("serve", false, "keep running, for a browser and for curl")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Stdout, *serve)
	stop()
	os.Exit(code)
}

// run is main without the process. The demo stands in for a test: the fakes
// clean up through it and end it when something goes wrong.
func run(ctx context.Context, out io.Writer, serve bool) (code int) {
	d := &demo{}
	defer func() {
		d.cleanUp()
		if p := recover(); p != nil {
			failure, ok := p.(fatal)
			if !ok {
				panic(p)
			}
			fmt.Fprintln(out, "quickstart:", failure)
			code = 1
		}
	}()
	w := newWorld(d)
	passed, total := w.walk(out)
	fmt.Fprintf(out, "\n%d of %d outcomes were the expected ones.\n", passed, total)
	if serve {
		fmt.Fprintf(out, "\nIn a browser: %s\n", w.servePage().url)
		w.printCommands(out, d.tempDir())
		<-ctx.Done()
	}
	if passed != total {
		return 1
	}
	return 0
}
