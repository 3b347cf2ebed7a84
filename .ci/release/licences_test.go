package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "write the table of docs/dependencies.md anew")

// TestTheLicencesOfWhatIsLinked holds docs/dependencies.md against the licence texts of
// the modules that the published modules link.
func TestTheLicencesOfWhatIsLinked(t *testing.T) {
	all, err := dependencies("../..")
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 5 {
		t.Fatalf("only %d modules found", len(all))
	}
	table, err := licenceTable(all)
	if err != nil {
		t.Fatal(err)
	}
	const file = "../../docs/dependencies.md"
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want, err := between(page, table)
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case bytes.Equal(page, want):
	case *update:
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("docs/dependencies.md is not what is linked; go -C .ci/release test -run Licences -update .\n%s", table)
	}
}

func TestAnUnknownLicenceIsRefused(t *testing.T) {
	dir := t.TempDir()
	for text, want := range map[string]string{
		"All rights reserved.": "",
		"Permission is hereby granted, free of charge, to any\nperson": "MIT-0",
		"Apache License\nVersion 2.0":                                  "Apache-2.0",
	} {
		if err := os.WriteFile(filepath.Join(dir, "LICENSE"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := dependency{path: "example.org/m", dir: dir}.licence()
		if got != want || (err != nil) != (want == "") {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
}
