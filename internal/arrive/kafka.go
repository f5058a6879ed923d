package arrive

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"spoor/internal/ingest"
	"spoor/internal/intel"
	"spoor/internal/source"
)

// Kafka takes in the records of topics as a member of a consumer group.
//
// How far a partition has been taken in stands in the store, as a mark that is written in the same step as the observations. What a broker
// delivers again, after a crash, a rebalance or a commit that was lost, is before the mark and counts nothing, however it is cut. The
// group's own offset is committed only afterwards; it tells the broker, and where to begin after a restart, and nothing else follows from it.
//
// A record is one message: an event, or an input of its own. One that cannot be read is counted and logged, and the next goes on.
type Kafka struct {
	Brokers, Topics []string
	Group           string
	Options         source.Options // Now is set for each delivery
	Marker          ingest.Marker
	TLS             *tls.Config // nil: none
	// Credentials are a mechanism (PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512), a user and a password with blanks between; "" are none.
	Credentials string
	Step        int // the greatest number of records taken in at once; 0 means 4096
	Logger      *slog.Logger
	Metrics     prometheus.Registerer // nil: none

	client  *kgo.Client
	next    map[string]int64    // the next offset by the name of the partition's mark, as far as it is known
	ids     map[string][16]byte // of topics
	records *prometheus.CounterVec
	lag     *prometheus.GaugeVec
}

// Open checks the options and makes the client. It does not wait for a broker.
func (k *Kafka) Open() error {
	if k.Logger == nil {
		k.Logger = slog.New(slog.DiscardHandler)
	}
	if k.Step == 0 {
		k.Step = ingest.StreamMessages
	}
	if k.Options.Processes == nil {
		k.Options.Processes = new(source.Processes)
	}
	k.next, k.ids = map[string]int64{}, map[string][16]byte{}
	options := []kgo.Opt{
		kgo.ClientID("spoor"),
		kgo.SeedBrokers(k.Brokers...),
		kgo.ConsumerGroup(k.Group),
		kgo.ConsumeTopics(k.Topics...),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(), // a partition is not given away while its records are being recorded
		kgo.FetchMaxBytes(16 << 20),
		kgo.WithLogger(clientLog{k.Logger}),
	}
	if k.TLS != nil {
		options = append(options, kgo.DialTLSConfig(k.TLS))
	}
	if k.Credentials != "" {
		mechanism, err := mechanismOf(k.Credentials)
		if err != nil {
			return err
		}
		options = append(options, kgo.SASL(mechanism))
	}
	client, err := kgo.NewClient(options...)
	if err != nil {
		return fmt.Errorf("making the Kafka client: %w", err)
	}
	k.client = client
	k.records = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "spoor_kafka_records_total", Help: "Records of Kafka, by topic and what became of them."}, []string{"topic", "outcome"})
	k.lag = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "spoor_kafka_lag_records", Help: "Records of a partition that are still to be taken in."}, []string{"topic", "partition"})
	if k.Metrics != nil {
		k.Metrics.MustRegister(k.records, k.lag)
	}
	return nil
}

func mechanismOf(credentials string) (sasl.Mechanism, error) {
	f := strings.Fields(credentials)
	if len(f) != 3 {
		return nil, &intel.Refusal{Field: "credentials", Reason: "they are not a mechanism, a user and a password with blanks between"}
	}
	switch f[0] {
	case "PLAIN":
		return plain.Auth{User: f[1], Pass: f[2]}.AsMechanism(), nil
	case "SCRAM-SHA-256":
		return scram.Auth{User: f[1], Pass: f[2]}.AsSha256Mechanism(), nil
	case "SCRAM-SHA-512":
		return scram.Auth{User: f[1], Pass: f[2]}.AsSha512Mechanism(), nil
	}
	return nil, &intel.Refusal{Field: "credentials", Reason: fmt.Sprintf("there is no mechanism %q; PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512 is right", f[0])}
}

