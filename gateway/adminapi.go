package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/keybound-go/middleware/gateway/kongfile"
)

// adminAPI is the part of Kong's Admin API by which its pages configure a gateway. A
// change is in force once it is answered, or not at all.
type adminAPI struct {
	settings *settings
	state    kongfile.State // guarded by live.changing
	unkept   bool           // state is in force and in no file
}

func newAdminAPI(s *settings) (*adminAPI, error) {
	a := &adminAPI{settings: s}
	return a, a.reset()
}

// reset makes the entities those of the files that were read last.
func (a *adminAPI) reset() (err error) {
	a.state, err = kongfile.StateOf(a.settings.sources...)
	return err
}

// place is what a path of the API names: entities of a kind, all of them or one, and
// perhaps only those of a service or a route.
type place struct {
	kind string
	key  string // "": all
	of   string // service or route; "": any
	id   string // of that
}

// apiError is an answer that is no success.
type apiError struct {
	status int
	body   map[string]any
}

func (e *apiError) Error() string { return fmt.Sprint(e.body["message"]) }

func refuse(status int, message string) error {
	return &apiError{status, map[string]any{"message": message}}
}

var errNotFound = refuse(http.StatusNotFound, "Not found")

func (a *adminAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// The client takes its time outside of the lock, for its body and for the answer.
	body, err := readBody(r)
	var status int
	var answer any
	if err == nil {
		status, answer, err = a.answer(r, body)
	}
	var failed *apiError
	switch {
	case errors.As(err, &failed):
		writeJSON(w, failed.status, failed.body)
	case err != nil:
		a.settings.deployment.log.ErrorContext(r.Context(), "a change by the Admin API failed", "error", err.Error())
		writeJSON(w, http.StatusInternalServerError, map[string]any{"message": "An unexpected error occurred"})
	case status == http.StatusNoContent:
		w.WriteHeader(status)
	default:
		writeJSON(w, status, answer)
	}
}

func (a *adminAPI) answer(r *http.Request, body map[string]any) (status int, answer any, err error) {
	if r.URL.Path == "/" && r.Method == http.MethodGet {
		return http.StatusOK, map[string]any{"tagline": "Welcome to kong", "version": "3.16", "hostname": "gateway of github.com/keybound-go/middleware"}, nil
	}
	l := a.settings.server.live
	l.changing.Lock()
	defer l.changing.Unlock()
	at, err := a.find(r.URL.EscapedPath())
	if err != nil {
		return 0, nil, err
	}
	switch {
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		return a.get(at)
	case r.Method == http.MethodDelete && at.key != "":
		return a.delete(r.Context(), at)
	case r.Method == http.MethodPost && at.key == "", (r.Method == http.MethodPut || r.Method == http.MethodPatch) && at.key != "":
		return a.write(r, at, body)
	}
	return 0, nil, refuse(http.StatusMethodNotAllowed, "Method not allowed")
}

// find reads a path, as it was sent: /kind, /kind/key, /services/key/routes and so on.
func (a *adminAPI) find(path string) (at place, err error) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	for i := range parts {
		if parts[i], err = url.PathUnescape(parts[i]); err != nil || parts[i] == "" {
			return at, errNotFound
		}
	}
	if len(parts) > 2 {
		one := strings.TrimSuffix(parts[0], "s")
		outer, ok := a.state.Find(parts[0], parts[1])
		if !ok || one != "service" && one != "route" {
			return at, errNotFound
		}
		at.of, at.id = one, outer.ID()
		if one == "route" && parts[2] == "service" && len(parts) == 3 {
			return place{kind: "services", key: outer.Refers("service")}, nil
		}
		if parts = parts[2:]; parts[0] != "plugins" && (one != "service" || parts[0] != "routes") {
			return at, errNotFound
		}
	}
	if !slices.Contains(kongfile.Kinds, parts[0]) || len(parts) > 2 {
		return at, errNotFound
	}
	if at.kind = parts[0]; len(parts) == 2 {
		at.key = parts[1]
	}
	return at, nil
}

// entity returns the one that a place names.
func (a *adminAPI) entity(at place) (kongfile.Entity, error) {
	e, ok := a.state.Find(at.kind, at.key)
	if !ok || at.of != "" && e.Refers(at.of) != at.id {
		return nil, errNotFound
	}
	return e, nil
}

