// Package tenants answers: whose token is it, when issuers come and go?
//
//	resolve := func(ctx context.Context, issuer string) (*oidc.Verifier, error) {
//		row, err := db.byIssuer(ctx, issuer)
//		if errors.Is(err, sql.ErrNoRows) {
//			return nil, oidc.ErrIssuer // 401; any other error is a 503
//		}
//		if err != nil {
//			return nil, err
//		}
//		return oidc.New(row.issuer, "https://api.example", oidc.WithCacheSize(0))
//	}
//	guard, err := middleware.New(middleware.WithTokens(tenants.New(resolve)), ...)
//	...
//	defer guard.Close()
//
// A service with a few issuers that are known at start uses [oidc.AnyOf].
package tenants
