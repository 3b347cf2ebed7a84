package main

import (
	"errors"
	"fmt"
	"log"
	"os"
	"runtime"
	"strings"
	"time"
)

// render writes the tables.
func render(s settings, taking []*contender, results map[*contender]*result) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, on %s, with a load of %.1f before. Rounds: %d.\nIn each, a server warms up until its processor time has stopped falling, with %d requests\nat the most, then answers some of each kind over %d connections for %v of its time.\nTokens and proofs are signed with ES256.\n\n",
		time.Now().UTC().Format(time.DateOnly), machine(), s.load, s.rounds, s.warm, s.conns, s.cpu)
	var errs []error
	for _, c := range taking {
		versions, err := c.versions()
		errs = append(errs, err)
		fmt.Fprintf(&b, "- %s: %s\n", c.title, versions)
	}
	renderCPU(&b, taking, results)
	if s.load <= quiet {
		renderLatency(&b, s, taking, results)
	} else {
		b.WriteString("\nLatencies have no table, since they would be those of the other work of the machine.\n")
	}
	renderVerdicts(&b, taking, results)
	return b.String(), errors.Join(errs...)
}

// quiet is the load up to which latencies say something about the servers.
const quiet = 1.5

// load is the average of the last minute: how many processes wanted a core.
func load() (float64, error) {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0, err
	}
	var first float64
	_, err = fmt.Sscan(string(text), &first)
	return first, err
}

func machine() string {
	model, cores := runtime.GOARCH, runtime.NumCPU() // of which this program has one
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, rest, ok := strings.Cut(string(info), "model name"); ok {
			line, _, _ := strings.Cut(rest, "\n")
			model, cores = strings.Trim(line, "\t :"), strings.Count(string(info), "model name")
		}
	}
	return fmt.Sprintf("%d x %s, %s/%s", cores, model, runtime.GOOS, runtime.GOARCH)
}

func renderCPU(b *strings.Builder, taking []*contender, results map[*contender]*result) {
	b.WriteString("\nProcessor time of one request, and by that of the bare handler of the same server, and\nresident memory at the end:\n\n|")
	for _, k := range kinds {
		fmt.Fprintf(b, " | %s", k)
	}
	b.WriteString(" | memory |\n|---" + strings.Repeat("|---", len(kinds)+1) + "|\n")
	for _, c := range taking {
		fmt.Fprintf(b, "| %s", c.title)
		plain := median(results[c].cpu[bare])
		for _, k := range kinds {
			if len(results[c].cpu[k]) == 0 {
				b.WriteString(" | –")
				continue
			}
			cpu := median(results[c].cpu[k])
			fmt.Fprintf(b, " | %s", micros(cpu))
			if k != bare && plain > 0 {
				fmt.Fprintf(b, ", %.1f", float64(cpu)/float64(plain))
			}
		}
		fmt.Fprintf(b, " | %d MiB |\n", median(results[c].memory)>>20)
	}
}

func renderLatency(b *strings.Builder, s settings, taking []*contender, results map[*contender]*result) {
	fmt.Fprintf(b, "\nAt %d requests a second for %v, p50 and p99:\n\n", s.rate, s.window)
	b.WriteString("| | bare, p50 | p99 | bearer, p50 | p99 | DPoP, p50 | p99 |\n|---|---|---|---|---|---|---|\n")
	for _, c := range taking {
		r := results[c]
		fmt.Fprintf(b, "| %s", c.title)
		for _, k := range []kind{bare, bearer, dpop} {
			if len(r.p50[k]) == 0 {
				b.WriteString(" | – | –")
				continue
			}
			fmt.Fprintf(b, " | %s | %s", millis(median(r.p50[k])), millis(median(r.p99[k])))
		}
		b.WriteString(" |\n")
	}
}

// renderVerdicts writes the rows that every server either refuses or states in its
// documentation that it accepts.
func renderVerdicts(b *strings.Builder, taking []*contender, results map[*contender]*result) {
	b.WriteString("\nThe same attacks, and the status of the refusal. The servers are set up as the documentation\nof each library begins; a note says what it states of an attack that is accepted then:\n\n|")
	for _, c := range taking {
		fmt.Fprintf(b, " | %s", c.title)
	}
	b.WriteString(" |\n|---" + strings.Repeat("|---", len(taking)) + "|\n")
	var notes []string
	for _, a := range attacks() {
		if by := unstated(a.name, taking, results); len(by) > 0 {
			log.Printf("!! not in the table: %q is accepted by %s, and nothing is stated about it", a.name, strings.Join(by, ", "))
			continue
		}
		fmt.Fprintf(b, "| %s", a.name)
		for _, c := range taking {
			status, tried := results[c].verdicts[a.name]
			if !tried {
				b.WriteString(" | –")
				continue
			}
			if !accepted(status) {
				fmt.Fprintf(b, " | %d", status)
				continue
			}
			verdict := "no such check offered"
			if c.stated[a.name].offered {
				verdict = "accepted"
			}
			var n int
			notes, n = note(notes, c.stated[a.name].text)
			fmt.Fprintf(b, " | %s (%d)", verdict, n)
		}
		b.WriteString(" |\n")
	}
	for i, text := range notes {
		if i == 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(b, "%d. %s\n", i+1, text)
	}
}

// unstated are those that accept an attack without a word in their documentation.
func unstated(attack string, taking []*contender, results map[*contender]*result) (names []string) {
	for _, c := range taking {
		if _, ok := c.stated[attack]; accepted(results[c].verdicts[attack]) && !ok {
			names = append(names, c.name)
		}
	}
	return names
}

// note returns the number of a footnote, which is added if it is new.
func note(notes []string, text string) ([]string, int) {
	for i, n := range notes {
		if n == text {
			return notes, i + 1
		}
	}
	return append(notes, text), len(notes) + 1
}

func micros(d time.Duration) string { return fmt.Sprintf("%d µs", d.Microseconds()) }
func millis(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }
