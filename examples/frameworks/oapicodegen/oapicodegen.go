// Package oapicodegen guards a service that oapi-codegen has made of a document, by the
// security of the document.
package oapicodegen

import (
	"net/http"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/examples/frameworks/document"
	"github.com/keybound-go/middleware/examples/frameworks/oapicodegen/api"
	"github.com/keybound-go/middleware/openapi"
)

//go:generate oapi-codegen -config api/config.yaml -o api/api.gen.go ../api.yaml

// New returns the service.
func New(guard *middleware.Guard) (http.Handler, error) {
	doc, err := api.GetSpec()
	if err != nil {
		return nil, err
	}
	operations := openapi.New(guard, "oauth2")
	err = document.AddAll(operations, doc, func(method, path string, _ *openapi3.Operation) string {
		return method + " " + path // as the generated code names it to the mux
	})
	mux := http.NewServeMux()
	api.HandlerFromMux(orders{}, mux)
	return guarded(operations, mux), err
}

// guarded has each operation guarded before the generated code reads its parameters.
func guarded(operations *openapi.Operations, mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := mux.Handler(r); pattern != "" {
			operations.Wrap(pattern, mux).ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r) // 404 or 405
	})
}

type orders struct{}

func (orders) GetHealth(w http.ResponseWriter, _ *http.Request)           { w.WriteHeader(204) }
func (orders) ListOrders(w http.ResponseWriter, r *http.Request)          { answer(w, r) }
func (orders) CreateOrder(w http.ResponseWriter, r *http.Request)         { answer(w, r) }
func (orders) GetOrder(w http.ResponseWriter, r *http.Request, _ int)     { answer(w, r) }
func (orders) DeleteOrder(w http.ResponseWriter, r *http.Request, id int) { answer(w, r) }

func answer(w http.ResponseWriter, r *http.Request) {
	credential, _ := middleware.FromContext(r.Context())
	w.Header().Set("X-Subject", credential.Token.Subject)
	w.WriteHeader(204)
}
