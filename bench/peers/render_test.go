package main

import (
	"os"
	"strings"
	"testing"
	"time"
)

func resultOf(micros time.Duration, statuses map[string]int) *result {
	r := newResult()
	for i, k := range kinds {
		cost := micros * time.Microsecond * time.Duration(i+1)
		r.cpu[k] = []time.Duration{cost, 1000 * cost, 0}
		r.p50[k], r.p99[k] = []time.Duration{2 * cost}, []time.Duration{20 * cost}
	}
	r.memory = []int64{5 << 20}
	for _, a := range attacks() {
		r.verdicts[a.name] = 401
		if status, ok := statuses[a.name]; ok {
			r.verdicts[a.name] = status
		}
	}
	return r
}

func TestTables(t *testing.T) {
	var b strings.Builder
	one := &contender{name: "one", title: "One"}
	two := &contender{name: "two", title: "Two", stated: map[string]statement{replayed: {false, "its page says so"}}}
	three := &contender{name: "three", title: "Three", stated: map[string]statement{replayed: {true, "off by default"}}}
	four := &contender{name: "four", title: "Four", stated: two.stated}
	all := []*contender{one, two, three, four}
	results := map[*contender]*result{
		one: resultOf(100, nil), two: resultOf(200, map[string]int{replayed: 200}),
		three: resultOf(300, map[string]int{replayed: 204}), four: resultOf(400, map[string]int{replayed: 200}),
	}
	renderCPU(&b, all, results)
	renderLatency(&b, settings{rate: 200}, all, results)
	renderVerdicts(&b, all, results)
	for _, want := range []string{
		"| | bare | bearer | bearer, new token | DPoP | DPoP, new token | memory |\n|---|---|---|---|---|---|---|\n",
		"| One | 100 µs | 200 µs, 2.0 | 300 µs, 3.0 | 400 µs, 4.0 | 500 µs, 5.0 | 5 MiB |\n",
		"| Two | 0.4 ms | 4.0 ms | 0.8 ms | 8.0 ms | 1.6 ms | 16.0 ms |\n",
		"| | One | Two | Three | Four |\n|---|---|---|---|---|\n",
		"| replayed proof | 401 | no such check offered (1) | accepted (2) | no such check offered (1) |\n",
		"| token for another audience | 401 | 401 | 401 | 401 |\n",
		"\n1. its page says so\n2. off by default\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in:\n%s", want, b.String())
		}
	}
}

// Latencies are shown only if the machine had nothing else to do.
func TestLatenciesNeedQuiet(t *testing.T) {
	one := &contender{name: "one", title: "One", versions: func() (string, error) { return "1", nil }}
	results := map[*contender]*result{one: resultOf(100, nil)}
	for load, want := range map[float64]bool{0: true, quiet: true, 1.6: false, 40: false} {
		text, err := render(settings{rounds: 1, load: load, rate: 200}, []*contender{one}, results)
		if got := strings.Contains(text, "p99"); err != nil || got != want {
			t.Errorf("load %v: latencies %v, error %v", load, got, err)
		}
	}
}

// A server that takes no proofs has no numbers and no verdicts of them.
func TestBearerOnly(t *testing.T) {
	var b strings.Builder
	one := &contender{name: "one", title: "One", bearerOnly: true}
	r := newResult()
	for _, k := range one.kinds() {
		r.cpu[k], r.p50[k], r.p99[k] = []time.Duration{time.Millisecond}, []time.Duration{time.Millisecond}, []time.Duration{time.Second}
	}
	for _, a := range one.attacks() {
		r.verdicts[a.name] = 401
	}
	results := map[*contender]*result{one: r}
	renderCPU(&b, []*contender{one}, results)
	renderLatency(&b, settings{rate: 200}, []*contender{one}, results)
	renderVerdicts(&b, []*contender{one}, results)
	for _, want := range []string{
		"| One | 1000 µs | 1000 µs, 1.0 | 1000 µs, 1.0 | – | – | 0 MiB |\n",
		"| One | 1.0 ms | 1000.0 ms | 1.0 ms | 1000.0 ms | – | – |\n",
		"| replayed proof | – |\n", "| token bound to another key | – |\n",
		"| bound token as bearer token | 401 |\n", "| token with `alg` none | 401 |\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in:\n%s", want, b.String())
		}
	}
}

// An attack that a library accepts without a word about it in its documentation is
// nothing to publish in a table.
func TestUnstatedHasNoRow(t *testing.T) {
	const attack = "token for another audience"
	var b strings.Builder
	one, two := &contender{name: "one"}, &contender{name: "two"}
	all := []*contender{one, two}
	results := map[*contender]*result{one: resultOf(1, nil), two: resultOf(1, map[string]int{attack: 200})}
	renderVerdicts(&b, all, results)
	if strings.Contains(b.String(), attack) || strings.Contains(b.String(), "accepted (") || strings.Contains(b.String(), "no such check") {
		t.Errorf("a row:\n%s", b.String())
	}
	if by := unstated(attack, all, results); len(by) != 1 || by[0] != "two" {
		t.Errorf("by %v", by)
	}
}

// Every statement is about an attack that is made.
func TestStatements(t *testing.T) {
	known := make(map[string]bool)
	for _, a := range attacks() {
		if known[a.name] {
			t.Errorf("%q twice", a.name)
		}
		known[a.name] = true
	}
	for _, c := range contenders() {
		for name, s := range c.stated {
			if !known[name] || s.text == "" {
				t.Errorf("%s: %q: %+v", c.name, name, s)
			}
		}
	}
}

// The versions of the tables are those of the files that pin them.
func TestVersions(t *testing.T) {
	t.Chdir("..")
	for _, c := range contenders() {
		if c.available() != nil && c.name != "keybound" {
			continue // its runtime may not be here
		}
		text, err := c.versions()
		if err != nil || text == "" {
			t.Errorf("%s: %q, %v", c.name, text, err)
		}
	}
	for _, file := range []string{"servers/spring/pom.xml", "servers/express/package-lock.json", "servers/oauth4webapi/package-lock.json", "servers/huskarl/Cargo.lock"} {
		if _, err := os.Stat(file); err != nil {
			t.Error(err)
		}
	}
}

func TestSettingsAreBounded(t *testing.T) {
	good := settings{rounds: 5, cpu: time.Second, conns: 4, rate: 200, window: time.Second, warm: 1000}
	if err := good.check(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*settings){
		"rounds": func(s *settings) { s.rounds = 1000 }, "no rounds": func(s *settings) { s.rounds = 0 },
		"cpu": func(s *settings) { s.cpu = time.Hour }, "no cpu": func(s *settings) { s.cpu = 0 },
		"conns": func(s *settings) { s.conns = 10_000 }, "rate": func(s *settings) { s.rate = 1_000_000 },
		"negative warm": func(s *settings) { s.warm = -1 }, "window": func(s *settings) { s.window = time.Hour }, "warm": func(s *settings) { s.warm = 10_000_000 },
	} {
		s := good
		change(&s)
		if s.check() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
