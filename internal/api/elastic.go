package api

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"spoor/internal/access"
	"spoor/internal/ingest"
	"spoor/internal/intel"
	"spoor/internal/serve"
	"spoor/internal/source"
)

// The paths below /elastic speak as much of Elasticsearch's protocol as its shippers need to deliver to Spoor: they ask for the version,
// some set up templates and policies first, and all send _bulk.

// elasticVersion is the version that shippers are told: they speak to a server of their own major version or a later one.
const elasticVersion = "8.17.0"

// elastic takes the documents of shippers in.
type elastic struct {
	stream    *ingest.Stream
	documents *prometheus.CounterVec
	processes *sync.Map // *source.Processes, by the account's name: what one sends says nothing of another's machines
}

func newElastic(m ingest.Marker) elastic {
	return elastic{&ingest.Stream{Marker: m},
		prometheus.NewCounterVec(prometheus.CounterOpts{Name: "spoor_documents_total", Help: "Documents received in Elasticsearch's form, by what became of them."}, []string{"outcome"}), new(sync.Map)}
}

func (a *api) registerElastic(mux *http.ServeMux) {
	bulk := elasticHandler(serve.Methods(http.MethodPost, http.HandlerFunc(a.bulk)))
	mux.Handle("/elastic/_bulk", bulk)
	mux.Handle("/elastic/{index}/_bulk", bulk)
	setup := elasticHandler(http.HandlerFunc(a.elasticSetup))
	mux.Handle("/elastic", setup)
	mux.Handle("/elastic/", setup)
}

// elasticHandler adds the header without which Elastic's own clients refuse to go on.
func elasticHandler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Elastic-Product", "Elasticsearch")
		next.ServeHTTP(w, r)
	})
}

// elasticSetup answers what shippers ask or set up before they deliver. Spoor has no indices: what is put is acknowledged and passed over, and
// what is looked for is there.
func (a *api) elasticSetup(w http.ResponseWriter, r *http.Request) {
	if _, err := a.Gate.Identify(r, access.Ingest); err != nil {
		serve.Fail(w, r, err)
		return
	}
	path := strings.Trim(strings.TrimPrefix(r.URL.Path, "/elastic"), "/")
	first, _, _ := strings.Cut(path, "/")
	type object = map[string]any
	var answer any
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		switch first {
		case "":
			answer = object{"name": "spoor", "cluster_name": "spoor", "cluster_uuid": "spoor", "version": object{"number": elasticVersion, "build_flavor": "default", "build_type": "tar",
				"build_hash": "0", "build_date": "2026-01-01T00:00:00Z", "build_snapshot": false, "lucene_version": "9.12.0", "minimum_wire_compatibility_version": "7.17.0",
				"minimum_index_compatibility_version": "7.0.0"}, "tagline": "You Know, for Search"}
		case "_license":
			answer = object{"license": object{"status": "active", "uid": "spoor", "type": "basic"}}
		case "_xpack":
			answer = object{"license": object{"uid": "spoor", "type": "basic", "mode": "basic", "status": "active"}, "features": object{"ilm": object{"available": true, "enabled": true}}}
		case "_cluster":
			answer = object{"cluster_name": "spoor", "status": "green", "timed_out": false}
		case "_cat":
			w.Header().Set("Content-Type", "text/plain; charset=UTF-8")
			if r.Method != http.MethodHead {
				fmt.Fprintln(w, "spoor green 1 1 0 0 0 0 0 0 - 100.0%")
			}
			return
		case "_nodes":
			answer = object{"cluster_name": "spoor", "nodes": object{}}
		default: // a template, policy, pipeline, data stream, alias or index by its name
			answer = object{}
		}
	case http.MethodPut, http.MethodPost:
		if last := path[strings.LastIndexByte(path, '/')+1:]; r.Method == http.MethodPost && last != "" && (last[0] != '_' || last == "_search" || last == "_doc" || last == "_create") {
			serve.Fail(w, r, fmt.Errorf("%w: of Elasticsearch's calls, Spoor takes documents by _bulk alone", serve.ErrNotFound))
			return
		}
		answer = object{"acknowledged": true}
	default:
		w.Header().Set("Allow", "GET, HEAD, PUT, POST")
		serve.Fail(w, r, fmt.Errorf("%s: %w here; use GET, HEAD, PUT, POST", cut(r.Method), serve.ErrMethod))
		return
	}
	writeJSON(w, r, http.StatusOK, answer)
}

