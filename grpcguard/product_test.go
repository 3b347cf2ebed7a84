package grpcguard_test

import (
	"testing"
	"testing/synctest"

	"github.com/keybound-go/middleware/internal/oracle"
	pt "github.com/keybound-go/middleware/internal/producttest"
)

// calls is the product of calls, unary and in streams.
func calls() *pt.Product {
	return pt.New([]pt.Door{callDoor("gRPC, unary", unaryCall), callDoor("gRPC, stream", duplexCall)}, pt.ForwardBase(1))
}

// callDoor is the door of calls of one method.
func callDoor(name, method string) pt.Door {
	return pt.Door{
		Name: name, Method: "POST", Path: method,
		CannotExist: func(c *pt.Combo) string {
			if c.Is(pt.FPreflight, 1) {
				return "a call is a POST, and no preflight"
			}
			return ""
		},
		Word: func(c pt.Combo) oracle.Verdict {
			config, q := c.Describe()
			if c[pt.FNest] != pt.NoNest {
				outer, inner := pt.Nested(config)
				return oracle.Repeated(outer, inner, c[pt.FNest] == pt.SameParts, q)
			}
			return oracle.Decide(config, q)
		},
		Open: openCalls,
	}
}

// TestEveryPairOccurs holds that TestProduct has each pair of values of two factors,
// except pairs that cannot exist.
func TestEveryPairOccurs(t *testing.T) {
	if testing.Short() {
		t.Skip("with -short, TestProduct changes one value only")
	}
	calls().HoldPairs(t, pt.ModulePlan(t))
}

// TestEveryImportantTripleOccurs is TestEveryPairOccurs for triples of what decides most.
func TestEveryImportantTripleOccurs(t *testing.T) {
	if testing.Short() {
		t.Skip("with -short, TestProduct changes one value only")
	}
	calls().HoldTriples(t, pt.ModulePlan(t), pt.Important())
}

// TestProduct sends combinations of guard and call through real servers, and compares the
// verdict with the oracle's word: the status and its details, the challenges, the nonce,
// the session, and what the handler sees.
func TestProduct(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := pt.NewWorld(t, pt.RFC9440)
		serve(t, w)
		calls().Run(t, w, pt.ModulePlan(t))
	})
}
