package main

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/keybound-go/middleware"
	"github.com/keybound-go/middleware/gateway/kongfile"
)

// documents are the metadata documents of all guards. They are at the URLs that
// clients make of the resources, whatever the routes say.
type documents []document9728

// document9728 is the metadata document of one resource.
type document9728 struct {
	host    string // in lower case, without the port that https has by default
	path    string // normal
	handler http.Handler
}

// add adds the document of a guard, unless it has none.
func (ds *documents) add(p *kongfile.OpenIDConnect, guard *middleware.Guard) error {
	if p.Resource == nil {
		return nil
	}
	mounted, document := guard.Metadata()
	path, err := kongfile.NormalPath(mounted)
	if err != nil {
		return fmt.Errorf("protected_resource_metadata.resource: %w", err)
	}
	u, err := url.Parse(p.Resource.Identifier)
	if err != nil {
		return err
	}
	d := document9728{publicHost(u.Host), path, document}
	if slices.ContainsFunc(*ds, func(other document9728) bool { return other.host == d.host && other.path == d.path }) {
		return fmt.Errorf("protected_resource_metadata.resource: another plugin describes %q, and a resource has one description", p.Resource.Identifier)
	}
	*ds = append(*ds, d)
	return nil
}

// find returns the handler of the document at a path, or nil. Of several at the
// same path, the host decides; of a single one it is no matter, since a terminator
// in front may have written another.
func (ds documents) find(host, path string) (found http.Handler) {
	host = publicHost(host)
	several := false
	for _, d := range ds {
		if d.path != path {
			continue
		}
		if d.host == host {
			return d.handler
		}
		several = found != nil
		found = d.handler
	}
	if several {
		return nil
	}
	return found
}

func publicHost(host string) string { return strings.TrimSuffix(strings.ToLower(host), ":443") }

// describe is what the file says of a resource.
func describe(r *kongfile.Resource) middleware.ProtectedResource {
	return middleware.ProtectedResource{
		Identifier:           r.Identifier,
		AuthorizationServers: r.AuthorizationServers,
		Scopes:               r.Scopes,
		Name:                 r.Name,
		Documentation:        r.Documentation,
		JWKSURI:              r.JWKSURI,
	}
}
