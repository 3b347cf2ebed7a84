package revocation

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net/http"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

type sized struct {
	id      int
	size    int64
	expires time.Time
}

func (s sized) until() time.Time { return s.expires }
func (s sized) cost() int64      { return s.size }

func load(v sized) func(context.Context) (sized, error) {
	return func(context.Context) (sized, error) { return v, nil }
}

// invariants holds the memo against what its type promises.
func (m *memo[K, V]) invariants(t *testing.T) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	var spent int64
	for _, e := range m.entries {
		spent += e.Value.(*entry[K, V]).value.cost()
	}
	require.Equal(t, spent, m.spent)
	require.LessOrEqual(t, m.spent, m.capacity)
	require.Equal(t, len(m.entries), m.recent.Len())
	require.Empty(t, m.flights)
}

func TestAFloodKeepsTheMemoBounded(t *testing.T) {
	m := newMemo[int, sized](100)
	later := time.Now().Add(time.Hour)
	for i := range 10_000 {
		_, err := m.get(t.Context(), i, load(sized{i, int64(i%7 + 1), later}))
		require.NoError(t, err)
	}
	m.invariants(t)
	require.Greater(t, m.spent, int64(90))
}

func TestWhatIsUsedStays(t *testing.T) {
	m := newMemo[int, sized](10)
	later := time.Now().Add(time.Hour)
	for i := range 100 {
		_, err := m.get(t.Context(), i, load(sized{i, 1, later}))
		require.NoError(t, err)
		kept, err := m.get(t.Context(), 0, func(context.Context) (sized, error) { return sized{}, errors.New("forgotten") })
		require.NoError(t, err)
		require.Zero(t, kept.id)
	}
	m.invariants(t)
}

func TestAnErrorIsForgotten(t *testing.T) {
	m := newMemo[int, sized](10)
	down := errors.New("down")
	_, err := m.get(t.Context(), 1, func(context.Context) (sized, error) { return sized{}, down })
	require.Equal(t, down, err)
	require.Empty(t, m.entries)
	got, err := m.get(t.Context(), 1, load(sized{7, 1, time.Now().Add(time.Hour)}))
	require.NoError(t, err)
	require.Equal(t, 7, got.id)
	m.invariants(t)
}

func TestAValueThatHasExpiredIsLoadedAgainAndCanBePeekedAt(t *testing.T) {
	m := newMemo[int, sized](10)
	for i := range 3 {
		got, err := m.get(t.Context(), 1, load(sized{i, 5, time.Now()}))
		require.NoError(t, err)
		require.Equal(t, i, got.id)
		held, ok := m.peek(1)
		require.True(t, ok)
		require.Equal(t, i, held.id)
	}
	m.invariants(t)
}

func TestAValueThatIsTooLargeIsNotKept(t *testing.T) {
	m := newMemo[int, sized](10)
	_, err := m.get(t.Context(), 1, load(sized{1, 11, time.Now().Add(time.Hour)}))
	require.NoError(t, err)
	require.Empty(t, m.entries)
	m.invariants(t)
}

func TestHostsAreForgottenAfterTheLastFetch(t *testing.T) {
	s := slots{hosts: make(map[string]*queue)}
	var releases []func()
	for range maxPerHost {
		release, err := s.take(t.Context(), "a")
		require.NoError(t, err)
		releases = append(releases, release)
	}
	done, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.take(done, "a")
	require.ErrorIs(t, err, context.Canceled)
	_, err = s.take(t.Context(), "b")
	require.NoError(t, err)
	releases[0]()
	soon, cancelSoon := context.WithTimeout(t.Context(), time.Second)
	defer cancelSoon()
	releases[0], err = s.take(soon, "a")
	require.NoError(t, err, "a turn that was given back")
	for _, release := range releases {
		release()
	}
	require.Len(t, s.hosts, 1)
	require.Contains(t, s.hosts, "b")
}

// sends is a transport that sends der.
type sends struct{ der []byte }

func (s *sends) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(bytes.NewReader(s.der))}, nil
}

func TestAListThatHasNotChangedIsNotParsedAgain(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCRLSign, SubjectKeyId: []byte{1}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	ca, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	newList := func(number int64) []byte {
		list, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
			Number: big.NewInt(number), ThisUpdate: time.Now(), NextUpdate: time.Now().Add(time.Hour),
		}, ca, key)
		require.NoError(t, err)
		return list
	}

	server := &sends{newList(1)}
	c, err := New(WithAnswerLifetime(time.Nanosecond), WithHTTPClient(&http.Client{Transport: server}))
	require.NoError(t, err)
	at := sourceKey{url: "http://127.0.0.1/"}
	fetch := func() uintptr {
		list, err := c.lists.get(t.Context(), at, func(ctx context.Context) (*crl, error) { return c.fetchList(ctx, at, ca) })
		require.NoError(t, err)
		return reflect.ValueOf(list.revoked).Pointer()
	}
	first := fetch()
	require.Equal(t, first, fetch())
	server.der = newList(2)
	second := fetch()
	require.NotEqual(t, first, second)
	require.Equal(t, second, fetch())
	server.der = newList(1)
	require.Equal(t, second, fetch(), "an older list")
	server.der = nil
	_, err = c.fetchList(t.Context(), at, ca)
	require.Error(t, err)
}

func TestLocalAddresses(t *testing.T) {
	for address, local := range map[string]bool{
		"127.0.0.1": true, "127.255.0.9": true, "[::1]": true, "[::ffff:127.0.0.1]": true, "0.0.0.0": true, "[::]": true,
		"169.254.169.254": true, "[fe80::1]": true, "[fe80::1%1]": true, "[::ffff:169.254.169.254]": true, "224.0.0.1": true, "[ff02::1]": true,
		"[64:ff9b::7f00:1]": true, "[64:ff9b::a9fe:a9fe]": true, "[64:ff9b::808:808]": false,
		"100.100.100.200": true, "168.63.129.16": true, "192.0.0.192": true, "[fd00:ec2::254]": true,
		"10.0.0.1": false, "192.168.1.1": false, "[fd00::1]": false, "93.184.216.34": false, "[2001:db8::1]": false,
	} {
		require.Equal(t, local, refuseLocal("tcp", address+":80", nil) != nil, address)
	}
}

func TestFailuresAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newFailures[int]()
		for i := range 3 * maxFailures {
			m.note(i, errors.New("down"), firstPause)
			require.LessOrEqual(t, len(m.entries), maxFailures)
			_, inForce := m.last(i)
			require.True(t, inForce)
		}
		time.Sleep(2 * firstPause)
		m.note(-1, errors.New("down"), firstPause)
		require.Less(t, len(m.entries), maxFailures-20, "what is over makes room first")
		m.clear(-1)
		_, inForce := m.last(-1)
		require.False(t, inForce)
	})
}

func TestARowOfFailuresEndsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newFailures[int]()
		for _, want := range []time.Duration{5, 10, 20, 30, 30} {
			m.note(1, errors.New("down"), firstPause)
			f, _ := m.last(1)
			require.Equal(t, want*time.Second, time.Until(f.until))
			time.Sleep(f.pause)
		}
		time.Sleep(maxPause)
		m.note(1, errors.New("down"), firstPause)
		f, _ := m.last(1)
		require.Equal(t, firstPause, time.Until(f.until))
	})
}
