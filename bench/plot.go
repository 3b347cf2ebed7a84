package bench

import (
	"fmt"
	"html"
	"math"
	"strconv"
	"strings"
)

// Table is one of the tables of README.md: numbers, by row and column.
type Table struct {
	Columns []string
	Rows    []TableRow
}

// TableRow is a name and its numbers.
type TableRow struct {
	Name   string
	Values []float64
}

// ReadTable reads the table behind the line title of a page.
func ReadTable(page, title string) (Table, error) {
	_, rest, ok := strings.Cut(page, "\n"+title+"\n")
	if !ok {
		return Table{}, fmt.Errorf("bench: no table %q", title)
	}
	var t Table
	for line := range strings.Lines(strings.TrimLeft(rest, "\n")) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		switch {
		case !strings.HasPrefix(line, "|"):
			return t, nil
		case t.Columns == nil:
			for _, cell := range cells[1:] {
				t.Columns = append(t.Columns, strings.TrimSpace(cell))
			}
		case strings.HasPrefix(cells[0], "---"):
		default:
			row := TableRow{Name: strings.TrimSpace(cells[0])}
			for _, cell := range cells[1:] {
				v, err := strconv.ParseFloat(strings.TrimSpace(cell), 64)
				if err != nil {
					return t, fmt.Errorf("bench: table %q, row %s: %w", title, row.Name, err)
				}
				row.Values = append(row.Values, v)
			}
			t.Rows = append(t.Rows, row)
		}
	}
	return t, nil
}

// The measures of a plot, in pixels.
const (
	plotLabels = 230 // width of the names of the rows
	plotBars   = 430 // width of the longest bar
	barHeight  = 12
	rowGap     = 12
)

var plotColours = []string{"#1f6feb", "#8c959f", "#bf8700", "#8250df", "#1a7f37"}

// Plot draws a table as horizontal bars, as SVG. The same table gives the same bytes.
func Plot(title, caption string, t Table) string {
	longest := 0.0
	for _, row := range t.Rows {
		for _, v := range row.Values {
			longest = math.Max(longest, v)
		}
	}
	scale := plotBars / math.Max(longest, 1)
	top := 52 + 18*((len(t.Columns)+1)/2)
	height := top + len(t.Rows)*(len(t.Columns)*barHeight+rowGap) + 16
	width := plotLabels + plotBars + 70
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12" role="img" aria-label="%s">`+"\n", width, height, width, height, html.EscapeString(title))
	b.WriteString(`<rect width="100%" height="100%" fill="#ffffff"/>` + "\n")
	fmt.Fprintf(&b, `<text x="12" y="22" font-size="15" font-weight="bold">%s</text>`+"\n", html.EscapeString(title))
	fmt.Fprintf(&b, `<text x="12" y="40" fill="#57606a">%s</text>`+"\n", html.EscapeString(caption))
	if len(t.Columns) > 1 {
		for i, column := range t.Columns {
			x, y := 12+(i%2)*300, 56+18*(i/2)
			fmt.Fprintf(&b, `<rect x="%d" y="%d" width="10" height="10" fill="%s"/><text x="%d" y="%d">%s</text>`+"\n", x, y, plotColours[i%len(plotColours)], x+16, y+9, html.EscapeString(column))
		}
	}
	// The line of one raw verification.
	one := plotLabels + int(scale)
	fmt.Fprintf(&b, `<line x1="%d" y1="%d" x2="%d" y2="%d" stroke="#d0d7de" stroke-dasharray="3 3"/>`+"\n", one, top-4, one, height-12)
	y := top
	for _, row := range t.Rows {
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", plotLabels-8, y+len(row.Values)*barHeight/2+4, html.EscapeString(row.Name))
		for i, v := range row.Values {
			length := math.Max(1, v*scale)
			fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`, plotLabels, y, length, barHeight-2, plotColours[i%len(plotColours)])
			fmt.Fprintf(&b, `<text x="%.1f" y="%d" font-size="10" fill="#57606a">%.2f</text>`+"\n", float64(plotLabels)+length+4, y+barHeight-3, v)
			y += barHeight
		}
		y += rowGap
	}
	b.WriteString("</svg>\n")
	return b.String()
}
