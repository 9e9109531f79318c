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

func TestSchema_HasAValueForEachSetting(t *testing.T) {
	var values []string
	for _, value := range valueOf {
		values = append(values, value)
	}
	if diff := cmp.Diff(slices.Sorted(slices.Values(fields("", reflect.TypeFor[api.Settings]()))), slices.Sorted(maps.Keys(valueOf))); diff != "" {
		t.Error("the settings are others:", diff)
	}
	have := leaves("", valuesSchema(t))
	if diff := cmp.Diff(slices.Sorted(slices.Values(append(values, onlyOfTheChart...))), slices.Sorted(slices.Values(have))); diff != "" {
		t.Error("the values are others:", diff)
	}
	if diff := cmp.Diff(api.Severities, valuesSchema(t).at("runtimeConfig.policy.severities").Items.Enum); diff != "" {
		t.Error("severities:", diff)
	}
}

func TestSchema_HasErasersNamesButForWhatEraserDoesNotHave(t *testing.T) {
	var ours []string
	for _, value := range leaves("", valuesSchema(t)) {
		if !slices.Contains(erasers, value) {
			ours = append(ours, value)
		}
	}
	slices.Sort(ours)
	want := []string{
		"deploy.image.registry", "global", "runtimeConfig.manager.scheduling.cron", "runtimeConfig.manager.scheduling.timeZone",
		"runtimeConfig.nodes.parallelism", "runtimeConfig.nodes.privileged", "runtimeConfig.nodes.runtimeSocket", "runtimeConfig.nodes.selector",
		"runtimeConfig.nodes.timeout", "runtimeConfig.policy.databaseRepositories", "runtimeConfig.policy.endOfLife",
		"runtimeConfig.policy.ignoreUnfixed", "runtimeConfig.policy.olderThan", "runtimeConfig.policy.severities",
	}
	if diff := cmp.Diff(want, ours); diff != "" {
		t.Error(diff)
	}
}

func TestSchema_RefusesNamesThatItDoesNotKnow(t *testing.T) {
	var check func(at string, s *schema)
	check = func(at string, s *schema) {
		if s.Properties != nil && s.AdditionalProperties != false {
			t.Errorf("%s takes names that it does not know", at)
		}
		for name, property := range s.Properties {
			check(at+"."+name, property)
		}
	}
	check("", valuesSchema(t))
}

// fields are the paths of a struct's fields, in which structs are looked into; the type of Settings is not among them.
func fields(at string, of reflect.Type) []string {
	var paths []string
	for _, field := range reflect.VisibleFields(of) {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case name == "" || name == "apiVersion" || name == "kind":
		case field.Type.Kind() == reflect.Struct:
			paths = append(paths, fields(at+name+".", field.Type)...)
		default:
			paths = append(paths, at+name)
		}
	}
	return paths
}

// leaves are the paths of values that have no named ones in them.
func leaves(at string, s *schema) []string {
	var paths []string
	for name, property := range s.Properties {
		if property.Properties == nil {
			paths = append(paths, at+name)
		}
		paths = append(paths, leaves(at+name+".", property)...)
	}
	return paths
}

// at is the schema of a value.
func (s *schema) at(path string) *schema {
	for name := range strings.SplitSeq(path, ".") {
		s = s.Properties[name]
	}
	return s
}

func TestSchema_TakesTheIntervalsThatTheControllerTakes(t *testing.T) {
	pattern := regexp.MustCompile(valuesSchema(t).at(valueOf["schedule.interval"]).Pattern)
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
