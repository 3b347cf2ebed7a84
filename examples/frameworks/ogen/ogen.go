// Package ogen guards a service that ogen has made of a document, by the security of the
// document.
package ogen

import (
	"context"
	_ "embed"
	"errors"
	"net/http"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/examples/frameworks/document"
	"github.com/keybound-go/middleware/examples/frameworks/ogen/api"
	"github.com/keybound-go/middleware/openapi"
)

//go:generate ogen --target api --package api --clean ../api.yaml

// New returns the service. The guard has ForwardBearer: the generated code looks for a
// token under Bearer alone.
func New(guard *middleware.Guard, yaml []byte) (http.Handler, error) {
	doc, err := openapi3.NewLoader().LoadFromData(yaml)
	if err != nil {
		return nil, err
	}
	operations := openapi.New(guard, "oauth2")
	err = document.AddAll(operations, doc, func(_, _ string, op *openapi3.Operation) string { return op.OperationID })
	if err != nil {
		return nil, err
	}
	server, err := api.NewServer(orders{}, security{})
	return guarded(operations, server), err
}

// guarded has each operation guarded before the generated code reads anything.
func guarded(operations *openapi.Operations, server *api.Server) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if route, ok := server.FindPath(r.Method, r.URL); ok {
			operations.Wrap(route.OperationID(), server).ServeHTTP(w, r)
			return
		}
		server.ServeHTTP(w, r) // 404 or 405
	})
}

// security is what the generated code asks about each operation with security. It sees
// no request, so that it cannot check a proof: it makes sure that a guard has.
type security struct{}

func (security) HandleOAuth2(ctx context.Context, _ api.OperationName, _ api.OAuth2) (context.Context, error) {
	if _, ok := middleware.FromContext(ctx); !ok {
		return ctx, errors.New("no guard has let this request pass")
	}
	return ctx, nil
}

type orders struct{}

func (orders) GetHealth(context.Context) error                          { return nil }
func (orders) ListOrders(context.Context) error                         { return nil }
func (orders) CreateOrder(context.Context) error                        { return nil }
func (orders) GetOrder(context.Context, api.GetOrderParams) error       { return nil }
func (orders) DeleteOrder(context.Context, api.DeleteOrderParams) error { return nil }
