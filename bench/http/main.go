// Command http answers "what is left of it end to end?" It serves a handler over
// loopback TLS, once bare and once behind a Guard, in a process of its own, and
// drives it with requests whose proofs were made before.
//
//	go run ./http                            # a quick look
//	go run ./http -requests 100000 -memory 1000000 -update
//
// Bare and guarded take turns in short batches, so that both see the same
// machine. Server and client share its cores: the ratios mean more than the rates.
package main

import (
	"flag"
	"fmt"
	"log"

	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/keybound-go/middleware/bench"
)

var (
	serving     = flag.Bool("serve", false, "be the server (used by the command itself)")
	requests    = flag.Int("requests", 2000, "per number of connections, bare and guarded each")
	connections = flag.String("connections", "1,16,128", "numbers of connections")
	memory      = flag.Int("memory", 20_000, "requests, each with a proof that stays alive, for the memory line")
	rate        = flag.Int("rate", 40, "good requests per second beside the flood")
	flood       = flag.Int("flood", 10, "bad requests for each good one")
	windows     = flag.Int("windows", 8, "of one second, for each kind of flood")
	update      = flag.Bool("update", false, "write the result to README.md")
)

func main() {
	log.SetFlags(0)
	flag.Parse()
	if *serving {
		if err := serve(); err != nil {
			log.Fatal(err)
		}
		return
	}
	text, err := measure()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(text)
	if *update {
		if err := bench.Section("README.md", "http", text); err != nil {
			log.Fatal(err)
		}
	}
}

func measure() (string, error) {
	s, err := startServer()
	if err != nil {
		return "", err
	}
	defer s.stop()
	var text strings.Builder
	fmt.Fprintf(&text, "%s, %d cores shared by server and client, %s. HTTP/1.1 over TLS 1.3 on loopback, DPoP with ES256, %d requests for each cell.\n\n",
		time.Now().UTC().Format(time.DateOnly), runtime.NumCPU(), runtime.Version(), *requests)
	text.WriteString("| connections | guarded by bare, rate | rate, bare | guarded | p50, bare | guarded | p99, bare | guarded | allocations, bare | guarded |\n|---|---|---|---|---|---|---|---|---|---|\n")
	for _, n := range strings.Split(*connections, ",") {
		conns, err := strconv.Atoi(n)
		if err != nil {
			return "", err
		}
		bare, guarded, err := s.compare(conns, *requests)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&text, "| %d | %.2f | %.0f/s | %.0f/s | %v | %v | %v | %v | %.0f | %.0f |\n", conns, guarded.rate()/bare.rate(), bare.rate(), guarded.rate(),
			bare.percentile(50), guarded.percentile(50), bare.percentile(99), guarded.percentile(99), bare.allocations(), guarded.allocations())
	}
	before, after, err := s.grow(*memory)
	if err != nil {
		return "", err
	}
	fmt.Fprintf(&text, "\nHeap of the server after a collection: %d KiB before, %d KiB after %d more requests whose proofs are all remembered: %.0f bytes for each.\n",
		before>>10, after>>10, *memory, float64(int64(after)-int64(before))/float64(max(*memory, 1)))
	alone, busy, bad, err := s.flooded(*rate, *flood, *windows)
	if err != nil {
		return "", err
	}
	fmt.Fprintf(&text, "\nGood requests at %d/s, in seconds by turns: alone, beside %d times as many requests to the bare handler, and beside as many bad ones (random tokens, expired ones, unknown keys of the issuer, foreign keys, replays):\n\n", *rate, *flood)
	fmt.Fprintf(&text, "| | alone | beside bare ones | beside bad ones | bad by bare |\n|---|---|---|---|---|\n")
	for _, p := range []int{50, 90, 99} {
		fmt.Fprintf(&text, "| p%d | %v | %v | %v | %.2f |\n", p, alone.percentile(p), busy.percentile(p), bad.percentile(p), float64(bad.percentile(p))/float64(busy.percentile(p)))
	}
	return text.String(), nil
}
