package main

import (
	"testing"

	"github.com/keybound-go/middleware/examples/routers/routertest"
)

func TestTheServiceOnThisRouter(t *testing.T) { routertest.Run(t, newService) }
