package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"golang.org/x/text/encoding/unicode"

	"spoor/client"
	"spoor/internal/api"
	"spoor/internal/dossier"
	"spoor/internal/intel"
	"spoor/internal/source"
	"spoor/internal/store"
	"spoor/wire"
)

func newLookup() *cobra.Command {
	var p place
	var asJSON, long bool
	var sections string
	var alike similarOptions
	cmd := &cobra.Command{
		Use:   "lookup [flags] [HASH…]",
		Short: "Tell what is known of files",
		Long: `Lookup answers MD5, SHA-1 and SHA-256 hashes. Without arguments it reads any text on standard input, a whole log, a
report, the output of sha256sum, and answers every hash in it once. Up to three hashes are answered in full, more with a line each.

With --json each answer is one line: the keys of the API's answer, and Hash and Known.

With --similar it looks for files that resemble instead. Each argument is a hash of a known file, a TLSH or ssdeep digest, or another fuzzy
hash with its name before it: imphash:…, authentihash:…, richhash:…, iconhash:…, telfhash:…, symhash:…. The surest come first, with what they are told by.

Exit codes: 0 all known; 3 some unknown; 2 misuse; 1 failure.`,
		Example: `  spoor lookup --data /var/lib/spoor 44d88612fea8a8f36de82e1278abb02f
  spoor lookup --server https://spoor.example --token-file token --json < alert.txt
  sha256sum /mnt/image/bin/* | spoor lookup
  spoor lookup --similar --distance 60 44d88612fea8a8f36de82e1278abb02f
  spoor lookup --similar imphash:f34d5f2d4577ed6d9ceec516c1f5a744`,
		Args: args(cobra.ArbitraryArgs),
		RunE: func(cmd *cobra.Command, asked []string) error {
			if err := p.check(cmd); err != nil {
				return err
			}
			if err := alike.check(cmd, asked, sections); err != nil {
				return err
			}
			if alike.on {
				return alike.run(cmd.Context(), &p, asked, &printer{w: cmd.OutOrStdout(), colour: colours(cmd.OutOrStdout()), json: asJSON, full: true})
			}
			names, err := dossier.ParseSections(sections)
			if err != nil {
				return &exitError{exitMisuse, err}
			}
			hashes, err := readHashes(cmd.Context(), asked, cmd.InOrStdin())
			if err != nil {
				return err
			}
			ask, done, err := p.asker()
			if err != nil {
				return err
			}
			defer done()
			out := printer{w: cmd.OutOrStdout(), colour: colours(cmd.OutOrStdout()), json: asJSON, full: long || len(hashes) <= 3}
			if names == nil && !asJSON && !out.full {
				names = []dossier.Section{dossier.Zone, dossier.FileGeneralInfo, dossier.DetectionsInfo, dossier.FileNames}
			}
			if names == nil && !asJSON {
				names = dossier.AllSections()
			}
			pr := newProgress(cmd.ErrOrStderr())
			unknown, err := lookup(cmd.Context(), hashes, names, ask, &out, func(n int) {
				if len(hashes) > 100 && !isTerminal(cmd.OutOrStdout()) {
					pr.say("%d of %d hashes", n, len(hashes))
				}
			})
			pr.done()
			if err != nil {
				return err
			}
			if unknown > 0 {
				return &exitError{exitPartly, nil}
			}
			return nil
		},
	}
	p.flags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print each answer as a line of JSON")
	cmd.Flags().BoolVar(&long, "long", false, "answer in full, however many hashes")
	cmd.Flags().StringVar(&sections, "sections", "", "only these `SECTIONS`, by their names in the API, separated by commas")
	alike.flags(cmd)
	var names []string
	for _, s := range dossier.AllSections() {
		names = append(names, string(s))
	}
	completeList(cmd, "sections", names...)
	cmd.ValidArgsFunction = cobra.NoFileCompletions
	return cmd
}

// readHashes reads the hashes of the command line, or all that stand in the text on standard input, each once.
func readHashes(ctx context.Context, asked []string, stdin io.Reader) ([]intel.Hash, error) {
	var hashes []intel.Hash
	if len(asked) > 0 && !(len(asked) == 1 && asked[0] == "-") {
		for _, a := range asked {
			h, err := intel.ParseHash(a)
			if err != nil {
				return nil, &exitError{exitMisuse, err}
			}
			hashes = append(hashes, h)
		}
		return hashes, nil
	}
	if isTerminal(stdinWriter(stdin)) {
		return nil, misuse("give hashes as arguments, or any text that holds them on standard input")
	}
	const most = 1 << 30
	text, err := io.ReadAll(io.LimitReader(untilDone(ctx, stdin), most+1))
	if err != nil {
		return nil, fmt.Errorf("reading standard input: %w", err)
	}
	if len(text) > most {
		return nil, misuse("standard input holds more than %d bytes; ask in parts", most)
	}
	if text, err = plain(text); err != nil {
		return nil, fmt.Errorf("reading standard input: %w", err)
	}
	seen := map[intel.Hash]bool{}
	for _, h := range source.FindHashes(text) {
		if !seen[h] {
			seen[h] = true
			hashes = append(hashes, h)
		}
	}
	if len(hashes) == 0 {
		return nil, misuse("there is no MD5, SHA-1 or SHA-256 in what standard input holds")
	}
	return hashes, nil
}

// plain turns UTF-16, as Windows programs write it, into UTF-8. Without a mark it shows by the zero beside each plain letter.
func plain(text []byte) ([]byte, error) {
	if len(text) < 4 {
		return text, nil
	}
	marked := bytes.HasPrefix(text, []byte{0xFF, 0xFE}) || bytes.HasPrefix(text, []byte{0xFE, 0xFF})
	if !marked && !(text[0] != 0 && text[1] == 0 && text[3] == 0) {
		return text, nil
	}
	return unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewDecoder().Bytes(text)
}