// The bounds of a _bulk.
const (
	maxDocument  = 1 << 20 // bytes of a line; a longer one is refused by itself
	maxDocuments = 100_000 // in one request
)

// bulkItem is what became of one document, as Elasticsearch tells it.
type bulkItem struct {
	Index  string     `json:"_index"`
	ID     string     `json:"_id"`
	Result string     `json:"result,omitempty"` // created, or noop for one that was there already or says nothing of files
	Status int        `json:"status"`
	Error  *bulkError `json:"error,omitempty"`
}

type bulkError struct {
	Type   string `json:"type"`
	Reason string `json:"reason"`
}

// document is one of a _bulk on its way in.
type document struct {
	action string // create, index …
	item   bulkItem
	own    bool // the sender gave the _id
	data   []byte
	sum    [sha256.Size]byte // of its content, where it has no id of its own
}

// bulk answers POST /elastic/_bulk and /elastic/{index}/_bulk. Each document counts once, however often and in whatever company it comes:
// it is known by its index and _id, or by its own content when it has no _id. When the store cannot answer the whole request fails, and the
// shipper sends it again.
func (a *api) bulk(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	in, o := a.admitEvents(w, r)
	if in == nil {
		return
	}
	defer in.end()
	processes, _ := a.elastic.processes.LoadOrStore(in.id.Account.Name, new(source.Processes))
	o.Processes = processes.(*source.Processes)
	body, err := unpack(r, in.packed)
	if err != nil {
		serve.Fail(w, r, err)
		return
	}
	var items []map[string]*bulkItem
	failed := false
	take := func(documents []document) error {
		messages := make([]ingest.Message, 0, len(documents))
		var places []int
		for i := range documents {
			d := &documents[i]
			if d.item.Error == nil {
				messages = append(messages, ingest.Message{Name: d.name(in.id.Account.Name), Data: d.data})
				places = append(places, i)
			}
		}
		told, err := a.elastic.stream.Take(in.ctx, o, messages)
		if err != nil {
			return err
		}
		for i, t := range told {
			item := &documents[places[i]].item
			switch t.Fate {
			case ingest.Taken:
				item.Result, item.Status = "created", http.StatusCreated
			case ingest.Refused:
				item.Status, item.Error = http.StatusBadRequest, &bulkError{"document_parsing_exception", cutTo(t.Refusal.Error(), maxReason)}
			default:
				item.Result, item.Status = "noop", http.StatusOK
			}
			a.elastic.documents.WithLabelValues(t.Fate.String()).Inc()
		}
		if n := len(documents) - len(messages); n > 0 {
			a.elastic.documents.WithLabelValues(ingest.Refused.String()).Add(float64(n))
		}
		for i := range documents {
			d := &documents[i]
			failed = failed || d.item.Error != nil
			items = append(items, map[string]*bulkItem{d.action: &d.item})
		}
		return nil
	}
	if err := readBulk(body, r.PathValue("index"), take); err != nil {
		bodyFailed(w, r, bodyError(err))
		return
	}
	if len(items) == 0 {
		serve.Fail(w, r, &intel.Refusal{Reason: "the body holds no document: each is an action on one line and itself on the next"})
		return
	}
	writeJSON(w, r, http.StatusOK, struct {
		Took   int64                  `json:"took"`
		Errors bool                   `json:"errors"`
		Items  []map[string]*bulkItem `json:"items"`
	}{time.Since(start).Milliseconds(), failed, items})
}

