package revocation

import "github.com/keybound-go/middleware/mtlspop"

// errRevoked stands in for mtlspop.ErrRevoked until branch mtls has landed.
const errRevoked = mtlspop.BindingError(4)
