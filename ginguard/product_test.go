package ginguard_test

import (
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/gin-gonic/gin"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/ginguard"
	"github.com/keybound-go/middleware/internal/oracle"
	pt "github.com/keybound-go/middleware/internal/producttest"
)

// requests is the product of requests to a gin router.
func requests() *pt.Product {
	return pt.New([]pt.Door{{Name: "gin", Open: openRouter}})
}

// TestEveryPairOccurs holds that TestProduct has each pair of values of two factors,
// except pairs that cannot exist.
func TestEveryPairOccurs(t *testing.T) {
	if testing.Short() {
		t.Skip("with -short, TestProduct changes one value only")
	}
	requests().HoldPairs(t, pt.ModulePlan(t))
}

// TestEveryImportantTripleOccurs is TestEveryPairOccurs for triples of what decides most.
func TestEveryImportantTripleOccurs(t *testing.T) {
	if testing.Short() {
		t.Skip("with -short, TestProduct changes one value only")
	}
	requests().HoldTriples(t, pt.ModulePlan(t), pt.Important())
}

// TestProduct sends combinations of guard and request to a gin router, and compares with
// the oracle's word what comes back and what the handler sees.
func TestProduct(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		requests().Run(t, pt.NewWorld(t, pt.RFC9440), pt.ModulePlan(t))
	})
}

// openRouter puts the guards into a router, before its handler.
func openRouter(w *pt.World, guards []*middleware.Guard) func(*http.Request, *pt.Situation) oracle.Verdict {
	router := gin.New()
	var group gin.IRoutes = router
	for _, g := range guards {
		group = group.Use(ginguard.Wrap(g))
	}
	group.Any("/orders", func(c *gin.Context) {
		pt.Handle(nil, c.Request)
		c.Status(http.StatusOK)
	})
	return func(r *http.Request, s *pt.Situation) oracle.Verdict {
		rec := pt.NewResponse()
		router.ServeHTTP(rec, r)
		rec.WriteHeader(http.StatusOK)
		return w.Observe(rec, s)
	}
}
