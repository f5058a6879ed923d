package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"spoor/client"
	"spoor/internal/api"
	"spoor/internal/dossier"
	"spoor/internal/intel"
	"spoor/wire"
)

// similarOptions are what 'spoor lookup --similar' is told.
type similarOptions struct {
	on              bool
	distance, score int
}

func (o *similarOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&o.on, "similar", false, "look for files that resemble the given ones")
	f.IntVar(&o.distance, "distance", intel.DefaultReach.Distance, fmt.Sprintf("with --similar: greatest distance of a TLSH, `N` of 0 to %d", intel.MaxDistance))
	f.IntVar(&o.score, "score", intel.DefaultReach.Score, "with --similar: least score of an ssdeep, `N` of 1 to 100")
}

func (o *similarOptions) check(cmd *cobra.Command, asked []string, sections string) error {
	switch {
	case !o.on && (cmd.Flags().Changed("distance") || cmd.Flags().Changed("score")):
		return misuse("--distance and --score go with --similar")
	case !o.on:
		return nil
	case len(asked) == 0:
		return misuse("--similar wants a hash or a fuzzy hash as argument")
	case sections != "":
		return misuse("--sections does not go with --similar")
	case o.distance < 0 || o.distance > intel.MaxDistance:
		return misuse("--distance: %d is not within 0 to %d", o.distance, intel.MaxDistance)
	case o.score < 1 || o.score > 100:
		return misuse("--score: %d is not within 1 to 100", o.score)
	}
	return nil
}

// parseSimilar reads an argument: a hash, a fuzzy hash that shows by its form which it is, or one with its name before it.
func parseSimilar(arg string) (q dossier.SimilarQuery, err error) {
	a, value, fuzzy := intel.LooksFuzzy(arg)
	if !fuzzy {
		q.File, err = intel.ParseHash(arg)
		return q, err
	}
	h, err := intel.ParseFuzzyHash(a, value)
	q.Hashes = []intel.FuzzyHash{h}
	return q, err
}

// run answers all arguments, one after another.
func (o *similarOptions) run(ctx context.Context, p *place, asked []string, out *printer) error {
	queries := make([]dossier.SimilarQuery, len(asked))
	for i, arg := range asked {
		q, err := parseSimilar(arg)
		if err != nil {
			return &exitError{exitMisuse, err}
		}
		q.Reach = intel.DefaultReach
		q.Reach.Distance, q.Reach.Score = o.distance, o.score
		queries[i] = q
	}
	ask, done, err := p.similarAsker()
	if err != nil {
		return err
	}
	defer done()
	unknown := 0
	for i, q := range queries {
		rows, err := ask(ctx, q)
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			unknown++
		}
		if err := out.similar(asked[i], rows); err != nil {
			return err
		}
	}
	if unknown > 0 {
		return &exitError{exitPartly, nil}
	}
	return nil
}

// similarAsker answers one query; an unknown file has none that resemble it.
type similarAsker func(ctx context.Context, q dossier.SimilarQuery) ([]wire.SimilarFile, error)

func (p *place) similarAsker() (similarAsker, func(), error) {
	if p.server != "" {
		c, err := p.client()
		if err != nil {
			return nil, nil, err
		}
		return func(ctx context.Context, q dossier.SimilarQuery) ([]wire.SimilarFile, error) {
			values := url.Values{"distance": {strconv.Itoa(q.Reach.Distance)}, "score": {strconv.Itoa(q.Reach.Score)}}
			if !q.File.IsZero() {
				values.Set("hash", q.File.String())
			}
			for _, h := range q.Hashes {
				values.Set(string(h.Algorithm), h.Value)
			}
			r, err := c.Similar(ctx, values)
			if errors.Is(err, client.ErrUnknown) {
				return nil, nil
			}
			if err != nil {
				return nil, err
			}
			return r.SimilarFiles, nil
		}, func() {}, nil
	}
	if err := mustExist(p.data); err != nil {
		return nil, nil, err
	}
	s, err := openStore(p.data, quiet())
	if err != nil {
		return nil, nil, err
	}
	return func(ctx context.Context, q dossier.SimilarQuery) ([]wire.SimilarFile, error) {
		rows, err := dossier.Similar(ctx, s.View(intel.TLPRed), q)
		if errors.Is(err, intel.ErrUnknown) {
			return nil, nil
		}
		return api.SimilarFiles(rows), err
	}, func() { s.Close() }, nil
}

// similar prints what resembles an argument.
func (p *printer) similar(asked string, rows []wire.SimilarFile) error {
	if p.json {
		e := json.NewEncoder(p.w)
		e.SetEscapeHTML(false)
		return e.Encode(struct {
			Asked        string
			SimilarFiles []wire.SimilarFile
		}{asked, append([]wire.SimilarFile{}, rows...)})
	}
	w := bufio.NewWriter(p.w)
	if p.begun {
		fmt.Fprintln(w)
	}
	p.begun = true
	if len(rows) == 0 {
		fmt.Fprintf(w, "%s: nothing that resembles it is known\n", printable(asked))
		return w.Flush()
	}
	fmt.Fprintf(w, "%s: %d resemble it\n", printable(asked), len(rows))
	for i := range rows {
		x := &rows[i]
		fmt.Fprintf(w, "  %2d %%  %-16s %s  %s\n", x.Confidence, x.Status, known(x.Md5, x.Sha1, x.Sha256), printable(strings.Join(append(nonEmpty(x.DetectionName), strings.Join(x.Evidence, "; ")), "  ")))
	}
	return w.Flush()
}

func nonEmpty(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}
