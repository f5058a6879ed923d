package feed

import "github.com/prometheus/client_golang/prometheus"

var (
	metricSuccess  = prometheus.NewDesc("spoor_feed_last_success_timestamp_seconds", "When the feed last went well.", []string{"feed"}, nil)
	metricEntries  = prometheus.NewDesc("spoor_feed_entries", "Entries of the feed's last snapshot.", []string{"feed"}, nil)
	metricFailures = prometheus.NewDesc("spoor_feed_failures_total", "Runs of the feed that failed.", []string{"feed"}, nil)
	metricHeld     = prometheus.NewDesc("spoor_feed_held", "1 while what the feed gave waits for a person.", []string{"feed"}, nil)
)

// Describe implements [prometheus.Collector].
func (r *Runner) Describe(c chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{metricSuccess, metricEntries, metricFailures, metricHeld} {
		c <- d
	}
}

// Collect implements [prometheus.Collector].
func (r *Runner) Collect(c chan<- prometheus.Metric) {
	all, _ := r.Status()
	for i := range all {
		s := &all[i]
		held, success := 0.0, 0.0
		if s.Held != nil {
			held = 1
		}
		if !s.Success.IsZero() {
			success = float64(s.Success.Unix())
		}
		c <- prometheus.MustNewConstMetric(metricSuccess, prometheus.GaugeValue, success, s.Name)
		c <- prometheus.MustNewConstMetric(metricEntries, prometheus.GaugeValue, float64(s.Entries), s.Name)
		c <- prometheus.MustNewConstMetric(metricFailures, prometheus.CounterValue, float64(s.Failures), s.Name)
		c <- prometheus.MustNewConstMetric(metricHeld, prometheus.GaugeValue, held, s.Name)
	}
}
