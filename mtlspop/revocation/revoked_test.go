package revocation_test

import "github.com/keybound-go/middleware/mtlspop"

const revoked = mtlspop.BindingError(4)
