// Command release makes a release of the root module and of every module beside
// it, without publishing anything: it writes the modules, as the tags will have
// them, into a directory that the go command takes as a module proxy.
//
//	go -C .ci/release run . -version v0.1.0 -proxy DIR         a proxy in DIR
//	go -C .ci/release run . -version v0.1.0 -proxy DIR -write  also the go.mod and go.sum files of the release commit
//	go -C .ci/release run . -version v0.1.0 -proxy DIR -sbom D also a bill of materials (CycloneDX, JSON) of each module in D
//
// During development each module finds the others by a replace directive. A tag
// must have none, because "go install MODULE@VERSION" refuses a module with one.
// So the release commit drops them and requires the versions that it is tagged
// with; the commit after it takes them back (git revert).
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	version := flag.String("version", "", "the version of every module, such as v0.1.0")
	proxy := flag.String("proxy", "", "the directory to write the modules to")
	write := flag.Bool("write", false, "also write go.mod and go.sum of the release commit into the tree")
	sbom := flag.String("sbom", "", "also write a bill of materials of each module into this directory")
	flag.Parse()
	if *version == "" || *proxy == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	r := release{tree: "../..", proxy: *proxy, version: *version}
	modules, err := r.make()
	if err == nil && *write {
		err = r.write(modules)
	}
	if err == nil && *sbom != "" {
		err = r.billsOfMaterials(modules, *sbom)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
	for _, m := range modules {
		fmt.Printf("git tag %s\n", m.tag(*version))
	}
}
