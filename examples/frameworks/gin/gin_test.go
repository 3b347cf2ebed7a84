package gin_test

import (
	"testing"

	ginframework "github.com/gin-gonic/gin"

	"github.com/keybound-go/middleware/examples/frameworks/frameworktest"
	"github.com/keybound-go/middleware/examples/frameworks/gin"
)

func init() { ginframework.SetMode(ginframework.ReleaseMode) }

func TestTheService(t *testing.T) { frameworktest.Run(t, gin.New) }
