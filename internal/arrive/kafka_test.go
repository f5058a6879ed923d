package arrive_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"spoor/internal/arrive"
	"spoor/internal/ingest"
	"spoor/internal/intel"
)

// cluster is franz-go's own broker, in this process.
func cluster(t *testing.T, options ...kfake.Opt) *kfake.Cluster {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(1)}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func produce(t *testing.T, c *kfake.Cluster, topic string, partition int32, values ...string) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for len(values) > 0 {
		n := min(len(values), 7) // several batches of the broker
		var records []*kgo.Record
		for _, v := range values[:n] {
			records = append(records, &kgo.Record{Topic: topic, Partition: partition, Value: []byte(v)})
		}
		if err := client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
			t.Fatal(err)
		}
		values = values[n:]
	}
}

// run takes in until done says so.
func run(t *testing.T, k *arrive.Kafka, done func() bool) {
	t.Helper()
	if err := k.Open(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		k.Run(ctx)
	}()
	for begin := time.Now(); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Since(begin) > time.Minute {
			t.Error("it does not come to an end")
			break
		}
	}
	cancel()
	<-ended
}

// committed reports whether a group has committed offset of each partition.
func committed(c *kfake.Cluster, group, topic string, offsets ...int64) func() bool {
	return func() bool {
		g := c.GroupInfo(group)
		if g == nil {
			return false
		}
		for p, offset := range offsets {
			if g.Commits[topic][int32(p)].Offset != offset {
				return false
			}
		}
		return true
	}
}

// unsteady is a store that fails now and then, before it has recorded or after, and ends the consumer now and then.
type unsteady struct {
	ingest.Marker
	mu  sync.Mutex
	rnd *rand.Rand
	end func()
}

func (u *unsteady) RecordMarked(ctx context.Context, marks map[string]uint64, observations []intel.Observation) error {
	u.mu.Lock()
	fate := u.rnd.IntN(6)
	u.mu.Unlock()
	if fate == 0 { // killed before the store had it
		u.end()
		return errors.New("killed")
	}
	err := u.Marker.RecordMarked(ctx, marks, observations)
	if fate <= 2 { // or after it, before the commit
		u.end()
		err = errors.Join(err, errors.New("killed"))
	}
	return err
}

// TestKafkaCountsOnce: whatever is killed, whenever, and whatever commit is lost, each record counts once, in whatever batches it comes
// again. Records that nobody can read stop nothing.
func TestKafkaCountsOnce(t *testing.T) {
	const topic, partitions, each = "logs", 3, 200
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 7))
			c := cluster(t, kfake.SeedTopics(partitions, topic))
			n := 0
			for p := range int32(partitions) {
				var values []string
				for range each {
					n++
					values = append(values, sighting(n))
				}
				values[3], values[50], values[51] = `{"source":`, "\x00\xff", "" // poison
				n -= 3
				produce(t, c, topic, p, values...)
			}
			want := uint64(partitions * (each - 3))
			var lost atomic.Int64
			c.ControlKey(int16(kmsg.OffsetCommit), func(kmsg.Request) (kmsg.Response, error, bool) {
				c.KeepControl()
				if lost.Add(-1) >= 0 {
					return nil, errors.New("lost"), true
				}
				return nil, nil, false
			})
			s := newStore(t)
			for life := 0; life < 1000 && hits(t, s) < want; life++ { // some twenty, as a rule
				if rnd.IntN(3) == 0 {
					lost.Store(1)
				}
				// Each life reads in steps of another size, so that what comes again is cut anew.
				ctx, cancel := context.WithCancel(t.Context())
				k := &arrive.Kafka{Brokers: c.ListenAddrs(), Topics: []string{topic}, Group: "g", Marker: &unsteady{Marker: s, rnd: rnd, end: cancel}, Step: 1 + rnd.IntN(60)}
				if err := k.Open(); err != nil {
					t.Fatal(err)
				}
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					k.Run(ctx)
				}()
				for hits(t, s) < want && ctx.Err() == nil {
					time.Sleep(2 * time.Millisecond)
				}
				cancel()
				<-ended
			}
			if got := hits(t, s); got != want {
				t.Errorf("%d hits, want %d", got, want)
			}
			// All of it once more, for another group.
			metrics := prometheus.NewRegistry()
			again := &arrive.Kafka{Brokers: c.ListenAddrs(), Topics: []string{topic}, Group: "again", Marker: s, Metrics: metrics}
			lost.Store(0)
			run(t, again, committed(c, "again", topic, each, each, each))
			if got := hits(t, s); got != want {
				t.Errorf("%d hits after all of it again, want %d", got, want)
			}
		})
	}
}

