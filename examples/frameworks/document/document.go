// Package document reads the security of an OpenAPI document.
package document

import (
	"errors"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/keybound-go/middleware/openapi"
)

// AddAll adds each operation of a document, under what name makes of it.
func AddAll(operations *openapi.Operations, doc *openapi3.T, name func(method, path string, op *openapi3.Operation) string) error {
	var problems []error
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			security := doc.Security
			if op.Security != nil {
				security = *op.Security
			}
			var requirements []map[string][]string
			for _, r := range security {
				requirements = append(requirements, r)
			}
			problems = append(problems, operations.Add(name(method, path, op), requirements))
		}
	}
	return errors.Join(problems...)
}
