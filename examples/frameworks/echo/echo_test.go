package echo_test

import (
	"testing"

	"github.com/keybound-go/middleware/examples/frameworks/echo"
	"github.com/keybound-go/middleware/examples/frameworks/frameworktest"
	"github.com/keybound-go/middleware/internal/doors"
)

func TestTheService(t *testing.T) { frameworktest.Run(t, echo.New) }

func TestDoors(t *testing.T) { doors.Run(t, frameworktest.Door("echo", "echo", echo.New)) }
