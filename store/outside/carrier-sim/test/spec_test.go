// Package test drives the built program from outside, as its neighbours do,
// and holds every answer against openapi.yaml and every event against its schema.
package test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"
)

const root = ".."

// spec is openapi.yaml; its schemas are JSON Schema 2020-12, as OpenAPI 3.1 says.
type spec struct {
	mu       sync.Mutex
	compiler *jsonschema.Compiler
	document map[string]any
	compiled map[string]*jsonschema.Schema
	paths    []specPath
}

type specPath struct {
	form     *regexp.Regexp
	template string
}

var contract = loadSpec()

func loadSpec() *spec {
	text, err := os.ReadFile(filepath.Join(root, "openapi.yaml"))
	if err != nil {
		panic(err)
	}
	var raw any
	if err := yaml.Unmarshal(text, &raw); err != nil {
		panic(err)
	}
	plain, err := json.Marshal(raw)
	if err != nil {
		panic(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(plain))
	if err != nil {
		panic(err)
	}
	s := &spec{compiler: jsonschema.NewCompiler(), compiled: map[string]*jsonschema.Schema{}}
	s.compiler.AssertFormat()
	s.compiler.DefaultDraft(jsonschema.Draft2020)
	if err := s.compiler.AddResource("urn:openapi", document); err != nil {
		panic(err)
	}
	s.document = document.(map[string]any)
	for template := range s.document["paths"].(map[string]any) {
		form := regexp.MustCompile(`\\\{[^}]*\\\}`).ReplaceAllString(regexp.QuoteMeta(template), `[^/]+`)
		s.paths = append(s.paths, specPath{regexp.MustCompile("^" + form + "$"), template})
	}
	return s
}

func (s *spec) at(pointer ...string) (any, string) {
	var node any = s.document
	path := ""
	for _, step := range pointer {
		for {
			object, ok := node.(map[string]any)
			if !ok {
				return nil, path
			}
			reference, ok := object["$ref"].(string)
			if !ok {
				break
			}
			path = strings.TrimPrefix(reference, "#")
			node = s.document
			for _, name := range strings.Split(strings.TrimPrefix(path, "/"), "/") {
				node = node.(map[string]any)[name]
			}
		}
		node = node.(map[string]any)[step]
		path += "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(step)
	}
	return node, path
}

// check fails the test when an answer is not one that openapi.yaml allows.
func (s *spec) check(t *testing.T, method, path string, status int, contentType string, body []byte) {
	t.Helper()
	path, _, _ = strings.Cut(path, "?")
	template := ""
	for _, p := range s.paths {
		if p.form.MatchString(path) && (template == "" || strings.Count(p.template, "{") < strings.Count(template, "{")) {
			template = p.template
		}
	}
	if template == "" {
		t.Errorf("openapi.yaml has no path for %s", path)
		return
	}
	node, _ := s.at("paths", template, strings.ToLower(method), "responses", strconv.Itoa(status))
	if node == nil {
		t.Errorf("openapi.yaml does not allow %d for %s %s: %s", status, method, template, body)
		return
	}
	content, _ := s.at("paths", template, strings.ToLower(method), "responses", strconv.Itoa(status), "content")
	if content == nil {
		if len(body) > 0 {
			t.Errorf("%s %s answered %d with an unexpected body %s", method, template, status, body)
		}
		return
	}
	schema, pointer := s.at("paths", template, strings.ToLower(method), "responses", strconv.Itoa(status), "content", contentType, "schema")
	if schema == nil {
		t.Errorf("openapi.yaml does not allow %q for %d of %s %s", contentType, status, method, template)
		return
	}
	s.validate(t, "urn:openapi#"+pointer, body)
}

func (s *spec) validate(t *testing.T, location string, body []byte) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	schema := s.compiled[location]
	if schema == nil {
		var err error
		if schema, err = s.compiler.Compile(location); err != nil {
			t.Fatalf("%s: %v", location, err)
		}
		s.compiled[location] = schema
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err == nil {
		err = schema.Validate(value)
	}
	if err != nil {
		t.Errorf("%s\n%v", body, err)
	}
}
