package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"spoor/internal/intel"
)

const arrivingLine = `{"source":{"type":"telemetry","name":"t"},"file":{"md5":"0123456789abcdef0123456789abcdef"},"sighting":{"host":"HOST"}}` + "\n"

// TestServeArrivals: a server takes in what its spool folder and Kafka bring, with the marking that was told, and ends well.
func TestServeArrivals(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "logs"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	producer, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...), kgo.DefaultProduceTopic("logs"))
	if err != nil {
		t.Fatal(err)
	}
	defer producer.Close()
	if err := producer.ProduceSync(t.Context(), kgo.StringRecord(strings.Replace(arrivingLine, "HOST", "kafka", 1))).FirstErr(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	spool := filepath.Join(dir, "spool")
	if err := os.Mkdir(spool, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(spool, "a.ndjson"), []byte(strings.Replace(arrivingLine, "HOST", "spool", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	o := serveOptions{data: filepath.Join(dir, "data"), listen: "127.0.0.1:0", logLevel: "warn", grace: time.Second, requestTimeout: time.Second,
		arrivals: arrivals{spool: spool, brokers: c.ListenAddrs(), topics: []string{"logs"}, group: "g", format: "auto", marking: "amber"}}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- runServe(ctx, o, io.Discard, os.Stderr) }()
	for begin := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		_, err := os.Stat(filepath.Join(spool, "done", "a.ndjson"))
		if g := c.GroupInfo("g"); err == nil && g != nil && g.Commits["logs"][0].Offset == 1 {
			break
		}
		if time.Since(begin) > patience {
			t.Fatal("it takes nothing in")
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	s, err := openStore(o.data, quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	h, err := intel.ParseHash("0123456789abcdef0123456789abcdef")
	if err != nil {
		t.Fatal(err)
	}
	if f, err := s.View(intel.TLPAmber).Recall(t.Context(), h, 0); err != nil || f.Seen.Count != 2 {
		t.Errorf("not seen twice: %v %v", f, err)
	}
	if f, err := s.View(intel.TLPClear).Recall(t.Context(), h, 0); err == nil {
		t.Errorf("seen by who may not: %+v", f.Seen)
	}
}

// TestArrivalsMisuse: flags that do not belong together are told before anything is opened.
func TestArrivalsMisuse(t *testing.T) {
	for _, args := range []string{"--kafka b:1", "--kafka-topic t", "--kafka b:1 --kafka-topic t --kafka-format none", "--kafka b:1 --kafka-topic t --kafka-tls-ca f",
		"--kafka b:1 --kafka-topic t --kafka-group=", "--arriving-marking none --spool x"} {
		data := filepath.Join(t.TempDir(), "d")
		var out, errs strings.Builder
		if code := run(append([]string{"serve", "--data", data}, strings.Fields(args)...), strings.NewReader(""), &out, &errs); code != exitMisuse {
			t.Errorf("%s: exit %d: %s", args, code, errs.String())
		}
		if _, err := os.Stat(data); err == nil {
			t.Errorf("%s: the data directory was made", args)
		}
	}
}
