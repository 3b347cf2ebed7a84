package bench

import (
	"fmt"
	"os"
	"strings"
)

// Section replaces the part of a Markdown file between the comments
// "<!-- name -->" and "<!-- end of name -->".
func Section(file, name, text string) error {
	old, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	begin, end := "<!-- "+name+" -->\n", "<!-- end of "+name+" -->"
	before, rest, ok1 := strings.Cut(string(old), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		return fmt.Errorf("bench: %s has no section %q", file, name)
	}
	return os.WriteFile(file, []byte(before+begin+text+end+after), 0o644)
}
