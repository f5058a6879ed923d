package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"spoor/internal/arrive"
	"spoor/internal/intel"
	"spoor/internal/source"
	"spoor/internal/store"
)

// arrivals are the ways into a server besides HTTP, as its flags have them.
type arrivals struct {
	spool                  string
	marking                string
	brokers, topics        []string
	group, format          string
	useTLS                 bool
	tlsCA, credentialsFile string
}

func (a *arrivals) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&a.spool, "spool", "", "take in the files that are moved into `DIR`, and move them on to DIR/done or DIR/failed")
	f.StringSliceVar(&a.brokers, "kafka", nil, "take in the records of Kafka; `BROKERS` to ask first, host:port, with commas between")
	f.StringSliceVar(&a.topics, "kafka-topic", nil, "`TOPICS` to take in, with commas between")
	f.StringVar(&a.group, "kafka-group", "spoor", "consumer `GROUP` to be a member of; servers with data directories of their own need groups of their own")
	f.StringVar(&a.format, "kafka-format", "auto", "`FORMAT` of a record, by a name that 'spoor import --help' lists; auto tells JSON and XML apart")
	f.BoolVar(&a.useTLS, "kafka-tls", false, "speak TLS to the brokers")
	f.StringVar(&a.tlsCA, "kafka-tls-ca", "", "trust the brokers' certificates by the authorities in `FILE` (PEM) instead of the system's; with --kafka-tls")
	f.StringVar(&a.credentialsFile, "kafka-credentials", "", "`FILE` that holds a mechanism (PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512), a user and a password, with blanks between")
	f.StringVar(&a.marking, "arriving-marking", "clear", "who may see what comes by --spool and --kafka, a TLP `MARKING`: clear, green, amber, amber+strict, red")
	_ = cmd.MarkFlagDirname("spool")
	for _, file := range []string{"kafka-tls-ca", "kafka-credentials"} {
		_ = cmd.MarkFlagFilename(file)
	}
	var formats []string
	for _, f := range source.Formats() {
		formats = append(formats, string(f))
	}
	complete(cmd, "kafka-format", formats...)
	complete(cmd, "arriving-marking", markings...)
}

// check fails for flags that are wrong or do not belong together.
func (a *arrivals) check() (marking intel.Marking, err error) {
	if a.marking != "" {
		if err := marking.UnmarshalText([]byte(a.marking)); err != nil {
			return marking, &exitError{exitMisuse, fmt.Errorf("--arriving-marking: %w", err)}
		}
	}
	var format source.Format
	switch {
	case (len(a.brokers) == 0) != (len(a.topics) == 0):
		return marking, misuse("--kafka and --kafka-topic belong together")
	case len(a.brokers) > 0 && a.group == "":
		return marking, misuse("--kafka-group: a name is missing")
	case a.tlsCA != "" && !a.useTLS:
		return marking, misuse("--kafka-tls-ca needs --kafka-tls")
	case format.UnmarshalText([]byte(a.format)) != nil:
		return marking, misuse("there is no format %q; 'spoor import --help' lists them", a.format)
	}
	return marking, nil
}

// start begins to take in. What it returns waits, after ctx has ended, until nothing is under way.
func (a *arrivals) start(ctx context.Context, s *store.Store, log *slog.Logger, metrics prometheus.Registerer) (wait func(), err error) {
	marking, err := a.check()
	if err != nil {
		return nil, err
	}
	var ways []func(context.Context)
	if a.spool != "" {
		w := &arrive.Spool{Dir: a.spool, Recorder: s, Options: source.Options{Marking: marking}, Logger: log, Metrics: metrics}
		if err := w.Open(); err != nil {
			return nil, fmt.Errorf("--spool: %w", err)
		}
		ways = append(ways, w.Run)
	}
	if len(a.brokers) > 0 {
		w := &arrive.Kafka{Brokers: a.brokers, Topics: a.topics, Group: a.group, Options: source.Options{Format: source.Format(a.format), Marking: marking},
			Marker: s, Logger: log, Metrics: metrics}
		if a.credentialsFile != "" {
			b, err := os.ReadFile(a.credentialsFile)
			if err != nil {
				return nil, fmt.Errorf("reading Kafka's credentials: %w", err)
			}
			w.Credentials = string(b)
		}
		if a.useTLS {
			w.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		if a.tlsCA != "" {
			pem, err := os.ReadFile(a.tlsCA)
			if err != nil {
				return nil, fmt.Errorf("reading the authorities of Kafka's brokers: %w", err)
			}
			w.TLS.RootCAs = x509.NewCertPool()
			if !w.TLS.RootCAs.AppendCertsFromPEM(pem) {
				return nil, fmt.Errorf("reading the authorities of Kafka's brokers: %s holds no PEM certificate", a.tlsCA)
			}
		}
		if err := w.Open(); err != nil {
			return nil, fmt.Errorf("--kafka: %w", err)
		}
		ways = append(ways, w.Run)
	}
	var running sync.WaitGroup
	for _, run := range ways {
		running.Go(func() { run(ctx) })
	}
	return running.Wait, nil
}
