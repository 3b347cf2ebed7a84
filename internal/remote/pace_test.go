package remote_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// JWKS-07: the lifetime that the server states, within the bounds.
func TestLifetime(t *testing.T) {
	date := "Sat, 01 Jan 2000 00:00:00 GMT" // synctest's epoch
	for _, tt := range []struct {
		name   string
		header []string
		want   time.Duration
	}{
		{"JWKS-07 max-age is honoured", []string{"Cache-Control", "public, max-age=1200, must-revalidate"}, 20 * time.Minute},
		{"JWKS-07 max-age under the least interval", []string{"Cache-Control", "max-age=1"}, 5 * time.Minute},
		{"JWKS-07 max-age over the most interval", []string{"Cache-Control", "max-age=86400"}, time.Hour},
		{"JWKS-07 max-age beyond any number", []string{"Cache-Control", "max-age=99999999999999999999999"}, time.Hour},
		{"JWKS-07 negative max-age is none", []string{"Cache-Control", "max-age=-5"}, 15 * time.Minute},
		{"JWKS-07 name in capitals, value quoted", []string{"Cache-Control", `Max-Age="1200"`}, 20 * time.Minute},
		{"JWKS-07 no-store asks as often as allowed", []string{"Cache-Control", "no-store, max-age=1200"}, 5 * time.Minute},
		{"JWKS-07 no-cache in a second field", []string{"Cache-Control", "max-age=1200", "Cache-Control", "no-cache"}, 5 * time.Minute},
		{"JWKS-07 the first max-age counts", []string{"Cache-Control", "max-age=1200, max-age=2400"}, 20 * time.Minute},
		{"JWKS-07 Age is subtracted", []string{"Cache-Control", "max-age=1800", "Age", "600"}, 20 * time.Minute},
		{"JWKS-07 Expires less Date", []string{"Date", "Mon, 05 May 2025 10:00:00 GMT", "Expires", "Mon, 05 May 2025 10:25:00 GMT"}, 25 * time.Minute},
		{"JWKS-07 Expires without Date", []string{"Expires", "Sat, 01 Jan 2000 00:30:00 GMT"}, 30 * time.Minute},
		{"JWKS-07 Expires in the past", []string{"Date", date, "Expires", "Fri, 31 Dec 1999 00:30:00 GMT"}, 5 * time.Minute},
		{"JWKS-07 Expires 0 is no date", []string{"Expires", "0"}, 15 * time.Minute},
		{"JWKS-07 max-age goes before Expires", []string{"Cache-Control", "max-age=1200", "Expires", "Sat, 01 Jan 2000 00:30:00 GMT"}, 20 * time.Minute},
		{"JWKS-07 nothing stated", nil, 15 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, s := start(t, nil)
				s.set(says("one", tt.header...))
				get(t, r)
				st := r.Status()
				require.Equal(t, tt.want, st.NextRefresh.Sub(st.FetchedAt))
				time.Sleep(tt.want - grain)
				require.Equal(t, 1, s.count())
				time.Sleep(2 * grain)
				require.Equal(t, 2, s.count())
			})
		})
	}
}
