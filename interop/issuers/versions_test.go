package issuers_test

import (
	"encoding/json"
	"os"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheReadmeNamesTheVersions(t *testing.T) {
	page, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	text, err := os.ReadFile("../package.json")
	require.NoError(t, err)
	var npm struct{ Dependencies map[string]string }
	require.NoError(t, json.Unmarshal(text, &npm))
	require.NotEmpty(t, npm.Dependencies)
	for name, version := range npm.Dependencies {
		require.Contains(t, string(page), name+" "+version)
	}
	install, err := os.ReadFile("keycloak/install.sh")
	require.NoError(t, err)
	version := regexp.MustCompile(`(?m)^version=(.+)$`).FindSubmatch(install)
	require.NotNil(t, version)
	require.Contains(t, string(page), "Keycloak "+string(version[1]))
	for name, pin := range map[string]struct{ file, version string }{
		"Ory Hydra":   {"hydra/go.mod", `github.com/ory/hydra/v2 v(\S+)`},
		"Spring Boot": {"spring/pom.xml", `(?s)spring-boot-starter-parent</artifactId>\s*<version>(.+?)</version>`},
	} {
		text, err := os.ReadFile(pin.file)
		require.NoError(t, err)
		version := regexp.MustCompile(pin.version).FindSubmatch(text)
		require.NotNil(t, version, pin.file)
		require.Contains(t, string(page), name+" "+string(version[1]))
	}
}
