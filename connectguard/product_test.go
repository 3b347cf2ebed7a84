package connectguard_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"connectrpc.com/connect"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/connectguard"
	"github.com/keybound-go/middleware/internal/oracle"
	pt "github.com/keybound-go/middleware/internal/producttest"
)

// calls is the product of calls in three protocols. What the client is told beside the
// header is the protocol's; the header must lose nothing on the way.
func calls() *pt.Product {
	return pt.New([]pt.Door{
		callDoor("Connect", "application/json", codeInBody),
		callDoor("Connect, stream", "application/connect+proto", codeInBody),
		callDoor("gRPC", "application/grpc+proto", func(rec *pt.Response) connect.Code {
			n, _ := strconv.Atoi(rec.Fields.Get("Grpc-Status") + rec.Fields.Get(http.TrailerPrefix+"Grpc-Status"))
			return connect.Code(n)
		}),
	}, pt.ForwardBase(1), pt.ForwardBase(2))
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

// TestProduct sends combinations of guard and call through a guard with Deny, and
// compares with the oracle's word the code, the header, and what the handler sees.
func TestProduct(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := pt.NewWorld(t, pt.RFC9440)
		w.Options = []middleware.Option{middleware.WithDenyHandler(connectguard.Deny)}
		calls().Run(t, w, pt.ModulePlan(t))
	})
}

// callDoor is the door of calls with that media type. codeOf reads the code of a refusal.
func callDoor(name, mediaType string, codeOf func(*pt.Response) connect.Code) pt.Door {
	return pt.Door{
		Name: name, Method: http.MethodPost, Path: unaryCall,
		CannotExist: func(c *pt.Combo) string {
			if c.Is(pt.FPreflight, 1) {
				return "a call is a POST, and no preflight"
			}
			return ""
		},
		Open: func(w *pt.World, guards []*middleware.Guard) func(*http.Request, *pt.Situation) oracle.Verdict {
			h := http.Handler(http.HandlerFunc(pt.Handle))
			for i := len(guards); i > 0; i-- {
				h = guards[i-1].Wrap(h)
			}
			return func(r *http.Request, s *pt.Situation) oracle.Verdict {
				r.Header.Set("Content-Type", mediaType)
				rec := pt.NewResponse()
				h.ServeHTTP(rec, r)
				rec.WriteHeader(http.StatusOK)
				for _, secret := range w.Secrets(s) {
					if secret != "" && strings.Contains(string(rec.Body), secret) {
						s.Problem("a secret in the body")
					}
				}
				if !s.Ran {
					if got, want := codeOf(rec), codeFor[s.Outcome.Status]; got != want {
						s.Problem("the code is %v, for %d", got, s.Outcome.Status)
					}
					rec.Status = s.Outcome.Status // The protocol's own may be 200.
				}
				rec.Body = nil
				return w.Observe(rec, s)
			}
		},
	}
}

func codeInBody(rec *pt.Response) connect.Code {
	_, code, _ := strings.Cut(string(rec.Body), `"code":"`)
	code, _, _ = strings.Cut(code, `"`)
	var c connect.Code
	_ = c.UnmarshalText([]byte(code))
	return c
}

var codeFor = map[int]connect.Code{
	400: connect.CodeInvalidArgument, 401: connect.CodeUnauthenticated, 403: connect.CodePermissionDenied,
	425: connect.CodeUnavailable, 431: connect.CodeInvalidArgument, 503: connect.CodeUnavailable,
}
