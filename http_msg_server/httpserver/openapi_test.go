package httpserver

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite openapi.json")

// object is a part of a JSON document.
type object = map[string]any

// schemas turns Go types into schemas, and keeps those that have a name.
type schemas map[string]object

func (s schemas) of(t reflect.Type) object {
	switch t.Kind() {
	case reflect.Pointer:
		return s.of(t.Elem())
	case reflect.String:
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Uint32:
		return object{"type": "integer", "minimum": 0, "maximum": 4294967295}
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return object{"type": "string", "contentEncoding": "base64"}
		}
		return object{"type": "array", "items": s.of(t.Elem())}
	case reflect.Struct:
		name := strings.ToUpper(t.Name()[:1]) + t.Name()[1:]
		if s[name] == nil {
			s[name] = object{}
			s[name] = s.structure(t)
		}
		return object{"$ref": "#/components/schemas/" + name}
	default:
		panic("no schema for " + t.String())
	}
}

func (s schemas) structure(t reflect.Type) object {
	properties, required := object{}, []any{}
	var add func(t reflect.Type)
	add = func(t reflect.Type) {
		for f := range t.Fields() {
			if f.Anonymous {
				add(f.Type)
				continue
			}
			name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			properties[name] = s.of(f.Type)
			if options != "omitempty" {
				required = append(required, name)
			}
		}
	}
	add(t)
	slices.SortFunc(required, func(a, b any) int { return strings.Compare(a.(string), b.(string)) })
	out := object{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		out["required"] = required
	}
	return out
}

func content(schema object) object {
	return object{"application/json": object{"schema": schema}}
}

// document is what openapi.json must say, made of the table of operations.
func document() object {
	named := schemas{}
	failed := content(named.of(reflect.TypeFor[failure]()))
	paths := object{}
	for _, op := range operations() {
		good := object{"description": http.StatusText(op.Status)}
		switch {
		case op.ID == "getOpenAPI":
			good["content"] = content(object{"type": "object"})
		case op.Status != http.StatusNoContent:
			good["content"] = content(named.of(reflect.TypeOf(op.Out)))
		}
		responses := object{strconv.Itoa(op.Status): good}
		for status, meaning := range op.Also {
			responses[strconv.Itoa(status)] = object{"description": meaning, "content": content(named.of(reflect.TypeOf(op.Out)))}
		}
		described := object{"operationId": op.ID, "summary": op.Summary, "responses": responses}
		// One status of its own, beside the default of all others: generated
		// clients make a type of error of it.
		responses["4XX"] = object{"description": "The request is refused.", "content": failed}
		if op.Scope == "" {
			described["security"] = []any{}
		} else {
			described["security"] = []any{object{"apiKey": []any{op.Scope}}}
			responses["default"] = object{"description": "What is wrong.", "content": failed}
		}
		if op.hasBody() {
			described["requestBody"] = object{"required": true, "content": content(named.of(reflect.TypeOf(op.In)))}
		}
		var params []any
		for _, p := range op.Params {
			schema := object{"type": "string"}
			switch {
			case p == limitParam:
				schema = object{"type": "integer", "minimum": 1, "maximum": maxLimit, "default": defaultLimit}
			case p.Integer:
				schema = object{"type": "integer", "minimum": 1, "maximum": 4294967295}
			}
			params = append(params, object{
				"name": p.Name, "in": p.In, "required": p.Required, "description": p.Help, "schema": schema,
			})
		}
		if params != nil {
			described["parameters"] = params
		}
		path, _ := paths[prefix+op.Path].(object)
		if path == nil {
			path = object{}
			paths[prefix+op.Path] = path
		}
		path[strings.ToLower(op.Method)] = described
	}
	components := object{}
	for name, schema := range named {
		components[name] = schema
	}
	return object{
		"openapi": "3.1.0",
		"info": object{
			"title": "TeamTalk back-end API", "version": "1",
			"description": "Accounts, groups, messages and presence for back ends. docs/http-api.md has examples.",
			"license":     object{"name": "Apache License 2.0", "identifier": "Apache-2.0"},
		},
		"servers": []any{object{
			"url": "http://127.0.0.1:8400", "description": "ListenIP and ListenPort of httpmsgserver.conf, or the proxy before it.",
		}},
		"paths": paths,
		"components": object{
			"schemas": components,
			"securitySchemes": object{"apiKey": object{
				"type": "http", "scheme": "bearer",
				"description": "A key made by \"teamtalk apikey add\". Its scopes: " + strings.Join(Scopes(), ", ") + ".",
			}},
		},
	}
}

