package chart_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
)

// schema is what the tests read of a JSON schema.
type schema struct {
	Properties           map[string]*schema
	AdditionalProperties any
	Items                *schema
	Enum                 []string
	Pattern              string
	Definitions          map[string]*schema
}

func valuesSchema(t *testing.T) *schema {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(chart, "values.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	s := &schema{}
	if err := json.Unmarshal(text, s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSchema_HasTheFieldsOfTheSettings(t *testing.T) {
	of := valuesSchema(t).Properties["runtimeConfig"]
	sameFields(t, "runtimeConfig", reflect.TypeFor[api.Settings](), of, "apiVersion", "kind", "controller")
	if diff := cmp.Diff(api.Severities, of.Properties["policy"].Properties["severities"].Items.Enum); diff != "" {
		t.Error("severities:", diff)
	}
}

// sameFields holds a schema to a struct, but for fields that values do not have.
func sameFields(t *testing.T, at string, of reflect.Type, s *schema, without ...string) {
	t.Helper()
	var want []string
	for _, field := range reflect.VisibleFields(of) {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "" || slices.Contains(without, name) {
			continue
		}
		want = append(want, name)
		if property := s.Properties[name]; field.Type.Kind() == reflect.Struct && property != nil {
			sameFields(t, at+"."+name, field.Type, property)
		}
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(s.Properties))); diff != "" || s.AdditionalProperties != false {
		t.Errorf("%s has not exactly the fields of %s: %s", at, of, diff)
	}
}

func TestSchema_TakesTheIntervalsThatTheControllerTakes(t *testing.T) {
	pattern := regexp.MustCompile(valuesSchema(t).Properties["runtimeConfig"].Properties["schedule"].Properties["interval"].Pattern)
	for unit, most := range map[string]int{"h": 22000, "d": 1000, "w": 200, "m": 100, "": 100} {
		for n := range most {
			text := fmt.Sprint(n, unit)
			_, err := api.ParseSettings([]byte("schedule: {interval: '" + text + "'}"))
			if takes := pattern.MatchString(text); takes != (err == nil) {
				t.Errorf("interval %s: the schema says %v, the controller %v", text, takes, err)
			}
		}
	}
}

func TestSchema_TakesNoDurationThatTheControllerDoesNot(t *testing.T) {
	pattern := regexp.MustCompile(valuesSchema(t).Definitions["duration"].Pattern)
	taken := 0
	for _, text := range []string{"0", "0s", "90m", "1h30m", "1d12h", "1w", "2w3d", "72h", "7", "-1h", "1.5h", "soon", "1y", "1h1d", "1d 2h", "d", " 1h"} {
		_, err := api.ParseDuration(text)
		switch takes := pattern.MatchString(text); {
		case takes && err != nil:
			t.Errorf("%q: %v", text, err)
		case takes:
			taken++
		}
	}
	if taken != 8 {
		t.Errorf("%d are taken", taken)
	}
}