func (a *adminAPI) get(at place) (int, any, error) {
	if at.key != "" {
		e, err := a.entity(at)
		return http.StatusOK, e.WithoutSecrets(at.kind), err
	}
	data := []kongfile.Entity{}
	for _, e := range a.state[at.kind] {
		if at.of == "" || e.Refers(at.of) == at.id {
			data = append(data, e.WithoutSecrets(at.kind))
		}
	}
	return http.StatusOK, map[string]any{"data": data, "next": nil}, nil
}

func (a *adminAPI) delete(ctx context.Context, at place) (int, any, error) {
	e, err := a.entity(at)
	if err != nil {
		return http.StatusNoContent, nil, nil // as Kong has it
	}
	if kind := a.state.UsedBy(at.kind, e.ID()); kind != "" {
		return 0, nil, &apiError{http.StatusBadRequest, map[string]any{
			"code": 4, "name": "foreign key violation", "fields": map[string]any{"@referenced_by": kind},
			"message": fmt.Sprintf("an existing '%s' entity references this '%s' entity", kind, at.kind),
		}}
	}
	next := a.state.Clone()
	next.Delete(at.kind, e.ID())
	return http.StatusNoContent, nil, a.commit(ctx, next, "", "")
}

// write is POST, PUT and PATCH.
func (a *adminAPI) write(r *http.Request, at place, body map[string]any) (int, any, error) {
	status, now := http.StatusOK, json.Number(fmt.Sprint(time.Now().Unix()))
	before, missing := a.entity(at)
	e := kongfile.Entity(body)
	for _, nested := range []string{"routes", "plugins"} {
		if _, has := body[nested]; has {
			return 0, nil, violation([]string{nested + ": unknown field; each has an entity of its own"})
		}
	}
	switch {
	case r.Method == http.MethodPost:
		status = http.StatusCreated
	case r.Method == http.MethodPatch && missing != nil:
		return 0, nil, missing
	case r.Method == http.MethodPatch:
		e = before.Merge(body)
	case before != nil:
		if name := before.Name(); e.Name() == "" && name != "" && at.key == name {
			e["name"] = name
		}
	case at.kind == "plugins" && !isUUID.MatchString(at.key):
		return 0, nil, errNotFound
	case !isUUID.MatchString(at.key):
		e["name"] = at.key
	}
	if err := a.identify(at, e, body["id"], before); err != nil {
		return 0, nil, err
	}
	if at.of != "" {
		e[at.of] = map[string]any{"id": at.id}
	}
	if before != nil && before["created_at"] != nil {
		e["created_at"] = before["created_at"]
	} else if e["created_at"] == nil {
		e["created_at"] = now
	}
	e["updated_at"] = now
	e, err := e.Keep(at.kind, before)
	if err != nil {
		return 0, nil, violation([]string{err.Error()})
	}
	if err := a.checkEntity(at.kind, e); err != nil {
		return 0, nil, err
	}
	next := a.state.Clone()
	next.Put(at.kind, e)
	if err := a.commit(r.Context(), next, at.kind, e.ID()); err != nil {
		return 0, nil, err
	}
	return status, e.WithoutSecrets(at.kind), nil
}

// identify gives e its id: that of the entity before, if there is one, that of the
// path, the one that the body gives, or a new one. No body changes an id.
func (a *adminAPI) identify(at place, e kongfile.Entity, given any, before kongfile.Entity) error {
	id, isText := given.(string)
	switch {
	case given != nil && !isText, before == nil && isText && !isUUID.MatchString(id):
		return violation([]string{"id: expected a valid UUID"})
	case before != nil:
		e["id"] = before.ID()
	case isUUID.MatchString(at.key):
		e["id"] = at.key
	case given == nil:
		e["id"] = kongfile.NewID()
	}
	if isText && id != e.ID() {
		return violation([]string{"id: immutable field cannot be updated"})
	}
	if _, taken := a.state.Find(at.kind, e.ID()); taken && before == nil {
		return conflict("id", e.ID())
	}
	return nil
}

var isUUID = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

