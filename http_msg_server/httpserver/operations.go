package httpserver

import (
	_ "embed"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// operation is one row of the table of what the API can do. openapi.json says
// the same to others; a test compares the two.
type operation struct {
	ID      string
	Method  string
	Path    string // below prefix, with {name} for parameters
	Summary string
	Scope   string         // "" needs no key
	Params  []param        // of the path, the query and the header
	In      any            // zero value of the body; none{} for none
	Out     any            // likewise of the answer
	Status  int            // of the answer
	Also    map[int]string // other good answers with the same body, and what they mean

	run func(c *call, in any) (any, error)
}

// hasBody reports whether the operation takes one.
func (o *operation) hasBody() bool { return reflect.TypeOf(o.In) != reflect.TypeFor[none]() }

// param is a parameter outside the body.
type param struct {
	Name     string
	In       string // path, query or header
	Integer  bool
	Required bool
	Help     string
}

// prefix is that of all paths of the API.
const prefix = "/api/v1"

// handle makes the run of an operation out of a function of its own types.
func handle[In, Out any](o operation, do func(c *call, in *In) (*Out, error)) *operation {
	o.In, o.Out = *new(In), *new(Out)
	o.run = func(c *call, in any) (any, error) {
		out, err := do(c, in.(*In))
		return out, err
	}
	if o.changes() {
		o.Params = append(slices.Clip(o.Params), keyParam)
		if o.Status == http.StatusCreated {
			o.Also = map[int]string{http.StatusOK: "A repeat: this is the first answer. The header " + replayed + " is true."}
		}
	}
	return &o
}

// changes reports whether the operation changes anything: all that do may be
// given an Idempotency-Key.
func (o *operation) changes() bool { return strings.HasSuffix(o.Scope, ":write") }

// The parameters that many operations share.
var (
	userInPath  = param{Name: "user_id", In: "path", Integer: true, Required: true, Help: "Id of the user."}
	groupInPath = param{Name: "group_id", In: "path", Integer: true, Required: true, Help: "Id of the group."}
	cursorParam = param{Name: "cursor", In: "query", Help: "next_cursor of the page before; without it, the first page."}
	keyParam    = param{
		Name: idempotencyHeader, In: "header",
		Help: "Makes the request safe to repeat: for a day, a repeat with the same key, path and body gets the first " +
			"answer and does nothing, at any server and after any restart. 1 to 255 visible ASCII characters; best a UUIDv7.",
	}
	limitParam = param{
		Name: "limit", In: "query", Integer: true, Help: "Most entries of the page; 1 to 100, 50 without it.",
	}
)

// operations is the table.
func operations() []*operation {
	var all []*operation
	for _, some := range [][]*operation{userOperations(), presenceOperations(), groupOperations(), messageOperations()} {
		all = append(all, some...)
	}
	return append(all, handle(operation{
		ID: "getOpenAPI", Method: http.MethodGet, Path: "/openapi.json", Status: http.StatusOK,
		Summary: "This description of the API.",
	}, func(*call, *none) (*description, error) { return &description{}, nil }))
}

//go:embed openapi.json
var openAPI []byte

// description is openapi.json.
type description struct{}

// MarshalJSON implements json.Marshaler.
func (description) MarshalJSON() ([]byte, error) { return openAPI, nil }

// handler routes requests: the API, the original's two, and what is neither.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	methods := map[string][]string{} // by path
	for _, op := range operations() {
		mux.HandleFunc(op.Method+" "+prefix+op.Path, s.serve(op))
		methods[op.Path] = append(methods[op.Path], op.Method)
	}
	for path, allowed := range methods {
		mux.HandleFunc(prefix+path, s.serve(wrongMethod(allowed)))
	}
	mux.HandleFunc("/query/", s.query)
	mux.HandleFunc("/", s.serve(handle(operation{ID: "unknown", Status: http.StatusNotFound},
		func(*call, *none) (*none, error) {
			return nil, &fault{Status: http.StatusNotFound, Code: "not_found", Message: "there is nothing at this path"}
		})))
	return mux
}

// wrongMethod answers requests for a path that knows other methods.
func wrongMethod(allowed []string) *operation {
	return handle(operation{ID: "unknown"}, func(c *call, _ *none) (*none, error) {
		for _, m := range allowed {
			c.w.Header().Add("Allow", m)
		}
		return nil, &fault{
			Status: http.StatusMethodNotAllowed, Code: "method_not_allowed", Message: "this path knows other methods",
		}
	})
}

// pathID reads an id out of the path. One that is no number cannot exist.
func (c *call) pathID(p param) (uint32, error) {
	id, err := strconv.ParseUint(c.r.PathValue(p.Name), 10, 32)
	if err != nil || id == 0 {
		return 0, wrong(p.Name, "must be a number from 1 to 4294967295")
	}
	return uint32(id), nil
}

// queryID reads an id out of the query; 0 if it is not there.
func (c *call) queryID(name string) (uint32, error) {
	text := c.r.URL.Query().Get(name)
	if text == "" {
		return 0, nil
	}
	id, err := strconv.ParseUint(text, 10, 32)
	if err != nil || id == 0 {
		return 0, wrong(name, "must be a number from 1 to 4294967295")
	}
	return uint32(id), nil
}

// onlyParams refuses a query with parameters that the operation does not
// know: a misspelt filter must not return everything.
func (c *call) onlyParams() error {
	for name, values := range c.r.URL.Query() {
		known := false
		for _, p := range c.op.Params {
			known = known || p.In == "query" && p.Name == name
		}
		if !known {
			return wrong(name, "is not known")
		}
		if len(values) > 1 {
			return wrong(name, "is given twice")
		}
	}
	return nil
}
