package rulestest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/stretchr/testify/require"
)

var draw = flag.Bool("draw", false, "draw the picture of the dashboard's panels anew, with a headless Chromium")

const (
	picture    = "../../docs/dashboard.png"
	pictureSum = "picture.sum" // of what the picture is drawn from
	maxPicture = 200 << 10     // bytes
)

// sumOfSources changes when the picture must be drawn anew.
func sumOfSources(t *testing.T) string {
	h := sha256.New()
	for _, name := range []string{"../dashboard.json", "../alerts_test.yml", "panels.html"} {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		h.Write(text)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// TestThePictureIsOfTheseRules holds docs/dashboard.png against what it was drawn from.
func TestThePictureIsOfTheseRules(t *testing.T) {
	if *draw {
		drawPicture(t)
		require.NoError(t, os.WriteFile(pictureSum, []byte(sumOfSources(t)+"\n"), 0o644))
	}
	sum, err := os.ReadFile(pictureSum)
	require.NoError(t, err)
	require.Equal(t, sumOfSources(t)+"\n", string(sum), "run: go test -run Picture -draw .")
	png, err := os.ReadFile(picture)
	require.NoError(t, err)
	require.True(t, bytes.HasPrefix(png, []byte("\x89PNG")))
	require.Less(t, len(png), maxPicture)
}

type line struct {
	Name   string       `json:"name"`
	Points [][2]float64 `json:"points"` // seconds, value
}

type panel struct {
	Title   string `json:"title"`
	Unit    string `json:"unit"`
	X       int    `json:"x"`
	W       int    `json:"w"`
	Stacked bool   `json:"stacked"`
	Lines   []line `json:"lines"`
}

// panels are what Grafana would show of the first test's data.
func panels(t *testing.T) (all []panel) {
	test := loadTests(t).Tests[0]
	store, engine := test.load(t)
	for _, p := range loadDashboard(t).Panels {
		d := p.FieldConfig.Defaults
		one := panel{Title: p.Title, Unit: d.Unit, X: p.GridPos.X, W: p.GridPos.W, Stacked: d.Custom.Stacking.Mode == "normal"}
		for _, target := range p.Targets {
			for _, series := range queryRange(t, engine, store, target.Expr) {
				l := line{Name: legend(target.Legend, series.Metric)}
				for _, point := range series.Floats {
					if !math.IsNaN(point.F) && !math.IsInf(point.F, 0) {
						l.Points = append(l.Points, [2]float64{float64(point.T) / 1000, point.F})
					}
				}
				one.Lines = append(one.Lines, l)
			}
		}
		all = append(all, one)
	}
	return all
}

var variable = regexp.MustCompile(`\{\{(\w+)\}\}`)

func legend(format string, metric labels.Labels) string {
	return variable.ReplaceAllStringFunc(format, func(v string) string { return metric.Get(v[2 : len(v)-2]) })
}

func drawPicture(t *testing.T) {
	page, err := os.ReadFile("panels.html")
	require.NoError(t, err)
	data, err := json.Marshal(panels(t))
	require.NoError(t, err)
	dir := t.TempDir()
	file := filepath.Join(dir, "panels.html")
	require.NoError(t, os.WriteFile(file, bytes.Replace(page, []byte("DATA"), data, 1), 0o600))
	out, err := filepath.Abs(picture)
	require.NoError(t, err)
	var browser string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if browser, err = exec.LookPath(name); err == nil {
			break
		}
	}
	require.NoError(t, err, "there is no Chromium: apt-get install chromium")
	cmd := exec.CommandContext(t.Context(), browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
		"--user-data-dir="+filepath.Join(dir, "profile"), "--window-size=1200,800", "--virtual-time-budget=3000", "--screenshot="+out, "file://"+file)
	cmd.WaitDelay = 10 * time.Second
	text, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", text)
}