func conflict(field, value string) error {
	return &apiError{http.StatusConflict, map[string]any{
		"code": 5, "name": "unique constraint violation", "fields": map[string]any{field: value},
		"message": fmt.Sprintf("UNIQUE violation detected on '{%s=%q}'", field, value),
	}}
}

// checkEntity finds names that are taken, and makes references those by id.
func (a *adminAPI) checkEntity(kind string, e kongfile.Entity) error {
	if name := e.Name(); kind != "plugins" && name != "" {
		if other, ok := a.state.Find(kind, name); ok && other.ID() != e.ID() {
			return conflict("name", name)
		}
	}
	for _, to := range []string{"service", "route"} {
		ref := e.Refers(to)
		if ref == "" {
			continue
		}
		other, ok := a.state.Find(to+"s", ref)
		if !ok {
			return &apiError{http.StatusBadRequest, map[string]any{
				"code": 4, "name": "foreign key violation", "fields": map[string]any{to: map[string]any{"id": ref}},
				"message": fmt.Sprintf("the foreign key '{id=%q}' does not reference an existing '%ss' entity.", ref, to),
			}}
		}
		e[to] = map[string]any{"id": other.ID()}
	}
	return nil
}

// cutPath cuts a mistake into the path of its key, "@entity" if it has none, and the
// reason.
func cutPath(mistake string) (path, reason string) {
	path, reason, ok := strings.Cut(mistake, ": ")
	if !ok || strings.Contains(path, " ") {
		return "@entity", mistake
	}
	return path, reason
}

// violation is the answer to a body that cannot be, with all problems.
func violation(problems []string) error {
	fields := make(map[string]any)
	for _, text := range problems {
		path, reason := cutPath(text)
		into := fields
		names := strings.Split(path, ".")
		for _, name := range names[:len(names)-1] {
			inner, ok := into[name].(map[string]any)
			if !ok {
				inner = make(map[string]any)
				into[name] = inner
			}
			into = inner
		}
		into[names[len(names)-1]] = reason
	}
	noun := "schema violation"
	if len(problems) > 1 {
		noun = fmt.Sprintf("%d schema violations", len(problems))
	}
	return &apiError{http.StatusBadRequest, map[string]any{
		"code": 2, "name": "schema violation", "fields": fields, "message": fmt.Sprintf("%s (%s)", noun, strings.Join(problems, "; ")),
	}}
}

// commit puts a state into force, keeps it, and makes it that of the API. The problems
// of the entity that has changed are named by its own keys.
func (a *adminAPI) commit(ctx context.Context, next kongfile.State, kind, id string) error {
	source, err := next.Source("admin")
	if err != nil {
		return err
	}
	l := a.settings.server.live
	lookup, found := seen()
	f := kongfile.Read(lookup, source)
	if err := l.apply(context.WithoutCancel(ctx), f, l.current().server); err != nil {
		hidden := hiddenOf(next)
		for _, value := range found {
			hidden.add(value)
		}
		problems := f.Problems.Texts()
		if len(problems) == 0 {
			_, message := cutPath(hidden.without(err.Error(), nil))
			return refuse(http.StatusBadRequest, message)
		}
		changed := slices.IndexFunc(next[kind], func(e kongfile.Entity) bool { return e.ID() == id })
		own := fmt.Sprintf("%s[%d]", kind, changed)
		for i, text := range problems {
			var of kongfile.Entity
			if rest, ok := strings.CutPrefix(text, own); ok {
				text, of = strings.TrimLeft(rest, ".: "), next[kind][changed]
			}
			problems[i] = hidden.without(text, of)
		}
		return violation(problems)
	}
	a.state, a.unkept = next, true
	if a.settings.adminFile == "" {
		return nil
	}
	if err := writePrivate(a.settings.adminFile, source.Text); err != nil {
		return fmt.Errorf("the change is in force, and -admin-file does not have it: %w", err)
	}
	a.unkept = false
	return nil
}

// writePrivate replaces a file that its user alone can read, at once or not at all.
func writePrivate(name string, text []byte) error {
	file, err := os.CreateTemp(filepath.Dir(name), ".gateway-*") // 0600
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	err = errors.Join(err, file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return nil
}