// Run takes records in until ctx ends, and leaves the group. A failure is logged and tried again.
func (k *Kafka) Run(ctx context.Context) {
	defer k.client.CloseAllowingRebalance()
	var wait time.Duration
	for {
		fetches := k.client.PollRecords(ctx, k.Step)
		if ctx.Err() != nil || fetches.IsClientClosed() {
			return
		}
		fetches.EachError(func(topic string, partition int32, err error) {
			k.Logger.Error("Kafka cannot be read; trying again", "topic", topic, "partition", partition, "error", err)
		})
		var taken []*kgo.Record // the last of each partition
		fetches.EachTopic(func(t kgo.FetchTopic) {
			if t.TopicID != ([16]byte{}) {
				k.ids[t.Topic] = t.TopicID
			}
			t.EachPartition(func(p kgo.FetchPartition) {
				if len(p.Records) == 0 || !k.partition(ctx, k.mark(t.Topic, p.Partition), p.Records) {
					return
				}
				last := p.Records[len(p.Records)-1]
				taken = append(taken, last)
				k.lag.WithLabelValues(t.Topic, strconv.Itoa(int(p.Partition))).Set(float64(max(p.HighWatermark-last.Offset-1, 0)))
			})
		})
		if len(taken) > 0 {
			// A commit that fails is made good by the next one; what is delivered again meanwhile counts nothing.
			if err := k.client.CommitRecords(ctx, taken...); err != nil && ctx.Err() == nil {
				k.Logger.Warn("Kafka did not take the commit of offsets", "error", err)
			}
		}
		k.client.AllowRebalance()
		if wait = min(wait, longestPause); len(taken) == 0 && len(fetches.Errors()) > 0 {
			wait = pause(ctx, wait)
		} else {
			wait = 0
		}
	}
}

// mark names how far a partition has been taken in. A topic that is deleted and made again under its name has another id (since Kafka 3.1).
func (k *Kafka) mark(topic string, partition int32) string {
	return fmt.Sprintf("kafka\x00%s\x00%x\x00%d", topic, k.ids[topic], partition)
}

// partition takes in records of one partition, in the order of their offsets; it tries until the store has them, and returns false only when
// ctx ends before.
func (k *Kafka) partition(ctx context.Context, mark string, records []*kgo.Record) bool {
	for len(records) > 0 {
		n, size := 0, 0
		for n < len(records) && (n == 0 || size+len(records[n].Value) <= ingest.StreamBytes) {
			size += len(records[n].Value)
			n++
		}
		var wait time.Duration
		for {
			err := k.take(ctx, mark, records[:n])
			if err == nil {
				break
			}
			if ctx.Err() != nil {
				return false
			}
			k.Logger.Error("what Kafka delivered cannot be recorded; trying again", "topic", records[0].Topic, "partition", records[0].Partition, "offset", records[0].Offset, "error", err)
			delete(k.next, mark) // whether the store has it or not, the store itself tells
			if wait = pause(ctx, wait); ctx.Err() != nil {
				return false
			}
		}
		records = records[n:]
	}
	return true
}

// take records what the records say, but for those before the mark.
func (k *Kafka) take(ctx context.Context, mark string, records []*kgo.Record) error {
	next, ok := k.next[mark]
	if !ok {
		marks, err := k.Marker.Marks(ctx, []string{mark})
		if err != nil {
			return err
		}
		next = int64(marks[0])
	}
	var messages []ingest.Message
	var fresh []*kgo.Record
	for _, r := range records {
		if r.Offset < next {
			continue
		}
		messages = append(messages, ingest.Message{Data: r.Value})
		fresh = append(fresh, r)
	}
	if n := len(records) - len(fresh); n > 0 {
		k.records.WithLabelValues(records[0].Topic, ingest.Repeated.String()).Add(float64(n))
	}
	if len(fresh) == 0 {
		return nil
	}
	o := k.Options
	o.Now = time.Now()
	observations, told, err := ingest.Read(ctx, o, messages)
	if err != nil {
		return err
	}
	after := fresh[len(fresh)-1].Offset + 1
	if len(observations) > 0 {
		if err := k.Marker.RecordMarked(ctx, map[string]uint64{mark: uint64(after)}, observations); err != nil {
			return err
		}
	}
	k.next[mark] = after
	refused := 0
	for i, t := range told {
		k.records.WithLabelValues(fresh[i].Topic, t.Fate.String()).Inc()
		if t.Fate == ingest.Refused {
			if refused++; refused == 1 {
				k.Logger.Warn("a record of Kafka was refused", "topic", fresh[i].Topic, "partition", fresh[i].Partition, "offset", fresh[i].Offset, "reason", t.Refusal.Error())
			}
		}
	}
	if refused > 1 {
		k.Logger.Warn("more records of Kafka were refused beside it", "topic", fresh[0].Topic, "partition", fresh[0].Partition, "records", refused-1)
	}
	return nil
}

// clientLog hands on what the client itself tells: brokers that cannot be reached, credentials that are refused.
type clientLog struct{ l *slog.Logger }

func (clientLog) Level() kgo.LogLevel { return kgo.LogLevelWarn }

func (c clientLog) Log(level kgo.LogLevel, message string, pairs ...any) {
	at := slog.LevelWarn
	if level == kgo.LogLevelError {
		at = slog.LevelError
	}
	c.l.Log(context.Background(), at, "kafka: "+message, pairs...)
}
