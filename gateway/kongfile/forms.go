package kongfile

import (
	"bytes"
	"errors"
	"io"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"go.yaml.in/yaml/v3"
)

// ReadAny is Read for the other forms too in which Kong's pages show a plugin: a
// Kubernetes manifest (KongPlugin, KongClusterPlugin), the body of a request to the
// Admin API or to Konnect, and Terraform resources. They say nothing of what a plugin
// is attached to here, so that they are for a look at the plugin, and not for a
// gateway: in the result, such a plugin is attached to everything.
func ReadAny(lookup func(string) (string, bool), sources ...Source) *File {
	return read(lookup, true, sources)
}

// forms returns the text as one or more declarative documents.
func (d *document) forms(text []byte) []*yaml.Node {
	if filepath.Ext(d.name) == ".tf" {
		return []*yaml.Node{d.terraform(text)}
	}
	var all []*yaml.Node
	for decoder := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var root yaml.Node
		if err := decoder.Decode(&root); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			d.add(1, "not YAML: %v", err)
			return nil
		}
		if len(root.Content) > 0 {
			all = append(all, d.declarative(root.Content[0]))
		}
	}
}

// declarative returns a document as a declarative file has it.
func (d *document) declarative(n *yaml.Node) *yaml.Node {
	m := make(map[string]*yaml.Node)
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		m[n.Content[i].Value] = n.Content[i+1]
	}
	switch {
	case m["apiVersion"] != nil && m["kind"] != nil:
		return d.manifest(n, m)
	case m["_format_version"] == nil && m["name"] != nil && m["config"] != nil:
		d.shellVariables(n)
		return topOf(n, "plugins", n)
	}
	return n
}

// manifest reads KongPlugin and KongClusterPlugin.
func (d *document) manifest(n *yaml.Node, m map[string]*yaml.Node) *yaml.Node {
	if kind := m["kind"].Value; kind != "KongPlugin" && kind != "KongClusterPlugin" {
		d.add(m["kind"].Line, "kind: %q is not supported; it can be KongPlugin, KongClusterPlugin", kind)
		return nil
	}
	d.shellVariables(n)
	plugin := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: n.Line}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch key.Value {
		case "apiVersion", "kind", "metadata":
		case "plugin":
			plugin.Content = append(plugin.Content, scalar("name", key.Line), value)
		case "disabled":
			enabled := strconv.FormatBool(value.Value != "true")
			plugin.Content = append(plugin.Content, scalar("enabled", key.Line), &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: enabled, Line: value.Line})
		case "configFrom", "configPatches":
			d.add(key.Line, "%s: a Secret of the cluster is not read; put the value into config, or a reference to the environment", key.Value)
		default:
			plugin.Content = append(plugin.Content, key, value)
		}
	}
	return topOf(n, "plugins", plugin)
}

var shellVariable = regexp.MustCompile(`^\$\{?([A-Z_][A-Z0-9_]*)\}?$`)

// shellVariables replaces $NAME, which Kong's pages leave to the shell.
func (d *document) shellVariables(n *yaml.Node) {
	if found := shellVariable.FindStringSubmatch(n.Value); n.Kind == yaml.ScalarNode && found != nil {
		*n = *d.env.variable(found[1], n.Line)
	}
	for _, inner := range n.Content {
		d.shellVariables(inner)
	}
}

// topOf is a declarative file with one list.
func topOf(n *yaml.Node, list string, items ...*yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: n.Line, Content: []*yaml.Node{
		scalar("_format_version", n.Line), {Kind: yaml.ScalarNode, Tag: "!!str", Value: "3.0", Line: n.Line},
		scalar(list, n.Line), {Kind: yaml.SequenceNode, Tag: "!!seq", Line: n.Line, Content: items},
	}}
}

func scalar(text string, line int) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: text, Line: line}
}

// resources are the Terraform resources that are read, by what they are of.
var resources = map[string]struct{ list, plugin string }{
	"gateway_plugin_openid_connect":         {"plugins", "openid-connect"},
	"gateway_plugin_tls_handshake_modifier": {"plugins", "tls-handshake-modifier"},
	"gateway_plugin_mtls_auth":              {"plugins", "mtls-auth"},
	"gateway_service":                       {"services", ""},
	"gateway_route":                         {"routes", ""},
	"gateway_ca_certificate":                {"ca_certificates", ""},
	"gateway_certificate":                   {"certificates", ""},
}

