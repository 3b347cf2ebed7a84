package options_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keybound-go/middleware/internal/options"
)

func TestAllProblemsAreReportedInOneWording(t *testing.T) {
	s := options.For("room")
	require.NoError(t, s.Err())

	require.True(t, s.Once("WithA"))
	require.False(t, s.Once("WithA"))
	require.False(t, options.Part[io.Reader](s, "WithB", nil, nil))
	require.False(t, options.Part[io.Reader](s, "WithC", (*strings.Reader)(nil), nil))
	require.False(t, options.Part[io.Reader](s, "WithD", nil, errors.New("other: no key")))
	require.True(t, options.Value(s, "WithE", func() {}))
	s.Problem("WithF: %d is too much", 7)
	s.Join(nil)
	s.Join(errors.New("third: is joined as it stands"))

	require.EqualError(t, s.Err(), strings.Join([]string{
		"room: WithA is given twice",
		"room: WithB: nil",
		"room: WithC: nil",
		"room: WithD: other: no key",
		"room: WithF: 7 is too much",
		"third: is joined as it stands",
	}, "\n"))
	require.True(t, s.Given("WithD"))
	require.False(t, s.Given("WithZ"))
}

func TestANilOptionIsAProblem(t *testing.T) {
	type option func(*int)
	s, n := options.For("room"), 0
	options.Each(s, []option{func(n *int) { *n++ }, nil, func(n *int) { *n++ }}, func(o option) { o(&n) })
	require.Equal(t, 2, n)
	require.EqualError(t, s.Err(), "room: option 2 is nil")
}