// TestKafkaCommitsAfter: while the store fails, nothing is committed.
func TestKafkaCommitsAfter(t *testing.T) {
	c := cluster(t, kfake.SeedTopics(1, "logs"))
	produce(t, c, "logs", 0, sighting(1), sighting(2))
	s := newStore(t)
	var tries atomic.Int64
	run(t, &arrive.Kafka{Brokers: c.ListenAddrs(), Topics: []string{"logs"}, Group: "g", Marker: never{s, &tries}}, func() bool { return tries.Load() > 0 })
	if g := c.GroupInfo("g"); g != nil && len(g.Commits) > 0 {
		t.Errorf("committed: %+v", g.Commits)
	}
	run(t, &arrive.Kafka{Brokers: c.ListenAddrs(), Topics: []string{"logs"}, Group: "g", Marker: s}, committed(c, "g", "logs", 2))
	if got := hits(t, s); got != 2 {
		t.Errorf("%d hits, want 2", got)
	}
}

type never struct {
	ingest.Marker
	tries *atomic.Int64
}

func (n never) RecordMarked(context.Context, map[string]uint64, []intel.Observation) error {
	n.tries.Add(1)
	return intel.ErrUnavailable
}

// TestKafkaTopicAnew: a topic that was deleted and made again is another one.
func TestKafkaTopicAnew(t *testing.T) {
	c := cluster(t, kfake.SeedTopics(1, "logs"))
	s := newStore(t)
	produce(t, c, "logs", 0, sighting(1), sighting(2))
	run(t, &arrive.Kafka{Brokers: c.ListenAddrs(), Topics: []string{"logs"}, Group: "a", Marker: s}, committed(c, "a", "logs", 2))
	if err := c.DeleteTopic("logs"); err != nil {
		t.Fatal(err)
	}
	if err := c.CreateTopic("logs", 1, nil); err != nil {
		t.Fatal(err)
	}
	produce(t, c, "logs", 0, sighting(3))
	run(t, &arrive.Kafka{Brokers: c.ListenAddrs(), Topics: []string{"logs"}, Group: "b", Marker: s}, committed(c, "b", "logs", 1))
	if got := hits(t, s); got != 3 {
		t.Errorf("%d hits, want 3", got)
	}
}

// TestKafkaOutcomes: each record is counted by what became of it; a format that was asked for needs no recognising.
func TestKafkaOutcomes(t *testing.T) {
	c := cluster(t, kfake.SeedTopics(1, "logs"), kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-512", "spoor", "secret"))
	t.Run("refused credentials", func(t *testing.T) {
		for _, credentials := range []string{"PLAIN user", "LDAP user password"} {
			if err := (&arrive.Kafka{Brokers: c.ListenAddrs(), Topics: []string{"logs"}, Group: "g", Credentials: credentials}).Open(); !errors.Is(err, intel.ErrInvalid) {
				t.Errorf("%q: %v", credentials, err)
			}
		}
	})
	mechanism := kgo.SASL(scram.Auth{User: "spoor", Pass: "secret"}.AsSha512Mechanism())
	client, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), mechanism, kgo.DefaultProduceTopic("logs"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, v := range []string{sighting(1), "text of no format", `{"x":1}`, `{"source":{"type":"telemetry","name":"t"},"sighting":{}}`, sighting(2) + "\n" + sighting(3)} {
		if err := client.ProduceSync(t.Context(), kgo.StringRecord(v)).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	metrics := prometheus.NewRegistry()
	s := newStore(t)
	run(t, &arrive.Kafka{Brokers: c.ListenAddrs(), Topics: []string{"logs"}, Group: "g", Marker: s, Metrics: metrics, Credentials: "SCRAM-SHA-512 spoor secret"},
		committed(c, "g", "logs", 5))
	if got := hits(t, s); got != 3 {
		t.Errorf("%d hits, want 3", got)
	}
	err = testutil.GatherAndCompare(metrics, strings.NewReader(`# HELP spoor_kafka_records_total Records of Kafka, by topic and what became of them.
# TYPE spoor_kafka_records_total counter
spoor_kafka_records_total{outcome="other",topic="logs"} 2
spoor_kafka_records_total{outcome="refused",topic="logs"} 1
spoor_kafka_records_total{outcome="taken",topic="logs"} 2
`), "spoor_kafka_records_total")
	if err != nil {
		t.Error(err)
	}
}
