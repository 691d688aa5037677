package web

import (
	"context"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"coffer/access"
	"coffer/grant"
)

// metrics are what the server counts. Labels have few values, all known to this program: never an id of a person, a bucket, a key or
// a value.
type metrics struct {
	registry   *prometheus.Registry
	requests   *prometheus.CounterVec
	took       *prometheus.HistogramVec
	denials    *prometheus.CounterVec
	revealed   prometheus.Counter
	sealed     prometheus.Counter
	taken      *prometheus.CounterVec
	items      *prometheus.CounterVec
	violations prometheus.Counter
}

func newMetrics(s *Server) *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "coffer_requests_total", Help: "Requests by route and status."}, []string{"route", "status"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "coffer_request_seconds", Help: "Time to answer, by route.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10}}, []string{"route"}),
		denials:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "coffer_denials_total", Help: "Requests that the policies refused, by action."}, []string{"action"}),
		revealed:   prometheus.NewCounter(prometheus.CounterOpts{Name: "coffer_revealed_values_total", Help: "Values that were shown in plain."}),
		sealed:     prometheus.NewCounter(prometheus.CounterOpts{Name: "coffer_sealed_values_total", Help: "Values that intake sealed."}),
		taken:      prometheus.NewCounterVec(prometheus.CounterOpts{Name: "coffer_documents_total", Help: "Documents taken in, by what became of them."}, []string{"status"}),
		items:      prometheus.NewCounterVec(prometheus.CounterOpts{Name: "coffer_job_items_total", Help: "Items of jobs, by kind of job and how they ended."}, []string{"kind", "outcome"}),
		violations: prometheus.NewCounter(prometheus.CounterOpts{Name: "coffer_csp_reports_total", Help: "Reports of browsers that they refused something on a page."}),
	}
	m.registry.MustRegister(m.requests, m.took, m.denials, m.revealed, m.sealed, m.taken, m.items, m.violations,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "coffer_jobs_running", Help: "Jobs at which this process is."}, func() float64 { return float64(s.runner.running.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "coffer_jobs_queued", Help: "Jobs that wait for a place in this process."}, func() float64 { return float64(s.runner.queued.Load()) }))
	// From the store, so that every process and a restarted one tells of it until somebody has reviewed what was done.
	glass := func(name, help string, n func(*grant.Request) int) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			list, err := s.Grants.Glass(ctx)
			if err != nil {
				return math.NaN() // not known is not none
			}
			sum := 0
			for _, r := range list {
				sum += n(r)
			}
			return float64(sum)
		}))
	}
	glass("coffer_broken_glass", "Broken glass that nobody has reviewed.", func(*grant.Request) int { return 1 })
	glass("coffer_broken_glass_values", "Values that were asked for through broken glass that nobody has reviewed.", func(r *grant.Request) int { return r.Spent })
	return m
}

func (m *metrics) request(route string, status int, took time.Duration) {
	if route == "" {
		route = "none"
	}
	m.requests.WithLabelValues(route, strconv.Itoa(status)).Inc()
	m.took.WithLabelValues(route).Observe(took.Seconds())
}

func (m *metrics) denied(a access.Action) { m.denials.WithLabelValues(string(a)).Inc() }

// Metrics answers in OpenMetrics. It belongs on a loopback address of its own: it asks nobody who they are.
func (s *Server) Metrics() http.Handler {
	return promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
}

// Registry is where others who run in the same process put their metrics, under the same rule for labels.
func (s *Server) Registry() prometheus.Registerer { return s.metrics.registry }
