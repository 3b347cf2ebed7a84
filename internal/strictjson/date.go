package strictjson

import (
	"errors"
	"math"
	"strconv"
	"time"
)

// NumericDate is RFC 7519's date: the seconds since the epoch, as a JSON
// number that may have a fraction or an exponent. A string, a boolean, null,
// and a date outside the years 1 to 9999 are refused, and so is the first second
// of year 1: its beginning is the zero Time, which says that there is no date.
//
// The zero value is an absent date, which is not the date 0. [Object.Date] sets one.
type NumericDate struct {
	seconds int64
	nanos   int32
	present bool
}

// The seconds that are dates: all that RFC 3339 can write down, except the first.
const (
	firstSecond = -62135596799
	lastSecond  = 253402300799
)

// Present reports whether there was a date.
func (d NumericDate) Present() bool { return d.present }

// Time returns the instant in UTC, to the microsecond; the zero Time if, and
// only if, there was no date.
func (d NumericDate) Time() time.Time {
	if !d.present {
		return time.Time{}
	}
	return time.Unix(d.seconds, int64(d.nanos)).UTC()
}

// parse sets d, and reports whether value is a date. Precondition: value is valid JSON.
func (d *NumericDate) parse(value []byte) bool {
	// For valid JSON, strconv takes numbers and nothing else.
	if seconds, err := strconv.ParseInt(string(value), 10, 64); err == nil {
		return d.set(seconds, 0)
	}
	// A float64 holds every second of these years, and its microseconds.
	f, err := strconv.ParseFloat(string(value), 64)
	if err != nil || !(firstSecond <= f && f < lastSecond+1) {
		return false
	}
	seconds := math.Floor(f)
	micros := min(int32((f-seconds)*1e6+0.5), 999_999)
	return d.set(int64(seconds), micros*1000)
}

// nearest sets d to the first or the last date for a number that is none. Precondition:
// as for parse, which has returned false.
func (d *NumericDate) nearest(value []byte) bool {
	// A range error comes with an infinity, which valid JSON cannot spell.
	f, err := strconv.ParseFloat(string(value), 64)
	switch {
	case err != nil && !errors.Is(err, strconv.ErrRange):
		return false
	case f > 0:
		return d.set(lastSecond, 0)
	}
	return d.set(firstSecond, 0)
}

func (d *NumericDate) set(seconds int64, nanos int32) bool {
	if seconds < firstSecond || seconds > lastSecond {
		return false
	}
	*d = NumericDate{seconds: seconds, nanos: nanos, present: true}
	return true
}
