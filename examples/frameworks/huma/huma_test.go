package huma_test

import (
	"testing"

	"github.com/keybound-go/middleware/examples/frameworks/frameworktest"
	"github.com/keybound-go/middleware/examples/frameworks/huma"
	"github.com/keybound-go/middleware/internal/doors"
)

func TestTheService(t *testing.T) { frameworktest.Run(t, frameworktest.Must(t, huma.New)) }

func TestDoors(t *testing.T) {
	doors.Run(t, frameworktest.Door("huma", "huma", frameworktest.Must(t, huma.New)))
}
