package source

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/Velocidex/ordereddict"
	"www.velocidex.com/golang/evtx"

	"spoor/internal/intel"
)

// The layout of an event log file: a header, then chunks of fixed size that stand for themselves.
const (
	evtxHeader       = 4096
	evtxChunk        = 64 << 10
	evtxRecords      = 512 // where the records of a chunk begin
	evtxRecordHeader = 24
)

// readSysmonEVTX reads a Windows event log, chunk by chunk, as a stream. Lines of its refusals are record numbers of the log.
func readSysmonEVTX(r *reader) error {
	head := make([]byte, evtxHeader)
	if _, err := io.ReadFull(r.in, head); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			return &intel.Refusal{Reason: "the event log is cut within its header"}
		}
		return err
	}
	if !bytes.HasPrefix(head, []byte("ElfFile\x00")) {
		return &intel.Refusal{Reason: "no event log: it does not begin with ElfFile"}
	}
	used := int(binary.LittleEndian.Uint16(head[42:])) // chunks in use; the rest of the file is room that Windows set aside
	s := newSysmon(r)
	chunk := make([]byte, evtxChunk)
	for n := 0; ; n++ {
		if r.ctx.Err() != nil {
			return r.ctx.Err()
		}
		size, err := io.ReadFull(r.in, chunk)
		if errors.Is(err, io.EOF) {
			break
		}
		if errors.Is(err, io.ErrUnexpectedEOF) {
			r.refuse(0, "", fmt.Sprintf("chunk %d is cut after %d of %d bytes", n, size, evtxChunk))
			break
		}
		if err != nil {
			return errors.Join(err, s.end())
		}
		if !bytes.HasPrefix(chunk, []byte("ElfChnk\x00")) {
			if n < used && len(bytes.Trim(chunk, "\x00")) > 0 {
				r.refuse(0, "", fmt.Sprintf("chunk %d does not begin with ElfChnk", n))
			}
			continue
		}
		records, want, err := parseChunk(chunk)
		if err != nil {
			r.refuse(0, "", fmt.Sprintf("chunk %d: %v", n, err))
		}
		r.result.Records += int64(want)
		if err == nil && len(records) < want {
			r.refuse(0, "", fmt.Sprintf("chunk %d: %d of %d records cannot be read", n, want-len(records), want))
		}
		for _, rec := range records {
			if err := evtxRecord(s, rec); err != nil {
				return err
			}
		}
	}
	return s.end()
}

// parseChunk parses one chunk. The parser trusts what the chunk says of itself, so the chain of records is walked here first, and
// only as many as are whole are asked of it; whatever it still stumbles over is an error of this chunk alone.
func parseChunk(chunk []byte) (records []*evtx.EventRecord, want int, err error) {
	for at := evtxRecords; at+evtxRecordHeader <= len(chunk) && binary.LittleEndian.Uint32(chunk[at:]) == 0x2a2a; {
		size := int(binary.LittleEndian.Uint32(chunk[at+4:]))
		if size < evtxRecordHeader+4 || size > len(chunk)-at {
			break
		}
		want++
		at += size
	}
	if want == 0 {
		return nil, 0, nil
	}
	defer func() {
		if p := recover(); p != nil {
			records, err = nil, fmt.Errorf("not readable: %v", p)
		}
	}()
	c, err := evtx.NewChunk(bytes.NewReader(chunk), 0)
	if err != nil {
		return nil, want, err
	}
	c.Header.FirstEventRecNumber, c.Header.LastEventRecNumber = 1, uint64(want)
	records, err = c.Parse(0)
	return records, want, err
}

// evtxRecord reads one record of a log.
func evtxRecord(s *sysmon, rec *evtx.EventRecord) error {
	r := s.r
	top, ok := rec.Event.(*ordereddict.Dict)
	if !ok {
		r.result.Other++
		return nil
	}
	raw, err := json.Marshal(top)
	if err != nil {
		r.refuse(int64(rec.Header.RecordID), "", "the record's content is not readable")
		return nil
	}
	if !mayMatter(raw) {
		r.result.Other++
		return nil
	}
	line := int64(rec.Header.RecordID)
	e := event{line: line}
	event, _ := ordereddict.GetMap(top, "Event")
	if event == nil {
		r.result.Other++
		return nil
	}
	e.provider, _ = ordereddict.GetString(event, "System.Provider.Name")
	e.channel, _ = ordereddict.GetString(event, "System.Channel")
	host, _ := ordereddict.GetString(event, "System.Computer")
	e.host = clean(host)
	e.id, _ = ordereddict.GetInt(event, "System.EventID.Value")
	if data, ok := ordereddict.GetMap(event, "EventData"); ok {
		for _, k := range data.Keys() {
			if v, ok := data.Get(k); ok && v != nil {
				e.set(k, clean(fmt.Sprint(v)))
			}
		}
	}
	if !e.isSysmon() {
		r.result.Other++
		return nil
	}
	if s.repeated(raw) {
		return nil
	}
	return s.take(&e)
}
