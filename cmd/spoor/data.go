package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"spoor/client"
	"spoor/internal/kv"
	"spoor/internal/kv/pebble"
	"spoor/internal/store"
)

// place is where a command's data is: a directory that it opens itself, or a server that it asks.
type place struct {
	data, server, token, tokenFile string
	ca, cert, key                  string // TLS of a server
}

// defaultData is the data directory when nothing names another.
const defaultData = "spoor-data"

// dataFlag adds --data alone.
func dataFlag(cmd *cobra.Command, into *string) {
	from := os.Getenv("SPOOR_DATA")
	if from == "" {
		from = defaultData
	}
	cmd.Flags().StringVar(into, "data", from, "data `DIR`ectory ($SPOOR_DATA)")
	_ = cmd.MarkFlagDirname("data") // fails only for a flag that is not there
}

// flags adds --data, --server and what belongs to a server: its token and TLS.
func (p *place) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&p.data, "data", os.Getenv("SPOOR_DATA"), "data `DIR`ectory to open ($SPOOR_DATA; ./"+defaultData+" when nothing is given)")
	cmd.Flags().StringVar(&p.server, "server", os.Getenv("SPOOR_SERVER"), "`URL` of a server to use instead ($SPOOR_SERVER)")
	cmd.Flags().StringVar(&p.tokenFile, "token-file", "", "`FILE` that holds the server's token")
	cmd.Flags().StringVar(&p.token, "token", "", "the server's `TOKEN`; other users of this machine can see it, so prefer --token-file or $SPOOR_TOKEN")
	_ = cmd.MarkFlagDirname("data") // fails only for a flag that is not there
	cmd.Flags().StringVar(&p.ca, "tls-ca", "", "trust the server's certificate by the authorities in `FILE` (PEM) instead of the system's")
	cmd.Flags().StringVar(&p.cert, "tls-cert", "", "TLS client certificate `FILE` (PEM), for a token that is bound to it; with --tls-key")
	cmd.Flags().StringVar(&p.key, "tls-key", "", "TLS client key `FILE` (PEM)")
	for _, file := range []string{"token-file", "tls-ca", "tls-cert", "tls-key"} {
		_ = cmd.MarkFlagFilename(file)
	}
}

// check fails unless exactly one place is given; what the command line says goes before the environment.
func (p *place) check(cmd *cobra.Command) error {
	switch {
	case cmd.Flags().Changed("data") && !cmd.Flags().Changed("server"):
		p.server = ""
	case cmd.Flags().Changed("server") && !cmd.Flags().Changed("data"):
		p.data = ""
	}
	if p.data == "" && p.server == "" {
		p.data = defaultData
	}
	if p.data != "" && p.server != "" {
		return misuse("give --data or --server (or $SPOOR_DATA or $SPOOR_SERVER), not both")
	}
	if p.token != "" && p.tokenFile != "" {
		return misuse("give --token or --token-file, not both")
	}
	if (p.cert == "") != (p.key == "") {
		return misuse("--tls-cert and --tls-key belong together")
	}
	return nil
}

// client makes the client of the server.
func (p *place) client() (*client.Client, error) {
	token := p.token
	if token == "" {
		token = os.Getenv("SPOOR_TOKEN")
	}
	if p.tokenFile != "" {
		b, err := os.ReadFile(p.tokenFile)
		if err != nil {
			return nil, fmt.Errorf("reading the token: %w", err)
		}
		token = strings.TrimSpace(string(b))
	}
	c, err := client.New(p.server, token)
	if err != nil {
		return nil, &exitError{exitMisuse, err}
	}
	if p.ca == "" && p.cert == "" {
		return c, nil
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if p.ca != "" {
		pem, err := os.ReadFile(p.ca)
		if err != nil {
			return nil, fmt.Errorf("reading the authorities: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("reading the authorities: %s holds no PEM certificate", p.ca)
		}
	}
	if p.cert != "" {
		pair, err := tls.LoadX509KeyPair(p.cert, p.key)
		if err != nil {
			return nil, fmt.Errorf("reading the client's certificate: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	c.HTTP.Transport = &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: config, ForceAttemptHTTP2: true}
	return c, nil
}

// openStore opens the data directory, making it when it is not there, for a command that is soon done: with a small cache.
func openStore(dir string, log *slog.Logger) (*store.Store, error) {
	return openStoreWith(dir, log, 64<<20)
}

// openStoreWith does the same with a cache of so many bytes.
func openStoreWith(dir string, log *slog.Logger, cache int64) (*store.Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the data directory: %w", err)
	}
	engine, err := pebble.Open(storeDir(dir), pebble.Options{Logger: log, CacheBytes: cache})
	if err != nil {
		if errors.Is(err, kv.ErrInUse) {
			return nil, fmt.Errorf("the data directory %s is in use by another process (a running 'spoor serve' or 'spoor import'?): "+
				"stop it, or go through it with --server URL", dir)
		}
		return nil, fmt.Errorf("opening the data directory %s: %w", dir, err)
	}
	s, err := store.New(engine, store.Options{Logger: log})
	if err != nil {
		engine.Close()
		return nil, fmt.Errorf("opening the data directory %s: %w", dir, err)
	}
	return s, nil
}

// storeDir is where in a data directory the engine keeps its files; accounts stand beside it.
func storeDir(dir string) string { return dir + string(os.PathSeparator) + "store" }

// mustHold fails when there is no data directory, for commands that only look at or take from its accounts.
func mustHold(dir string) error {
	if _, err := os.Stat(dir); err != nil {
		return fmt.Errorf("there is no data directory %s; 'spoor token create' or 'spoor serve' makes one: %w", dir, err)
	}
	return nil
}

// mustExist fails when a data directory is not there, for commands that only read.
func mustExist(dir string) error {
	if _, err := os.Stat(storeDir(dir)); err != nil {
		return fmt.Errorf("there is no store in %s; 'spoor import' or 'spoor serve' makes one: %w", dir, err)
	}
	return nil
}
