// Gateway is a reverse proxy that reads Kong's declarative configuration and
// guards what is behind it as Kong's openid-connect plugin does, with package
// middleware and httputil.ReverseProxy and nothing else. README.md says how to
// start, and which keys it knows.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

// The exit statuses.
const (
	exitFailed = 1 // something broke
	exitUsage  = 2 // the command line or the file is wrong
)

func main() {
	// Failures of background refreshes go there, in the form of the other lines.
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, nil)))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr, hangups)
	stop()
	os.Exit(code)
}

// run is main without the process: "gateway check" and "gateway print-go" look at
// files, everything else serves.
func run(ctx context.Context, args []string, stdout, stderr io.Writer, hangups <-chan os.Signal) int {
	if len(args) > 0 && (args[0] == "check" || args[0] == "print-go") {
		return look(args[0], args[1:], stdout, stderr)
	}
	s, err := parseSettings(args, stderr)
	if errors.Is(err, errHelp) {
		return 0
	}
	if err == nil {
		err = s.start(ctx, slog.New(slog.NewTextHandler(stderr, nil)))
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitUsage
	}
	if err := s.serve(ctx, stdout, hangups); err != nil {
		fmt.Fprintln(stderr, "gateway:", err)
		return exitFailed
	}
	return 0
}