func stdinWriter(r io.Reader) io.Writer {
	w, _ := r.(io.Writer)
	return w
}

// asker asks for one hash; a nil report is an unknown one.
type asker func(ctx context.Context, h intel.Hash, sections []dossier.Section) (*wire.HashReport, error)

// asker opens the place.
func (p *place) asker() (asker, func(), error) {
	if p.server != "" {
		c, err := p.client()
		if err != nil {
			return nil, nil, err
		}
		return func(ctx context.Context, h intel.Hash, sections []dossier.Section) (*wire.HashReport, error) {
			names := make([]string, len(sections))
			for i, s := range sections {
				names[i] = string(s)
			}
			r, err := c.Hash(ctx, h.String(), names...)
			if errors.Is(err, client.ErrUnknown) {
				return nil, nil
			}
			return r, err
		}, func() {}, nil
	}
	if err := mustExist(p.data); err != nil {
		return nil, nil, err
	}
	s, err := openStore(p.data, quiet())
	if err != nil {
		return nil, nil, err
	}
	return storeAsker(s, intel.TLPRed), func() { s.Close() }, nil
}

// storeAsker asks a store.
func storeAsker(s *store.Store, clearance intel.Marking) asker {
	return func(ctx context.Context, h intel.Hash, sections []dossier.Section) (*wire.HashReport, error) {
		d, err := dossier.Build(ctx, s.View(clearance), h, dossier.Query{Sections: sections})
		if errors.Is(err, intel.ErrUnknown) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		return api.Report(d), nil
	}
}

// lookup asks for all hashes, several at a time, prints the answers in order, and counts the unknown.
func lookup(ctx context.Context, hashes []intel.Hash, sections []dossier.Section, ask asker, out *printer, progress func(int)) (unknown int, err error) {
	const atOnce = 8
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		report *wire.HashReport
		err    error
		done   chan struct{}
	}
	answers := make([]answer, len(hashes))
	for i := range answers {
		answers[i].done = make(chan struct{})
	}
	next := make(chan int)
	var wg sync.WaitGroup
	for range min(atOnce, len(hashes)) {
		wg.Go(func() {
			for i := range next {
				answers[i].report, answers[i].err = ask(ctx, hashes[i], sections)
				close(answers[i].done)
			}
		})
	}
	// No more than a few hundred answers wait to be printed.
	ahead := make(chan struct{}, 256)
	go func() {
		defer close(next)
		for i := range hashes {
			select {
			case ahead <- struct{}{}:
			case <-ctx.Done():
				return
			}
			select {
			case next <- i:
			case <-ctx.Done():
				return
			}
		}
	}()
	defer wg.Wait()
	defer cancel()
	for i, h := range hashes {
		select {
		case <-answers[i].done:
		case <-ctx.Done():
			return unknown, ctx.Err()
		}
		a := &answers[i]
		<-ahead
		if a.err != nil {
			return unknown, a.err
		}
		if a.report == nil {
			unknown++
		}
		if err := out.print(h, a.report); err != nil {
			return unknown, err
		}
		a.report = nil
		progress(i + 1)
	}
	return unknown, nil
}

// printer prints answers.
type printer struct {
	w      io.Writer
	colour bool
	json   bool
	full   bool
	begun  bool
}

func (p *printer) print(h intel.Hash, r *wire.HashReport) error {
	switch {
	case p.json:
		e := json.NewEncoder(p.w)
		e.SetEscapeHTML(false)
		return e.Encode(struct {
			Hash  string
			Known bool
			*wire.HashReport
		}{upperHex(h), r != nil, r})
	case !p.full:
		return p.line(h, r)
	}
	if p.begun {
		fmt.Fprintln(p.w)
	}
	p.begun = true
	return p.dossier(h, r)
}

func upperHex(h intel.Hash) string { return strings.ToUpper(h.String()) }

var zoneColours = map[wire.Zone]string{wire.Red: "1;31", wire.Orange: "33", wire.Yellow: "1;33", wire.Grey: "2", wire.Green: "32"}

func (p *printer) zone(z wire.Zone, width int) string {
	text := fmt.Sprintf("%-*s", width, z)
	if !p.colour {
		return text
	}
	return "\x1b[" + zoneColours[z] + "m" + text + "\x1b[0m"
}

// line prints an answer on one line: zone, hash, hits, last seen, what it is.
func (p *printer) line(h intel.Hash, r *wire.HashReport) error {
	if r == nil {
		_, err := fmt.Fprintf(p.w, "%-7s %s\n", "unknown", h)
		return err
	}
	var what []string
	if len(r.DetectionsInfo) > 0 {
		what = append(what, r.DetectionsInfo[0].DetectionName)
	}
	if len(r.FileNames) > 0 {
		what = append(what, r.FileNames[0].FileName)
	}
	g := r.FileGeneralInfo
	if g == nil {
		g = &wire.FileGeneralInfo{}
	}
	_, err := fmt.Fprintf(p.w, "%s %s  %d hits  %s  %s\n", p.zone(r.Zone, 7), h, g.HitsCount, g.LastSeen, printable(strings.Join(what, "  ")))
	return err
}

// printable takes out of foreign text what a terminal would obey.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7F || 0x80 <= r && r < 0xA0 || slices.Contains([]rune{0x202A, 0x202B, 0x202D, 0x202E, 0x2066, 0x2067, 0x2068, 0x200F, 0x200E}, r) {
			return '�'
		}
		return r
	}, s)
}
