package producttest

import (
	"runtime"
	"sync"
	"testing"
)

// HoldTriples fails t unless the plan, without its random combos, has every triple of
// values of three different factors of those in of, except triples that cannot exist. A
// nil of stands for all factors.
func (p *Product) HoldTriples(t *testing.T, plan Plan, of []int) {
	t.Helper()
	if of == nil {
		of = everyFactor()
	}
	seen := p.triplesOf(plan, of)
	found, missing := 0, 0
	for i, f := range of {
		for k, g := range of[i+1:] {
			for _, h := range of[i+1+k+1:] {
				seen.each(f, g, h, func(c *Combo, occurs bool) {
					switch {
					case occurs:
						found++
					case !p.impossible(c):
						missing++
						if missing < 10 {
							t.Errorf("%s=%d %s=%d %s=%d never occurs", factors[f].name, c[f], factors[g].name, c[g], factors[h].name, c[h])
						}
					}
				})
			}
		}
	}
	t.Logf("%d triples occur, %d are missing", found, missing)
}

// triplesOf are those of the plan. Each core counts every other base.
func (p *Product) triplesOf(plan Plan, of []int) *triples {
	cores := runtime.GOMAXPROCS(0)
	parts := make([]*triples, cores)
	var wg sync.WaitGroup
	for i := range parts {
		wg.Go(func() {
			seen, part, own := p.newTriples(of), *p, plan
			part.Bases, own.From, own.Runs = every(cores, i, p.Bases), every(cores, i, plan.From), 0
			part.Combos(own)(func(c Combo) bool {
				seen.add(&c)
				return true
			})
			parts[i] = seen
		})
	}
	wg.Wait()
	for _, other := range parts[1:] {
		parts[0].join(other)
	}
	return parts[0]
}

// every returns the combos with the numbers i, i+n, i+2n and so on.
func every(n, i int, all []Combo) (some []Combo) {
	for ; i < len(all); i += n {
		some = append(some, all[i])
	}
	return some
}

// HoldPairs is [Product.HoldTriples] for pairs.
func (p *Product) HoldPairs(t *testing.T, plan Plan) {
	t.Helper()
	type pair struct{ f, g, a, b uint8 }
	seen := make(map[pair]bool)
	plan.Runs = 0
	p.Combos(plan)(func(c Combo) bool {
		for f := range c {
			for g := f + 1; g < numFactors; g++ {
				seen[pair{uint8(f), uint8(g), c[f], c[g]}] = true
			}
		}
		return true
	})
	missing := 0
	for f := range numFactors {
		for g := f + 1; g < numFactors; g++ {
			for a := range p.values(f) {
				for b := range p.values(g) {
					c := anyCombo()
					c[f], c[g] = uint8(a), uint8(b)
					if !seen[pair{uint8(f), uint8(g), c[f], c[g]}] && !p.impossible(&c) {
						if missing++; missing < 10 {
							t.Errorf("%s=%d %s=%d never occurs", factors[f].name, a, factors[g].name, b)
						}
					}
				}
			}
		}
	}
	t.Logf("%d pairs occur, %d are missing", len(seen), missing)
}

func everyFactor() []int {
	f := make([]int, numFactors)
	for i := range f {
		f[i] = i
	}
	return f
}

func anyCombo() (c Combo) {
	for f := range c {
		c[f] = unset
	}
	return c
}

// triples are bits for each value of each three factors.
type triples struct {
	p    *Product
	of   []int
	bits [numFactors][numFactors][numFactors][]bool
}

func (p *Product) newTriples(of []int) *triples {
	s := &triples{p: p, of: of}
	for i, f := range of {
		for k, g := range of[i+1:] {
			for _, h := range of[i+1+k+1:] {
				s.bits[f][g][h] = make([]bool, p.values(f)*p.values(g)*p.values(h))
			}
		}
	}
	return s
}

func (s *triples) add(c *Combo) {
	for i, f := range s.of {
		for k, g := range s.of[i+1:] {
			at := int(c[f])*s.p.values(g) + int(c[g])
			for _, h := range s.of[i+1+k+1:] {
				s.bits[f][g][h][at*s.p.values(h)+int(c[h])] = true
			}
		}
	}
}

func (s *triples) join(other *triples) {
	for i, f := range s.of {
		for k, g := range s.of[i+1:] {
			for _, h := range s.of[i+1+k+1:] {
				for bit, is := range other.bits[f][g][h] {
					s.bits[f][g][h][bit] = s.bits[f][g][h][bit] || is
				}
			}
		}
	}
}

func (s *triples) each(f, g, h int, yield func(c *Combo, occurs bool)) {
	i := 0
	for a := range s.p.values(f) {
		for b := range s.p.values(g) {
			for d := range s.p.values(h) {
				c := anyCombo()
				c[f], c[g], c[h] = uint8(a), uint8(b), uint8(d)
				yield(&c, s.bits[f][g][h][i])
				i++
			}
		}
	}
}

// impossible reports whether the set values of c exclude each other, or leave no value to
// a factor that is unset.
func (p *Product) impossible(c *Combo) bool {
	if p.cannotExist(c) != "" {
		return true
	}
	for f := range c {
		if c[f] != unset {
			continue
		}
		d, possible := *c, false
		for v := range p.values(f) {
			d[f] = uint8(v)
			possible = possible || p.cannotExist(&d) == ""
		}
		if !possible {
			return true
		}
	}
	return false
}
