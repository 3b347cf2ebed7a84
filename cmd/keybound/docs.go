package main

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func newDocs(s *streams) *cobra.Command {
	return &cobra.Command{
		Use:    "docs",
		Short:  "Print the reference page in Markdown",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			s.out.Printf("%s", reference(c.Root()))
			return nil
		},
	}
}

// reference is docs/keybound.md: what --help says, of every command.
func reference(root *cobra.Command) string {
	var b bytes.Buffer
	b.WriteString("# keybound\n\n<!-- Written by: go -C cmd/keybound run . docs > docs/keybound.md -->\n\n")
	b.WriteString("    go install github.com/keybound-go/middleware/cmd/keybound@latest\n\n")
	b.WriteString(fence(root.Long))
	for _, c := range root.Commands() {
		if c.Hidden || c.Name() == "help" || c.Name() == "completion" {
			continue
		}
		fmt.Fprintf(&b, "## keybound %s\n\n%s.\n\n%s", c.Use, c.Short, fence(c.Long))
		if c.Example != "" {
			b.WriteString("```sh\n" + unindent(c.Example) + "\n```\n\n")
		}
		b.WriteString("| flag | meaning |\n|---|---|\n")
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Hidden || f.Name == "help" {
				return
			}
			name := "`--" + f.Name + "`"
			if f.Shorthand != "" {
				name = "`-" + f.Shorthand + "`, " + name
			}
			kind, usage := pflag.UnquoteUsage(f)
			if kind != "" {
				name += " " + kind
			}
			if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "[]" && f.DefValue != "0s" && f.DefValue != "0" {
				usage += " (default " + f.DefValue + ")"
			}
			fmt.Fprintf(&b, "| %s | %s |\n", name, strings.ReplaceAll(usage, "|", `\|`))
		})
		b.WriteString("\n")
	}
	b.WriteString("## Shell completion\n\n`keybound completion bash`, `zsh`, `fish` or `powershell` prints a script to source; `--help` of each says where it goes.\n")
	return b.String()
}

// fence shows help text as it is laid out.
func fence(text string) string { return "```text\n" + text + "\n```\n\n" }

func unindent(text string) string {
	return strings.TrimPrefix(strings.ReplaceAll(text, "\n  ", "\n"), "  ")
}
