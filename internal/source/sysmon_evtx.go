package source

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

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
		if err := evtxChunkRecords(s, n, chunk); err != nil {
			return err
		}
	}
	// Also of an input that is cut, all that was read is told.
	return s.end()
}

// evtxChunkRecords reads the records of one chunk, which follow one another. Where the row is broken it goes on at the next record.
func evtxChunkRecords(s *sysmon, n int, chunk []byte) error {
	r := s.r
	x := binXML{b: chunk, names: map[int]string{}}
	// The chunk says where its records end. Behind that stand records that it does not count yet, when the log was copied while it was written
	// to: they go on with the next number. Or what is left of older ones.
	end := min(int64(binary.LittleEndian.Uint32(chunk[48:])), evtxChunk)
	at, last := evtxRecords, uint64(0)
	for {
		size := evtxRecordSize(chunk[at:])
		if size == 0 {
			if int64(at) >= end {
				return nil
			}
			next := at + 1
			for next < len(chunk) && evtxRecordSize(chunk[next:]) == 0 {
				next++
			}
			r.refuse(0, "", fmt.Sprintf("chunk %d is not readable from byte %d to %d", n, at, next))
			at = next
			continue
		}
		id := binary.LittleEndian.Uint64(chunk[at+8:])
		if int64(at) >= end && id != last+1 {
			return nil
		}
		last = id
		r.result.Records++
		e, matters, err := x.event(at+evtxRecordHeader, at+size-4)
		e.line = int64(id & (1<<63 - 1))
		at += size
		switch {
		case err != nil:
			r.refuse(e.line, "", fmt.Sprintf("not readable in chunk %d: %v", n, err))
		case !matters || !e.isSysmon():
			r.result.Other++
		case !s.repeated(x.raw):
			if err := s.take(&e); err != nil {
				return err
			}
		}
	}
}

// evtxRecordSize returns the size of the record at the beginning of b, which stands before and behind it, and 0 when there is none.
func evtxRecordSize(b []byte) int {
	if len(b) < evtxRecordHeader+4 || !bytes.HasPrefix(b, []byte("**\x00\x00")) {
		return 0
	}
	size := int64(binary.LittleEndian.Uint32(b[4:]))
	if size < evtxRecordHeader+4 || size > int64(len(b)) || int64(binary.LittleEndian.Uint32(b[size-4:])) != size {
		return 0
	}
	return int(size)
}

func sniffEVTX(s *sample) int {
	if bytes.HasPrefix(s.head, []byte("ElfFile\x00")) {
		return 100
	}
	return 0
}
