package api_test

import (
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
)

const settingsHead = "apiVersion: imageclean.sh/v1alpha1\nkind: Settings\n"

func TestParseSettings_AcceptsAndRefuses(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"nothing but the type": {"", ""},
		"days":                 {"schedule: {interval: 2d}", ""},
		"the least":            {"schedule: {interval: 24h}", ""},
		"the most":             {"schedule: {interval: 2160h}", ""},
		"too short":            {"schedule: {interval: 23h}", "can be from 1d to 90d"},
		"too long":             {"schedule: {interval: 2161h}", "can be from 1d to 90d"},
		"no interval":          {"schedule: {}", "schedule.interval is 0s"},
		"a number":             {"schedule: {interval: 48}", "48 is not a duration"},
		"nonsense":             {"schedule: {interval: soon}", `"soon" is not a duration`},
		"cron":                 {"schedule: {cron: '0 3 * * 0', timeZone: Europe/Berlin}", ""},
		"daily over DST":       {"schedule: {cron: '30 2 * * *', timeZone: Europe/Berlin}", ""},
		"descriptor":           {"schedule: {cron: '@weekly'}", ""},
		"hourly":               {"schedule: {cron: '0 * * * *'}", "less than 1d between two passes"},
		"yearly":               {"schedule: {cron: '0 0 1 1 *'}", "more than 90d between two passes"},
		"never":                {"schedule: {cron: '0 0 31 2 *'}", "never comes about"},
		"every minute":         {"schedule: {cron: '@every 1m'}", "less than 1d"},
		"both":                 {"schedule: {cron: '@weekly', interval: 7d}", "exclude each other"},
		"zone without cron":    {"schedule: {interval: 7d, timeZone: UTC}", "which is not set"},
		"zone in cron":         {"schedule: {cron: 'TZ=UTC 0 3 * * 0'}", "write that to timeZone"},
		"no zone":              {"schedule: {cron: '@weekly', timeZone: Mars/Olympus}", `"Mars/Olympus" is not known`},
		"the machine's zone":   {"schedule: {cron: '@weekly', timeZone: Local}", `"Local" is not known`},
		"severity":             {"policy: {scan: true, severities: [BAD]}", `"BAD" is none of CRITICAL`},
		"no severity":          {"policy: {scan: true, severities: []}", "severities is empty"},
		"no scan":              {"policy: {scan: false}", ""},
		"age":                  {"policy: {olderThan: -1h}", "olderThan is negative"},
		"selector":             {"nodes: {selector: 'a=('}", "nodes.selector"},
		"parallelism":          {"nodes: {parallelism: 0}", "parallelism is 0"},
		"ratio":                {"nodes: {successRatio: 1.5}", "successRatio is 1.5"},
		"socket":               {"nodes: {runtimeSocket: x.sock}", "write an absolute path"},
		"unknown field":        {"nodes: {selektor: a}", "selektor"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := api.ParseSettings([]byte(settingsHead + test.text))
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
	if _, err := api.ParseSettings([]byte("schedule: {interval: 7d}")); err != nil {
		t.Errorf("the type may be left out, as it is the default: %v", err)
	}
	if _, err := api.ParseSettings([]byte("apiVersion: imageclean.sh/v2\nkind: Settings")); err == nil {
		t.Error("another version was read")
	}
}

func TestSettings_AreWrittenAsTheyAreRead(t *testing.T) {
	want := api.DefaultSettings()
	want.Schedule = api.Schedule{Cron: "0 3 * * 0", TimeZone: "Europe/Berlin"}
	data, err := yaml.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := api.ParseSettings(data)
	if err != nil {
		t.Fatalf("%v in\n%s", err, data)
	}
	again, err := yaml.Marshal(got)
	if err != nil || string(again) != string(data) {
		t.Errorf("%v: want\n%s\ngot\n%s", err, data, again)
	}
}

func TestSchedule_IsDueAgain(t *testing.T) {
	last := time.Date(2026, 3, 28, 2, 30, 0, 0, time.UTC)
	for _, test := range []struct {
		schedule api.Schedule
		want     time.Time
	}{
		{api.Schedule{Interval: api.Duration(48 * time.Hour)}, time.Date(2026, 3, 30, 2, 30, 0, 0, time.UTC)},
		{api.Schedule{Cron: "0 3 * * 0"}, time.Date(2026, 3, 29, 3, 0, 0, 0, time.UTC)},
		{api.Schedule{Cron: "0 4 * * *", TimeZone: "Europe/Berlin"}, time.Date(2026, 3, 28, 3, 0, 0, 0, time.UTC)},
	} {
		got, err := test.schedule.Next(last)
		if err != nil || !got.Equal(test.want) {
			t.Errorf("%s: got %s, %v; want %s", test.schedule.String(), got, err, test.want)
		}
	}
}

func TestSchedule_ComesOnceADayWhenClocksChange(t *testing.T) {
	daily := api.Schedule{Cron: "30 2 * * *", TimeZone: "Europe/Berlin"}
	for last, end := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC); last.Before(end); {
		next, err := daily.Next(last)
		if err != nil {
			t.Fatal(err)
		}
		if gap := next.Sub(last); gap > 25*time.Hour || gap < 22*time.Hour && last.YearDay() > 1 {
			t.Errorf("%s after %s comes %s", gap, last, next)
		}
		last = next
	}
}
