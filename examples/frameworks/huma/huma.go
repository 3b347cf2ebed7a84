// Package huma guards a service on huma, by the security of its operations.
package huma

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/openapi"
)

// Order names one order.
type Order struct {
	ID int `path:"id"`
}

// New returns the service.
func New(guard *middleware.Guard) (http.Handler, error) {
	mux := http.NewServeMux()
	config := huma.DefaultConfig("Orders", "1")
	config.Security = []map[string][]string{{"oauth2": {}}} // of an operation without its own
	api := humago.New(mux, config)
	operations := openapi.New(guard, "oauth2")
	api.UseMiddleware(guarded(operations)) // before the operations

	huma.Register(api, huma.Operation{
		OperationID: "getHealth", Method: "GET", Path: "/health", Security: []map[string][]string{}, // open
	}, func(context.Context, *struct{}) (*struct{}, error) { return nil, nil })
	huma.Register(api, huma.Operation{
		OperationID: "listOrders", Method: "GET", Path: "/orders", Security: []map[string][]string{{"oauth2": {"orders:read"}}},
	}, orders)
	huma.Register(api, huma.Operation{
		OperationID: "createOrder", Method: "POST", Path: "/orders", Security: []map[string][]string{{"oauth2": {"orders:write"}}},
	}, orders)
	huma.Register(api, huma.Operation{OperationID: "getOrder", Method: "GET", Path: "/orders/{id}"},
		func(context.Context, *Order) (*struct{}, error) { return nil, nil })

	return mux, addAll(operations, api.OpenAPI())
}

func orders(ctx context.Context, _ *struct{}) (*struct{}, error) {
	if _, ok := middleware.FromContext(ctx); !ok {
		return nil, huma.Error500InternalServerError("no guard")
	}
	return nil, nil
}

// guarded has each operation guarded before huma reads its parameters and its body.
func guarded(operations *openapi.Operations) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		r, w := humago.Unwrap(ctx)
		operations.Wrap(ctx.Operation().OperationID, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next(humago.NewContext(ctx.Operation(), r, w))
		})).ServeHTTP(w, r)
	}
}

// addAll adds the operations of the document. Those that it hides stay unknown, and
// closed.
func addAll(operations *openapi.Operations, doc *huma.OpenAPI) error {
	for _, item := range doc.Paths {
		for _, op := range []*huma.Operation{item.Get, item.Put, item.Post, item.Delete, item.Options, item.Head, item.Patch, item.Trace} {
			if op == nil {
				continue
			}
			security := op.Security
			if security == nil {
				security = doc.Security
			}
			if err := operations.Add(op.OperationID, security); err != nil {
				return err
			}
		}
	}
	return nil
}
