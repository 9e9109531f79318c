package controller

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/imageclean/kubectl-imageclean/pkg/api"
)

// figures are what the controller tells of itself, besides what every controller does.
type figures struct {
	passes           *prometheus.CounterVec
	removed, freed   prometheus.Counter
	last, conditions *prometheus.GaugeVec
	next             prometheus.Gauge
}

func newFigures(registry prometheus.Registerer) *figures {
	m := &figures{
		passes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "imageclean_passes_total", Help: "Passes that have ended, by why they ran and how they came out.",
		}, []string{"trigger", "phase"}),
		removed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "imageclean_images_removed_total", Help: "Copies of images that were removed from nodes.",
		}),
		freed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "imageclean_freed_bytes_total", Help: "Bytes that were freed on nodes.",
		}),
		last: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "imageclean_last_pass_timestamp_seconds", Help: "When a pass has ended last, by why it ran.",
		}, []string{"trigger"}),
		next: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "imageclean_next_pass_timestamp_seconds", Help: "When the next scheduled pass is due.",
		}),
		conditions: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "imageclean_condition", Help: "Whether what passes need is there: 1 when it is, 0 when it is not.",
		}, []string{"type"}),
	}
	registry.MustRegister(m.passes, m.removed, m.freed, m.last, m.next, m.conditions)
	return m
}

func (m *figures) pass(p *api.Pass) {
	m.passes.WithLabelValues(string(p.Trigger), string(p.Phase)).Inc()
	m.removed.Add(float64(p.Removed))
	m.freed.Add(float64(p.FreedBytes))
	m.last.WithLabelValues(string(p.Trigger)).Set(float64(p.FinishedAt.Unix()))
}

func (m *figures) setCondition(kind string, ok bool) {
	value := 0.0
	if ok {
		value = 1
	}
	m.conditions.WithLabelValues(kind).Set(value)
}