// terraform reads resources of the providers kong/konnect and kong/kong-gateway.
func (d *document) terraform(text []byte) *yaml.Node {
	file, problems := hclsyntax.ParseConfig(text, d.name, hcl.InitialPos)
	for _, problem := range problems {
		line := 1
		if problem.Subject != nil {
			line = problem.Subject.Start.Line
		}
		d.add(line, "not Terraform: %s", problem.Summary)
	}
	if problems.HasErrors() {
		return nil
	}
	top := topOf(&yaml.Node{Line: 1}, "plugins")
	lists := map[string]*yaml.Node{"plugins": top.Content[3]}
	for _, block := range file.Body.(*hclsyntax.Body).Blocks {
		if block.Type != "resource" || len(block.Labels) != 2 {
			continue // providers, variables, outputs
		}
		_, kind, _ := strings.Cut(block.Labels[0], "_")
		known, ok := resources[kind]
		if !ok {
			d.add(block.DefRange().Start.Line, "resource %q is not supported", block.Labels[0])
			continue
		}
		list := lists[known.list]
		if list == nil {
			list = &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Line: 1}
			lists[known.list] = list
			top.Content = append(top.Content, scalar(known.list, block.DefRange().Start.Line), list)
		}
		list.Content = append(list.Content, d.resource(block, known.plugin))
	}
	return top
}

func (d *document) resource(block *hclsyntax.Block, plugin string) *yaml.Node {
	line := block.DefRange().Start.Line
	n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: line}
	if plugin != "" {
		n.Content = append(n.Content, scalar("name", line), scalar(plugin, line))
	} else {
		n.Content = append(n.Content, scalar("id", line), scalar(block.Labels[1], line))
	}
	for _, name := range sortedByLine(block.Body.Attributes) {
		attribute := block.Body.Attributes[name]
		switch name {
		case "control_plane_id", "provider", "depends_on", "lifecycle":
			continue
		}
		n.Content = append(n.Content, scalar(name, attribute.SrcRange.Start.Line), d.expression(name, attribute.Expr))
	}
	return n
}

func sortedByLine(attributes hclsyntax.Attributes) (names []string) {
	for name := range attributes {
		at := attributes[name].SrcRange.Start.Byte
		i := 0
		for i < len(names) && attributes[names[i]].SrcRange.Start.Byte < at {
			i++
		}
		names = append(names[:i], append([]string{name}, names[i:]...)...)
	}
	return names
}

// expression reads a value. A variable is one of the environment, as Terraform itself
// has it: TF_VAR_name. A reference to another resource is its label.
func (d *document) expression(key string, e hclsyntax.Expression) *yaml.Node {
	line := e.Range().Start.Line
	switch e := e.(type) {
	case *hclsyntax.ObjectConsExpr:
		n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: line}
		for _, item := range e.Items {
			name := hcl.ExprAsKeyword(item.KeyExpr)
			if value, problems := item.KeyExpr.Value(nil); name == "" && !problems.HasErrors() && value.Type() == cty.String {
				name = value.AsString()
			}
			n.Content = append(n.Content, scalar(name, item.KeyExpr.Range().Start.Line), d.expression(name, item.ValueExpr))
		}
		return n
	case *hclsyntax.TupleConsExpr:
		n := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Line: line}
		for _, item := range e.Exprs {
			n.Content = append(n.Content, d.expression(key, item))
		}
		return n
	case *hclsyntax.TemplateWrapExpr:
		return d.expression(key, e.Wrapped)
	case *hclsyntax.ScopeTraversalExpr:
		if name, ok := variable(e); ok {
			return d.env.variable("TF_VAR_"+name, line)
		}
		if len(e.Traversal) > 1 {
			if label, ok := e.Traversal[1].(hcl.TraverseAttr); ok {
				return scalar(label.Name, line)
			}
		}
	}
	value, problems := e.Value(nil)
	if !problems.HasErrors() {
		return constant(value, line)
	}
	d.add(line, "%s: an expression that is not supported; it can be a constant or var.NAME", key)
	return scalar("unsupported", line)
}

func variable(e *hclsyntax.ScopeTraversalExpr) (name string, ok bool) {
	if len(e.Traversal) != 2 || e.Traversal.RootName() != "var" {
		return "", false
	}
	attribute, ok := e.Traversal[1].(hcl.TraverseAttr)
	return attribute.Name, ok
}

func constant(value cty.Value, line int) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Line: line, Tag: "!!null", Value: "null"}
	switch {
	case value.IsNull():
	case value.Type() == cty.String:
		n.Tag, n.Value, n.Style = "!!str", value.AsString(), yaml.DoubleQuotedStyle
	case value.Type() == cty.Bool:
		n.Tag, n.Value = "!!bool", strconv.FormatBool(value.True())
	case value.Type() == cty.Number:
		n.Tag, n.Value = "!!float", value.AsBigFloat().Text('f', -1)
	}
	return n
}

// variable is a scalar with the value of an environment variable.
func (e *environment) variable(name string, line int) *yaml.Node {
	e.lookup(name) // which notes that it is used
	mark := e.mark + strconv.Itoa(len(e.names)) + "e"
	e.names, e.refs = append(e.names, name), append(e.refs, `${{ env "`+name+`" }}`)
	return scalar(mark, line)
}
