package oapicodegen_test

import (
	"testing"

	"github.com/keybound-go/middleware/examples/frameworks/frameworktest"
	"github.com/keybound-go/middleware/examples/frameworks/oapicodegen"
	"github.com/keybound-go/middleware/internal/doors"
)

func TestTheService(t *testing.T) { frameworktest.Run(t, frameworktest.Must(t, oapicodegen.New)) }

func TestDoors(t *testing.T) {
	doors.Run(t, frameworktest.Door("oapi-codegen", "oapicodegen", frameworktest.Must(t, oapicodegen.New)))
}
