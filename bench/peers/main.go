package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/keybound-go/middleware/bench"
)

// settings say how long a run takes: about rounds × servers × (warm + 20 s).
type settings struct {
	rounds int
	cpu    time.Duration // that a server uses for each kind in a round
	conns  int           // that send the requests
	rate   int           // requests a second for the latencies
	window time.Duration // of the latencies
	warm   int           // requests at the most that warm up a server
	only   string
	load   float64 // of the machine before
	update bool
}

func (s *settings) check() error {
	if s.rounds < 1 || s.rounds > 20 || s.cpu <= 0 || s.cpu > 5*time.Second || s.conns < 1 || s.conns > 64 ||
		s.rate < 1 || s.rate > 5000 || s.window > time.Minute || s.warm < 0 || s.warm > 1_000_000 {
		return errors.New("more than this is no comparison: see -help for what the numbers are")
	}
	return nil
}

func main() {
	log.SetFlags(0)
	var s settings
	flag.IntVar(&s.rounds, "rounds", 5, "each starts every server once")
	flag.DurationVar(&s.cpu, "cpu", time.Second/2, "processor time that a server uses for each kind in a round")
	flag.IntVar(&s.conns, "conns", 4, "connections that send the requests")
	flag.IntVar(&s.rate, "rate", 200, "requests a second, for the latencies")
	flag.DurationVar(&s.window, "window", 3*time.Second, "how long they are sent")
	flag.IntVar(&s.warm, "warm", 50_000, "requests at the most to warm up a server, until its processor time has stopped falling")
	flag.StringVar(&s.only, "only", "", "names of servers, separated by commas")
	flag.BoolVar(&s.update, "update", false, "write the tables to README.md")
	flag.Parse()
	if err := s.check(); err != nil {
		log.Fatal(err)
	}
	if err := pinSelf(); err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if s.load, err = load(); err != nil {
		log.Fatal(err)
	}
	text, err := run(ctx, s)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(text)
	if s.update {
		if err := bench.Section("README.md", "peers", text); err != nil {
			log.Fatal(err)
		}
	}
}

const pinned = "BENCH_PEERS_PINNED"

// pinSelf starts this program again on core 1.
func pinSelf() error {
	if os.Getenv(pinned) != "" {
		return nil
	}
	taskset, err := exec.LookPath("taskset")
	if err != nil {
		return fmt.Errorf("the servers and this program need a core each: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	args := append([]string{"taskset", "-c", "1", self}, os.Args[1:]...)
	return syscall.Exec(taskset, args, append(os.Environ(), pinned+"=1"))
}

func run(ctx context.Context, s settings) (string, error) {
	w, err := newWorld()
	if err != nil {
		return "", err
	}
	defer w.close()
	var taking []*contender
	for _, c := range contenders() {
		if s.only != "" && !slices.Contains(strings.Split(s.only, ","), c.name) {
			continue
		}
		if err := c.available(); err != nil {
			log.Printf("!! without %s: %v", c.name, err)
			continue
		}
		taking = append(taking, c)
	}
	if len(taking) == 0 {
		return "", errors.New("no server is built: bash servers/build")
	}
	results := make(map[*contender]*result)
	for _, c := range taking {
		results[c] = newResult()
	}
	for round := range s.rounds {
		order := slices.Clone(taking)
		if round%2 == 1 {
			slices.Reverse(order)
		}
		for _, c := range order {
			if err := ctx.Err(); err != nil {
				return "", err
			}
			log.Printf("round %d: %s", round+1, c.name)
			if err := w.measure(ctx, c, s, results[c]); err != nil {
				return "", fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}
	if c := taking[0]; c.name == "keybound" {
		for _, a := range c.attacks() {
			if accepted(results[c].verdicts[a.name]) {
				return "", fmt.Errorf("this module accepts: %s", a.name)
			}
		}
	}
	return render(s, taking, results)
}
