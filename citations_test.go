package middleware_test

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// maxCitations is how many declarations a row of docs/conformance.md names.
const maxCitations = 6

// citation is a declaration whose text cites a section.
type citation struct{ file, name string }

// cites maps a section, such as "9449 4.3", to the declarations that cite it.
type cites map[string][]citation

var (
	citedSections = regexp.MustCompile(`RFC (\d{4}), sections? ((?:\d[\d.]*\d|\d+)(?:(?:,| and|, and| to) \d[\d.]*)*)`)
	citedOIDC     = regexp.MustCompile(`OpenID Connect (Core|Discovery)[^,]*, sections? (\d[\d.]*)`)
	checkOfProof  = regexp.MustCompile(`Checks? (\d+)(?: and (\d+))?\b`)
	oneSection    = regexp.MustCompile(`\d+(?:\.\d+)*`)
	rowSections   = regexp.MustCompile(`(?:\b(\d{4})(?:bis)? )?§(\d+(?:\.\d+)*)(?:\((\d+)[ab]?\))?`)
	rowDiscovery  = regexp.MustCompile(`OIDC Disc §(\d+(?:\.\d+)*)`)
)

// citations reads the code of the rooms; fakes, tests and the modules beside the root
// enforce nothing.
func citations(t *testing.T) cites {
	t.Helper()
	found := make(cites)
	fset := token.NewFileSet()
	for name, text := range files(t, ".go") {
		if !enforces(name) {
			continue
		}
		file, err := parser.ParseFile(fset, name, text, parser.ParseComments)
		require.NoError(t, err)
		for _, comment := range file.Comments {
			owner := declarationAt(file, comment)
			if owner == "" {
				continue
			}
			found.add(comment.Text(), citation{name, owner})
		}
	}
	for _, all := range found {
		slices.SortFunc(all, func(a, b citation) int { return cmp.Or(cmp.Compare(a.file, b.file), cmp.Compare(a.name, b.name)) })
	}
	return found
}

func enforces(name string) bool {
	if strings.HasSuffix(name, "_test.go") || name == "doc.go" || strings.HasSuffix(name, "/doc.go") {
		return false
	}
	for _, other := range []string{"bench/", "cmd/", "connectguard/", "difftest/", "dpop/dpoptest/", "examples/", "extauthz/", "gateway/", "grpcguard/", "internal/corpus/", "internal/issuertest/", "internal/josetest/", "internal/mutate/", "internal/oracle/", "internal/producttest/", "interop/", "mcpguard/", "middlewaretest/", "mtlspop/mtlspoptest/", "oidc/oidctest/", "otelguard/", "promguard/", ".ci/"} {
		if strings.HasPrefix(name, other) {
			return false
		}
	}
	return true
}

func (c cites) add(text string, by citation) {
	text = strings.Join(strings.Fields(text), " ")
	put := func(section string) {
		if !slices.Contains(c[section], by) {
			c[section] = append(c[section], by)
		}
	}
	for _, m := range citedSections.FindAllStringSubmatch(text, -1) {
		for _, section := range oneSection.FindAllString(m[2], -1) {
			put(m[1] + " " + section)
		}
	}
	for _, m := range citedOIDC.FindAllStringSubmatch(text, -1) {
		put(m[1] + " " + strings.TrimSuffix(m[2], "."))
	}
	if by.file == "dpop/checks.go" || by.file == "dpop/verifier.go" { // which are the items of RFC 9449, section 4.3
		for _, m := range checkOfProof.FindAllStringSubmatch(text, -1) {
			put("9449 4.3/" + m[1])
			if m[2] != "" {
				put("9449 4.3/" + m[2])
			}
		}
	}
}

// of is the cell of a row: the declarations that cite one of its sections. section is the
// row's own cell.
func (c cites) of(id, section string) string {
	var found []citation
	take := func(key string) {
		for _, one := range c[key] {
			if !slices.Contains(found, one) {
				found = append(found, one)
			}
		}
	}
	rfc := map[string]string{"DPOP": "9449", "MTLS": "8705", "CC": "9440", "CLI": "9449"}[id[:strings.IndexByte(id, '-')]]
	for _, m := range rowDiscovery.FindAllStringSubmatch(section, -1) {
		take("Discovery " + m[1])
	}
	for _, m := range rowSections.FindAllStringSubmatch(rowDiscovery.ReplaceAllString(section, ""), -1) {
		if m[1] != "" {
			rfc = m[1]
		}
		if m[3] != "" {
			take(rfc + " " + m[2] + "/" + m[3])
		} else {
			take(rfc + " " + m[2])
		}
	}
	if len(found) == 0 {
		return "-"
	}
	var cells []string
	for _, one := range found[:min(len(found), maxCitations)] {
		cells = append(cells, fmt.Sprintf("[%s](../%s)", strings.TrimPrefix(path.Dir(one.file)+"."+one.name, ".."), one.file))
	}
	if len(found) > maxCitations {
		cells = append(cells, fmt.Sprintf("and %d more", len(found)-maxCitations))
	}
	return strings.Join(cells, ", ")
}

// declarationAt is the name of the declaration that a comment stands in or before.
func declarationAt(file *ast.File, comment *ast.CommentGroup) string {
	for _, d := range file.Decls {
		from := d.Pos()
		if doc := docOf(d); doc != nil {
			from = doc.Pos()
		}
		if comment.Pos() < from || comment.Pos() > d.End() {
			continue
		}
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil {
				return d.Name.Name
			}
			return receiver(d.Recv.List[0].Type) + "." + d.Name.Name
		case *ast.GenDecl:
			return specAt(d, comment)
		}
	}
	return ""
}

// specAt is the name of the constant, variable or type that a comment belongs to: the one
// that it precedes or stands in, and the first for the comment of the whole group.
func specAt(d *ast.GenDecl, comment *ast.CommentGroup) string {
	for _, s := range d.Specs {
		if comment.Pos() > s.End() && !(s.End() < comment.Pos() && sameEnd(s, comment)) {
			continue
		}
		switch s := s.(type) {
		case *ast.ValueSpec:
			if s.Names[0].Name == "_" {
				continue // a group that starts at 1: its comment belongs to the next name
			}
			return s.Names[0].Name
		case *ast.TypeSpec:
			return s.Name.Name
		}
	}
	return ""
}

// sameEnd reports whether the comment stands behind the spec on its line.
func sameEnd(s ast.Spec, comment *ast.CommentGroup) bool {
	v, ok := s.(*ast.ValueSpec)
	return ok && v.Comment == comment
}

// receiver is the name of the type of a receiver, without pointer and type parameters.
func receiver(of ast.Expr) string {
	switch of := of.(type) {
	case *ast.StarExpr:
		return receiver(of.X)
	case *ast.IndexExpr:
		return receiver(of.X)
	case *ast.IndexListExpr:
		return receiver(of.X)
	case *ast.Ident:
		return of.Name
	}
	return "?"
}

func docOf(d ast.Decl) *ast.CommentGroup {
	switch d := d.(type) {
	case *ast.FuncDecl:
		return d.Doc
	case *ast.GenDecl:
		return d.Doc
	}
	return nil
}
