package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
)

// contender is one server of bench/servers.
type contender struct {
	name, title string
	command     []string
	env         []string
	file        string                 // that must exist to start it
	versions    func() (string, error) // of the library and its runtime
	bearerOnly  bool                   // it takes no proofs
	// stated is what the library's documentation says of an attack that it accepts as it
	// is set up here. An attack that some server accepts and this does not name has no
	// row in the table: the place for such a finding is a report to the library's owners.
	stated map[string]statement
}

type statement struct {
	// offered means that the library has the check and leaves it off by default.
	offered bool
	text    string
}

func contenders() []*contender {
	huskarl := map[string]statement{replayed: {true, "off by default: its guide to DPoP names `dpop_jti_checker`, which takes a store"}}
	return []*contender{
		{
			name: "keybound", title: "keybound",
			command: []string{".cache/keybound"}, file: ".cache/keybound",
			versions: func() (string, error) { return "this tree, " + runtime.Version(), nil },
		},
		{
			name: "auth0", title: "auth0/go-jwt-middleware",
			command: []string{".cache/auth0"}, file: ".cache/auth0", bearerOnly: true,
			versions: auth0Versions,
			stated:   map[string]statement{boundAsBearer: {false, "version 2 takes bearer tokens only; DPoP came with version 3, which is not compared here"}},
		},
		{
			name: "spring", title: "Spring Security",
			command: []string{"java", "-jar", ".cache/spring/spring-1.jar"}, file: ".cache/spring/spring-1.jar",
			versions: springVersions,
		},
		{
			name: "express", title: "express-oauth2-jwt-bearer",
			command: []string{"node", "servers/express/server.mjs"}, env: []string{"NODE_ENV=production"},
			file:     "servers/express/node_modules/express-oauth2-jwt-bearer/package.json",
			versions: npmVersions("express", "express-oauth2-jwt-bearer", "express"),
			stated:   map[string]statement{replayed: {false, "its EXAMPLES.md says so under \"DPoP jti Replay Prevention\", with a middleware to add"}},
		},
		{
			name: "oauth4webapi", title: "oauth4webapi",
			command: []string{"node", "servers/oauth4webapi/server.mjs"}, env: []string{"NODE_ENV=production"},
			file:     "servers/oauth4webapi/node_modules/oauth4webapi/package.json",
			versions: npmVersions("oauth4webapi", "oauth4webapi"),
			stated:   map[string]statement{replayed: {false, "`validateJwtAccessToken` keeps no state, and its options name no store"}},
		},
		{
			name: "huskarl", title: "huskarl, RustCrypto",
			command: []string{".cache/huskarl/release/huskarl-server"}, file: ".cache/huskarl/release/huskarl-server",
			versions: huskarlVersions("p256"),
			stated:   huskarl,
		},
		{
			name: "huskarl-aws-lc", title: "huskarl, AWS-LC",
			command: []string{".cache/huskarl/release/huskarl-server"}, file: ".cache/huskarl/release/huskarl-server",
			env:      []string{"CRYPTO=aws-lc"},
			versions: huskarlVersions("aws-lc-rs"),
			stated:   huskarl,
		},
	}
}

// kinds are those of the requests that it takes.
func (c *contender) kinds() []kind {
	if c.bearerOnly {
		return []kind{bare, bearer, newBearer}
	}
	return kinds
}

// attacks are those that say something about it.
func (c *contender) attacks() []attack {
	return slices.DeleteFunc(attacks(), func(a attack) bool { return a.dpop && c.bearerOnly })
}

// available says why a server cannot be started.
func (c *contender) available() error {
	if _, err := os.Stat(c.file); err != nil {
		return errors.New("it is not built (servers/build)")
	}
	_, err := exec.LookPath(c.command[0])
	return err
}

func auth0Versions() (string, error) {
	text, err := firstLine("go", "list", "-m", "-f", "{{.Path}} {{.Version}}", "github.com/auth0/go-jwt-middleware/v2")
	return text + ", " + runtime.Version(), err
}

var (
	bootVersion     = regexp.MustCompile(`<artifactId>spring-boot-starter-parent</artifactId>\s*<version>([^<]+)</version>`)
	securityVersion = regexp.MustCompile(`<spring-security.version>([^<]+)</spring-security.version>`)
)

func springVersions() (string, error) {
	pom, err := os.ReadFile("servers/spring/pom.xml")
	if err != nil {
		return "", err
	}
	boot, security := bootVersion.FindSubmatch(pom), securityVersion.FindSubmatch(pom)
	if boot == nil || security == nil {
		return "", errors.New("servers/spring/pom.xml has no versions")
	}
	java, err := firstLine("java", "-version")
	return fmt.Sprintf("spring-security %s, spring-boot %s, %s", security[1], boot[1], strings.ReplaceAll(java, `"`, "")), err
}

func npmVersions(dir string, packages ...string) func() (string, error) {
	return func() (string, error) {
		raw, err := os.ReadFile("servers/" + dir + "/package-lock.json")
		if err != nil {
			return "", err
		}
		var lock struct {
			Packages map[string]struct {
				Version string `json:"version"`
			} `json:"packages"`
		}
		if err := json.Unmarshal(raw, &lock); err != nil {
			return "", err
		}
		var text strings.Builder
		for _, p := range packages {
			version := lock.Packages["node_modules/"+p].Version
			if version == "" {
				return "", fmt.Errorf("package-lock.json of %s has no %s", dir, p)
			}
			fmt.Fprintf(&text, "%s %s, ", p, version)
		}
		node, err := firstLine("node", "--version")
		return text.String() + "node " + node, err
	}
}

// huskarlVersions are those of Cargo.lock; crypto is the crate that verifies ES256.
func huskarlVersions(crypto string) func() (string, error) {
	return func() (string, error) {
		lock, err := os.ReadFile("servers/huskarl/Cargo.lock")
		if err != nil {
			return "", err
		}
		var text strings.Builder
		for _, crate := range []string{"huskarl-resource-server", "huskarl-axum", crypto} {
			found := regexp.MustCompile(`name = "` + crate + `"\nversion = "([^"]+)"`).FindSubmatch(lock)
			if found == nil {
				return "", fmt.Errorf("there is no %s in Cargo.lock", crate)
			}
			fmt.Fprintf(&text, "%s %s, ", crate, found[1])
		}
		rust, err := firstLine("rustc", "--version")
		return text.String() + rust, err
	}
}

// firstLine is what a program says of its version, on either output.
func firstLine(program string, args ...string) (string, error) {
	out, err := exec.Command(program, args...).CombinedOutput()
	line, _, _ := strings.Cut(string(out), "\n")
	return line, err
}