// name is the document's own, the same at each delivery.
func (d *document) name(account string) string {
	h := sha256.New()
	if d.own {
		fmt.Fprintf(h, "elastic id\x00%s\x00%s\x00%s", account, d.item.Index, d.item.ID)
	} else {
		fmt.Fprintf(h, "elastic document\x00%s\x00", account)
		h.Write(d.sum[:])
	}
	return string(h.Sum(nil))
}

// contentSum is of what a JSON text says, in whatever order its objects have their keys: Filebeat writes them in another one at each try.
func contentSum(text []byte) [sha256.Size]byte {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if d.Decode(&v) == nil {
		if ordered, err := json.Marshal(v); err == nil {
			text = ordered
		}
	}
	return sha256.Sum256(text)
}

// readBulk reads the lines of a _bulk and hands the documents to take, some at a time.
func readBulk(body io.Reader, index string, take func([]document) error) error {
	lines := bufio.NewReaderSize(body, 64<<10)
	var documents []document
	size, all, number := 0, 0, 0
	next := func() (line []byte, long bool, err error) {
		number++
		for {
			part, err := lines.ReadSlice('\n')
			if long = long || len(line)+len(part) > maxDocument; !long {
				line = append(line, part...)
			}
			switch {
			case errors.Is(err, bufio.ErrBufferFull):
				continue
			case errors.Is(err, io.EOF) && (len(line) > 0 || long):
				err = nil
			}
			return bytes.TrimSpace(line), long, err
		}
	}
	flush := func() error {
		if len(documents) == 0 {
			return nil
		}
		err := take(documents)
		documents, size = nil, 0
		return err
	}
	for {
		line, long, err := next()
		if errors.Is(err, io.EOF) {
			return flush()
		}
		if err != nil {
			return err
		}
		if len(line) == 0 && !long {
			continue
		}
		var actions map[string]struct {
			Index string `json:"_index"`
			ID    string `json:"_id"`
		}
		if long || json.Unmarshal(line, &actions) != nil || len(actions) != 1 {
			return &intel.Refusal{Line: int64(number), Reason: `not an action; {"create":{}} or {"index":{}} is right`}
		}
		for action, of := range actions {
			d := document{action: action, own: of.ID != "", item: bulkItem{Index: cutTo(of.Index, 255), ID: of.ID}}
			if d.item.Index == "" {
				d.item.Index = index
			}
			refuse := func(why string, args ...any) {
				d.item.Status, d.item.Error = http.StatusBadRequest, &bulkError{"illegal_argument_exception", fmt.Sprintf(why, args...)}
			}
			if action != "delete" {
				d.data, long, err = next()
				if errors.Is(err, io.EOF) {
					return &intel.Refusal{Line: int64(number), Reason: "the document of the last action is missing"}
				}
				if err != nil {
					return err
				}
			}
			switch {
			case action != "create" && action != "index":
				if action != "update" && action != "delete" {
					return &intel.Refusal{Line: int64(number), Reason: fmt.Sprintf("there is no action %q", cut(action))}
				}
				refuse("Spoor takes create and index, not %s: what happened does not change", action)
			case len(of.ID) > 512:
				d.item.ID = cut(of.ID)
				refuse("the _id is longer than 512 bytes")
			case long:
				refuse("the document is longer than %d bytes", maxDocument)
			case !json.Valid(d.data):
				refuse("the document is not JSON")
			}
			if !d.own {
				d.sum = contentSum(d.data)
				d.item.ID = fmt.Sprintf("%x", d.sum[:10])
			}
			documents = append(documents, d)
			size += len(d.data)
		}
		if all++; all > maxDocuments {
			return fmt.Errorf("the body is %w: at most %d documents; send it in parts", serve.ErrTooLarge, maxDocuments)
		}
		if len(documents) >= ingest.StreamMessages || size >= ingest.StreamBytes {
			if err := flush(); err != nil {
				return err
			}
		}
	}
}
