package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/keybound-go/middleware/gateway/kongfile"
	"github.com/keybound-go/middleware/internal/strictjson"
)

// maxAdminBody limits the body of a request, in bytes.
const maxAdminBody = 1 << 20

// readBody reads a body in one of the forms that Kong takes: JSON, or a form with
// names such as paths[]=/ and config.issuer=... A method that has none gets nil.
func readBody(r *http.Request) (map[string]any, error) {
	if !slices.Contains([]string{http.MethodPost, http.MethodPut, http.MethodPatch}, r.Method) {
		return nil, nil
	}
	mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	text, err := io.ReadAll(io.LimitReader(r.Body, maxAdminBody+1))
	switch {
	case err != nil:
		return nil, refuse(http.StatusBadRequest, "The body cannot be read")
	case len(text) > maxAdminBody:
		return nil, refuse(http.StatusRequestEntityTooLarge, "The body is too large")
	}
	switch mediaType {
	case "application/json":
		return readJSON(text)
	case "application/x-www-form-urlencoded":
		form, err := url.ParseQuery(string(text))
		if err != nil {
			return nil, refuse(http.StatusBadRequest, "Cannot parse the form")
		}
		return fromForm(form)
	case "":
		if len(text) == 0 {
			return map[string]any{}, nil
		}
	}
	return nil, refuse(http.StatusUnsupportedMediaType, "The body is application/json or application/x-www-form-urlencoded")
}

// maxAdminDepth limits how deep a body is nested.
const maxAdminDepth = 16

// readJSON reads one object. A name that is given twice is a mistake: one of its values
// would be lost, such as the one that guards a route.
func readJSON(text []byte) (body map[string]any, err error) {
	var o strictjson.Object
	for o.Start(text, maxAdminDepth); o.Next(); {
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if o.Err() != nil || decoder.Decode(&body) != nil {
		return nil, refuse(http.StatusBadRequest, "Cannot parse JSON body: it is one object in UTF-8, without a name that is given twice")
	}
	return body, nil
}

var listIndex = regexp.MustCompile(`\[(\d*)\]$`)

// fromForm makes an entity of a form. The elements of a list are in the order of their
// numbers, those without a number first.
func fromForm(form url.Values) (map[string]any, error) {
	body := make(map[string]any)
	for _, name := range slices.SortedFunc(maps.Keys(form), byIndex) {
		bare := listIndex.ReplaceAllString(name, "")
		path := strings.Split(bare, ".")
		into := body
		for _, step := range path[:len(path)-1] {
			inner, ok := into[step].(map[string]any)
			if !ok && into[step] != nil || step == "" {
				return nil, refuse(http.StatusBadRequest, "Cannot parse the form: "+name)
			}
			if !ok {
				inner = make(map[string]any)
				into[step] = inner
			}
			into = inner
		}
		last := path[len(path)-1]
		var values []any
		for _, text := range form[name] {
			values = append(values, kongfile.Coerce(path, text))
		}
		list, had := into[last].([]any)
		switch {
		case last == "" || into[last] != nil && !had:
			return nil, refuse(http.StatusBadRequest, "Cannot parse the form: "+name)
		case bare != name || had || len(values) > 1 || kongfile.IsList(path):
			into[last] = append(list, values...)
		default:
			into[last] = values[0]
		}
	}
	return body, nil
}

func byIndex(a, b string) int {
	first, second := listIndex.FindStringSubmatch(a), listIndex.FindStringSubmatch(b)
	if first != nil && second != nil && listIndex.ReplaceAllString(a, "") == listIndex.ReplaceAllString(b, "") {
		return cmp.Or(cmp.Compare(len(first[1]), len(second[1])), strings.Compare(a, b))
	}
	return strings.Compare(a, b)
}
