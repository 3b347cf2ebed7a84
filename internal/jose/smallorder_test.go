package jose_test

import (
	"crypto/ed25519"
	"fmt"
	"math/big"
	"slices"
	"testing"

	"github.com/keybound-go/middleware/internal/jose"
)

// The curve of RFC 8032, section 5.1, in affine coordinates, from scratch: the
// list of points of small order in the code is not trusted here, but derived.
var (
	edwardsP, _ = new(big.Int).SetString("7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffed", 16)
	edwardsL, _ = new(big.Int).SetString("1000000000000000000000000000000014def9dea2f79cd65812631a5cf5d3ed", 16)
	edwardsD    = modP(new(big.Int).Mul(big.NewInt(-121665), inverse(big.NewInt(121666))))
)

type point struct{ x, y *big.Int }

func modP(n *big.Int) *big.Int    { return n.Mod(n, edwardsP) }
func inverse(n *big.Int) *big.Int { return new(big.Int).ModInverse(n, edwardsP) }
func times(a, b *big.Int) *big.Int {
	return modP(new(big.Int).Mul(a, b))
}
func plus(a, b *big.Int) *big.Int { return modP(new(big.Int).Add(a, b)) }

func (p point) add(q point) point {
	one := big.NewInt(1)
	product := times(edwardsD, times(times(p.x, q.x), times(p.y, q.y)))
	return point{
		times(plus(times(p.x, q.y), times(p.y, q.x)), inverse(plus(one, product))),
		times(plus(times(p.y, q.y), times(p.x, q.x)), inverse(modP(new(big.Int).Sub(one, product)))),
	}
}

func (p point) multiply(n *big.Int) point {
	sum := point{big.NewInt(0), big.NewInt(1)}
	for i := n.BitLen() - 1; i >= 0; i-- {
		sum = sum.add(sum)
		if n.Bit(i) == 1 {
			sum = sum.add(p)
		}
	}
	return sum
}

func littleEndian(y *big.Int) []byte {
	out := y.FillBytes(make([]byte, 32))
	slices.Reverse(out)
	return out
}

// pointWithY returns a point with that y, if there is one.
func pointWithY(y *big.Int) (point, bool) {
	yy := times(y, y)
	one := big.NewInt(1)
	xx := times(modP(new(big.Int).Sub(yy, one)), inverse(plus(times(edwardsD, yy), one)))
	x := new(big.Int).ModSqrt(xx, edwardsP)
	return point{x, y}, x != nil
}

// torsion returns the eight points whose order divides 8.
func torsion(t *testing.T) []point {
	t.Helper()
	for n := int64(2); n < 100; n++ {
		p, ok := pointWithY(big.NewInt(n))
		if !ok {
			continue
		}
		p = p.multiply(edwardsL)
		if q := p.multiply(big.NewInt(4)); q.x.Sign() == 0 && q.y.Cmp(big.NewInt(1)) == 0 {
			continue // its order is less than 8
		}
		var points []point
		for i := int64(1); i <= 8; i++ {
			points = append(points, p.multiply(big.NewInt(i)))
		}
		return points
	}
	t.Fatal("no point of order 8")
	return nil
}

func TestEveryEncodingOfASmallOrderPointIsRefused(t *testing.T) {
	seen := map[string]bool{}
	for i, p := range torsion(t) {
		for _, y := range []*big.Int{p.y, new(big.Int).Add(p.y, edwardsP)} {
			if y.BitLen() > 255 {
				continue
			}
			for sign := range byte(2) {
				key := littleEndian(y)
				key[31] |= sign << 7
				seen[string(key)] = true
				t.Run(fmt.Sprintf("JOSE-KEY-07 %d*T %x", i+1, key), func(t *testing.T) {
					if err := jose.CheckKey("EdDSA", ed25519.PublicKey(key)); err == nil {
						t.Error("accepted")
					}
				})
			}
		}
	}
	// Five y coordinates with both signs, and p and p+1, which encode 0 and 1 again.
	if len(seen) != 14 {
		t.Errorf("%d encodings", len(seen))
	}
}

func TestTheIdentityKeyWouldVerifyAnything(t *testing.T) {
	identity := append([]byte{1}, make([]byte, 31)...)
	signature := append(slices.Clone(identity), make([]byte, 32)...)
	if !ed25519.Verify(identity, []byte("any message"), signature) {
		t.Skip("crypto/ed25519 has become stricter")
	}
	t.Run("JOSE-KEY-07 so that it is refused", func(t *testing.T) {
		jwk := fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","x":"%s"}`, b64(identity))
		if _, _, err := jose.ParseKey([]byte(jwk)); err != jose.ErrWeakKey {
			t.Error(err)
		}
		m := mustParse(t, `{"alg":"EdDSA"}`, `{}`, signature)
		if err := m.Verify(ed25519.PublicKey(identity)); err != jose.ErrWeakKey {
			t.Error(err)
		}
	})
}
