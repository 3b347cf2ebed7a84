package tenants_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/keybound-go/middleware/oidc"
	"github.com/keybound-go/middleware/oidc/tenants"
)

// customer is a row of the table of tenants.
type customer struct {
	issuer  string
	origins []string
}

// database stands for the table of tenants.
type database map[string]customer

var errNoRow = errors.New("no row")

func (d database) byIssuer(_ context.Context, issuer string) (customer, error) {
	c, ok := d[issuer]
	if !ok {
		return customer{}, errNoRow
	}
	return c, nil
}

// shared is for the issuers of all tenants: one pool of connections.
var shared = &http.Client{}

func ExampleNew() {
	db := database{"https://id.acme.example": {issuer: "https://id.acme.example"}}

	customers, err := tenants.New(func(ctx context.Context, issuer string) (*oidc.Verifier, error) {
		row, err := db.byIssuer(ctx, issuer)
		if errors.Is(err, errNoRow) {
			return nil, oidc.ErrIssuer // 401; any other error is a 503
		}
		if err != nil {
			return nil, err
		}
		return oidc.New(row.issuer, "https://api.example", oidc.WithHTTPClient(shared), oidc.WithCacheSize(0))
	}, tenants.WithMaxTenants(5000))
	if err != nil {
		panic(err)
	}
	defer customers.Close()

	_, err = customers.VerifyToken(context.Background(), tokenOf("https://id.evil.example"))
	fmt.Println(err)
	// Output: oidc: The access token is from another issuer
}

func ExampleTenants_Forget() {
	db := database{}
	customers, err := tenants.New(func(ctx context.Context, issuer string) (*oidc.Verifier, error) {
		_, err := db.byIssuer(ctx, issuer)
		if errors.Is(err, errNoRow) {
			return nil, oidc.ErrIssuer
		}
		if err != nil {
			return nil, err
		}
		return oidc.New(issuer, "https://api.example")
	})
	if err != nil {
		panic(err)
	}
	defer customers.Close()
	token := tokenOf("https://id.acme.example")
	_, err = customers.VerifyToken(context.Background(), token)
	fmt.Println(err)

	// A customer signs up. Without Forget the refusal would be remembered for 10 seconds.
	db["https://id.acme.example"] = customer{issuer: "https://id.acme.example"}
	customers.Forget("https://id.acme.example")
	_, err = customers.VerifyToken(context.Background(), token)
	fmt.Println(err)
	// Output:
	// oidc: The access token is from another issuer
	// oidc: The signing algorithm of the access token is not accepted
}

// Each customer has hosts of its own. The tokens of one customer are refused at the hosts
// of another.
func ExampleRequireOrigins() {
	db := database{"https://id.acme.example": {
		issuer:  "https://id.acme.example",
		origins: []string{"https://acme.example", "https://acme.saas.example"},
	}}
	customers, err := tenants.New(func(ctx context.Context, issuer string) (*oidc.Verifier, error) {
		row, err := db.byIssuer(ctx, issuer)
		if errors.Is(err, errNoRow) {
			return nil, oidc.ErrIssuer
		}
		if err != nil {
			return nil, err
		}
		return oidc.New(row.issuer, "https://api.example", oidc.WithOrigins(row.origins...))
	}, tenants.RequireOrigins())
	if err != nil {
		panic(err)
	}
	defer customers.Close()
}

// The presets of package middleware must know how strict the verifiers of all tenants are
// before the first tenant is resolved.
func ExampleWithPolicy() {
	customers, err := tenants.New(func(_ context.Context, issuer string) (*oidc.Verifier, error) {
		return oidc.New(issuer, "https://api.example", oidc.FAPI2())
	}, tenants.WithPolicy(oidc.Policy{
		Algorithms:     []string{"PS256", "ES256", "EdDSA", "Ed25519"},
		Skew:           30e9, // 30 seconds, the default of oidc.New
		ChecksAudience: true,
	}))
	if err != nil {
		panic(err)
	}
	defer customers.Close()
	fmt.Println(customers.Policy().ChecksAudience)
	// Output: true
}

// Entra ID gives each directory an issuer of its own. One document describes them all,
// and names {tenantid} in the place of the directory.
func ExampleNew_entra() {
	const authority = "https://login.microsoftonline.com/"
	directories := map[string]bool{"11111111-2222-3333-4444-555555555555": true}

	customers, err := tenants.New(func(_ context.Context, issuer string) (*oidc.Verifier, error) {
		directory, ok := strings.CutPrefix(issuer, authority)
		directory, v2 := strings.CutSuffix(directory, "/v2.0")
		if !ok || !v2 || !directories[directory] {
			return nil, oidc.ErrIssuer
		}
		return oidc.New(issuer, "api://orders",
			oidc.WithProfile(oidc.EntraID),
			oidc.WithMetadataURL(authority+"common/v2.0/.well-known/openid-configuration"),
			oidc.WithMetadataIssuer(authority+"{tenantid}/v2.0"),
			oidc.WithCacheSize(0))
	})
	if err != nil {
		panic(err)
	}
	defer customers.Close()
	_, err = customers.VerifyToken(context.Background(), tokenOf(authority+"99999999-2222-3333-4444-555555555555/v2.0"))
	fmt.Println(err)
	// Output: oidc: The access token is from another issuer
}
