package notify

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"coffer/access"
	"coffer/audit"
)

// collector reads the states of the targets from the store when it is asked, so that every process tells the same.
type collector struct{ n *Notifier }

var (
	labels      = []string{"target", "kind"}
	descBehind  = prometheus.NewDesc("coffer_notify_behind_entries", "Entries of the log that a target was not told of yet.", labels, nil)
	descDead    = prometheus.NewDesc("coffer_notify_dead_messages", "Messages that a target refused and that were put aside.", labels, nil)
	descFailing = prometheus.NewDesc("coffer_notify_failing_seconds", "How long deliveries to a target have failed; 0: they do not.", labels, nil)
	descSent    = prometheus.NewDesc("coffer_notify_sent_total", "Messages that were delivered to a target.", labels, nil)
)

// Collector tells of every configured target how far it is behind, what it refused, and for how long it has failed.
func (n *Notifier) Collector() prometheus.Collector { return collector{n} }

// Describe implements [prometheus.Collector].
func (collector) Describe(c chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descBehind, descDead, descFailing, descSent} {
		c <- d
	}
}

// Collect implements [prometheus.Collector]. What cannot be read is an error of the scrape, and not nothing.
func (c collector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	list, err := c.n.Status(ctx)
	if err != nil {
		out <- prometheus.NewInvalidMetric(descBehind, err)
		return
	}
	for _, s := range list {
		failing := 0.0
		if !s.Failing.IsZero() {
			failing = c.n.c.Now().Sub(s.Failing).Seconds()
		}
		gauge := func(d *prometheus.Desc, kind prometheus.ValueType, v float64) {
			out <- prometheus.MustNewConstMetric(d, kind, v, s.Target, string(s.Kind))
		}
		gauge(descBehind, prometheus.GaugeValue, float64(s.Behind))
		gauge(descDead, prometheus.GaugeValue, float64(s.Dead))
		gauge(descFailing, prometheus.GaugeValue, failing)
		gauge(descSent, prometheus.CounterValue, float64(s.Sent))
	}
}

// TellsOfGlass reports whether a target that people watch is told when the glass is broken.
func (n *Notifier) TellsOfGlass() bool {
	e := audit.Entry{Action: access.AccessBreak, Outcome: audit.Done, Decision: audit.Allow, Detail: map[string]string{"step": "break"}}
	for _, t := range n.targets {
		if t.Kind != OCSF && t.wants(&e) {
			return true
		}
	}
	return false
}
