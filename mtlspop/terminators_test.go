package mtlspop_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTheTerminatorsPageQuotesWhatRuns holds the page for operators against
// the configurations that are run against real servers.
func TestTheTerminatorsPageQuotesWhatRuns(t *testing.T) {
	page, err := os.ReadFile("../docs/terminators.md")
	require.NoError(t, err)
	quote := regexp.MustCompile("(?s)`([A-Za-z.]+)`:\n\n```[a-z]+\n(.*?)```")
	quotes := quote.FindAllStringSubmatch(string(page), -1)
	require.Len(t, quotes, 4)
	for _, q := range quotes {
		t.Run(q[1], func(t *testing.T) {
			file, err := os.ReadFile(filepath.Join("../interop/terminators", q[1]))
			if os.IsNotExist(err) {
				t.Skip("the configurations are not in this tree")
			}
			require.NoError(t, err)
			for line := range strings.Lines(q[2]) {
				require.Contains(t, string(file), line)
			}
		})
	}
}

// TestTheTerminatorsPageNamesEveryFormat fails when a format is added that no
// operator is told about.
func TestTheTerminatorsPageNamesEveryFormat(t *testing.T) {
	page, err := os.ReadFile("../docs/terminators.md")
	require.NoError(t, err)
	for _, name := range []string{"RFC9440", "PEM", "DER", "PEMChain", "DERChain", "ThumbprintHex", "XFCC(1)", "XFCC(2)", "XFCCThumbprint(1)"} {
		require.Contains(t, string(page), "mtlspop."+name)
	}
}