// TestOpenAPI compares openapi.json with the table of operations and the types
// of their bodies: every path, method, scope, parameter and member, and
// nothing else.
func TestOpenAPI(t *testing.T) {
	t.Parallel()
	want, err := json.MarshalIndent(document(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if *update {
		if err := os.WriteFile("openapi.json", want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(openAPI, want) {
		t.Error("openapi.json does not say what the operations are; go test ./http_msg_server/httpserver -update rewrites it")
	}
}

// TestOpenAPILint has the rules by which linters judge such documents, on the
// file as it is served.
func TestOpenAPILint(t *testing.T) {
	t.Parallel()
	var doc struct {
		Info struct {
			License struct{ Name, Identifier string }
		}
		Servers []struct{ URL string }
		Paths   map[string]map[string]struct {
			OperationID, Summary string
			Security             *[]object
			Responses            map[string]struct {
				Description string
				Content     map[string]struct{ Schema object }
			}
		}
	}
	if err := json.Unmarshal(openAPI, &doc); err != nil {
		t.Fatal(err)
	}
	if doc.Info.License.Name == "" || doc.Info.License.Identifier == "" {
		t.Error("info-license: there is none")
	}
	if len(doc.Servers) == 0 || doc.Servers[0].URL == "" {
		t.Error("no-empty-servers: there is none")
	}
	for path, methods := range doc.Paths {
		for method, op := range methods {
			at := method + " " + path
			if op.OperationID == "" || op.Summary == "" {
				t.Errorf("%s: operation-operationId, operation-summary: %+v", at, op)
			}
			if op.Security == nil {
				t.Errorf("%s: security-defined: it does not say which key it takes", at)
			}
			if ref := op.Responses["4XX"].Content["application/json"].Schema["$ref"]; ref != "#/components/schemas/Failure" {
				t.Errorf("%s: operation-4xx-response: its errors have no type: %v", at, ref)
			}
			for status, response := range op.Responses {
				if response.Description == "" {
					t.Errorf("%s: %s has no description", at, status)
				}
			}
		}
	}
}

// TestOperations: what the table must be for the document to be true.
func TestOperations(t *testing.T) {
	t.Parallel()
	ids := map[string]bool{}
	for _, op := range operations() {
		if ids[op.ID] || op.Summary == "" || op.Status == 0 {
			t.Errorf("%s: twice, without a summary or without a status", op.ID)
		}
		ids[op.ID] = true
		if op.Scope != "" && !slices.Contains(Scopes(), op.Scope) {
			t.Errorf("%s: no such scope %s", op.ID, op.Scope)
		}
		for _, p := range op.Params {
			if inPath := strings.Contains(op.Path, "{"+p.Name+"}"); inPath != (p.In == "path") {
				t.Errorf("%s: parameter %s is in the path: %v", op.ID, p.Name, inPath)
			}
		}
		if n := strings.Count(op.Path, "{"); n != countPath(op.Params) {
			t.Errorf("%s: %d parameters in the path, %d described", op.ID, n, countPath(op.Params))
		}
	}
}

func countPath(params []param) (n int) {
	for _, p := range params {
		if p.In == "path" {
			n++
		}
	}
	return n
}

// fits complains about a value that a schema of openapi.json does not allow.
func fits(doc object, schema object, v any, at string) error {
	if ref, ok := schema["$ref"].(string); ok {
		_, name, _ := strings.Cut(ref, "#/components/schemas/")
		named, ok := doc["components"].(object)["schemas"].(object)[name].(object)
		if !ok {
			return fmt.Errorf("%s: no schema %s", at, name)
		}
		return fits(doc, named, v, at)
	}
	switch v := v.(type) {
	case object:
		return fitsObject(doc, schema, v, at)
	case []any:
		items, ok := schema["items"].(object)
		if schema["type"] != "array" || !ok {
			return fmt.Errorf("%s is an array", at)
		}
		for i, e := range v {
			if err := fits(doc, items, e, fmt.Sprintf("%s.%d", at, i)); err != nil {
				return err
			}
		}
		return nil
	case string, bool, float64:
		want := map[reflect.Kind]string{reflect.String: "string", reflect.Bool: "boolean", reflect.Float64: "integer"}
		if schema["type"] != want[reflect.TypeOf(v).Kind()] {
			return fmt.Errorf("%s is %v, not a %v", at, v, schema["type"])
		}
		return nil
	}
	return fmt.Errorf("%s is %v", at, v)
}

func fitsObject(doc, schema, v object, at string) error {
	if schema["type"] != "object" {
		return fmt.Errorf("%s is an object", at)
	}
	properties, _ := schema["properties"].(object)
	for name, e := range v {
		p, ok := properties[name].(object)
		if !ok {
			return fmt.Errorf("%s.%s is not in the schema", at, name)
		}
		if err := fits(doc, p, e, at+"."+name); err != nil {
			return err
		}
	}
	required, _ := schema["required"].([]any)
	for _, name := range required {
		if _, ok := v[name.(string)]; !ok {
			return fmt.Errorf("%s.%s is missing", at, name)
		}
	}
	return nil
}
