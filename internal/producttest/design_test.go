package producttest

import (
	"os"
	"testing"
)

// TestEveryTripleOccurs holds that the combos with up to three changes, which TestProduct
// runs in full from a million on, have each triple of values of three factors in them,
// but for triples that cannot exist.
func TestEveryTripleOccurs(t *testing.T) {
	if os.Getenv("PRODUCT") == "" {
		t.Skip("counts a million combinations; runs with PRODUCT, as in .ci/run product")
	}
	seen := newTriples()
	for _, base := range bases() {
		deviations(base, 3, func(c combo) bool {
			seen.add(&c)
			return true
		})
	}
	found, missing := 0, 0
	for f := range numFactors {
		for g := f + 1; g < numFactors; g++ {
			for h := g + 1; h < numFactors; h++ {
				seen.each(f, g, h, func(c *combo, occurs bool) {
					switch {
					case occurs:
						found++
					case !impossible(c):
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

// triples are bits for each value of each three factors.
type triples [numFactors][numFactors][numFactors][]bool

func newTriples() *triples {
	s := new(triples)
	for f := range numFactors {
		for g := f + 1; g < numFactors; g++ {
			for h := g + 1; h < numFactors; h++ {
				s[f][g][h] = make([]bool, factors[f].values*factors[g].values*factors[h].values)
			}
		}
	}
	return s
}

func (s *triples) add(c *combo) {
	for f := range numFactors {
		for g := f + 1; g < numFactors; g++ {
			at := (int(c[f])*factors[g].values + int(c[g]))
			for h := g + 1; h < numFactors; h++ {
				s[f][g][h][at*factors[h].values+int(c[h])] = true
			}
		}
	}
}

func (s *triples) each(f, g, h int, yield func(c *combo, occurs bool)) {
	i := 0
	for a := range factors[f].values {
		for b := range factors[g].values {
			for d := range factors[h].values {
				var c combo
				for k := range c {
					c[k] = unset
				}
				c[f], c[g], c[h] = uint8(a), uint8(b), uint8(d)
				yield(&c, s[f][g][h][i])
				i++
			}
		}
	}
}

// impossible reports whether the set values of c exclude each other, or leave no value to
// a factor that is unset.
func impossible(c *combo) bool {
	if cannotExist(c) != "" {
		return true
	}
	for f := range c {
		if c[f] != unset {
			continue
		}
		d, possible := *c, false
		for v := range factors[f].values {
			d[f] = uint8(v)
			possible = possible || cannotExist(&d) == ""
		}
		if !possible {
			return true
		}
	}
	return false
}
