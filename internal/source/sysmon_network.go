package source

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"spoor/internal/intel"
)

// sysmonAccesses are what processes reached before their own start came, or whose start never comes.
type sysmonAccesses struct {
	of     map[string][]*sysmonAccess // by the process's GUID, in order
	known  map[[2]string]*sysmonAccess
	events int64 // how many events they sum up
}

// sysmonAccess sums up what one process reached under one name.
type sysmonAccess struct {
	line        int64 // of the first
	first, last time.Time
	count       uint64
	intel.Access
}

// maxAccesses bounds what waits for the starts of processes, in pairs of a process and an address: about 100 MB.
const maxAccesses = 1 << 18

// accessed tells of an address that a process reached (event 3) or asked for (event 22), now or when the process's start comes.
func (s *sysmon) accessed(e *event) error {
	access, ok := e.access()
	id := guid(e.guid)
	if !ok || id == "" {
		s.r.result.Other++
		return nil
	}
	at, err := sysmonTime(e.utcTime)
	if err != nil {
		s.r.refuse(e.line, "UtcTime", err.Error())
		return nil
	}
	if p, ok := s.processes[id]; ok {
		s.r.result.Used++
		return s.observe(e.line, at, p.Hashes, access)
	}
	w := &s.accesses
	key := [2]string{id, access.URL}
	sum, ok := w.known[key]
	switch {
	case ok:
		sum.add(at, access.IPs)
	case len(w.known) == maxAccesses:
		s.r.refuse(e.line, "ProcessGuid", "too many accesses wait for the events that their processes started with")
		return nil
	default:
		if w.known == nil {
			w.known, w.of = map[[2]string]*sysmonAccess{}, map[string][]*sysmonAccess{}
		}
		sum = &sysmonAccess{line: e.line, first: at, last: at, count: 1, Access: access}
		w.known[key] = sum
		w.of[id] = append(w.of[id], sum)
	}
	w.events++
	return nil
}

func (a *sysmonAccess) add(at time.Time, ips []string) {
	a.count++
	if !at.IsZero() && (a.first.IsZero() || at.Before(a.first)) {
		a.first = at
	}
	if at.After(a.last) {
		a.last = at
	}
	for _, ip := range ips {
		a.IPs = addIP(a.IPs, ip)
	}
}

// accessedBefore tells what a process reached, now that its file is known.
func (s *sysmon) accessedBefore(id string, file intel.Hashes) error {
	w := &s.accesses
	for _, a := range w.of[id] {
		o := intel.Observation{Source: s.source, Time: a.first, Last: a.last, Count: a.count, File: file, Fact: a.Access}
		if a.count == 1 {
			o.Last, o.Count = time.Time{}, 0 // as an event that comes after the start is told
		}
		if err := s.r.observe(a.line, &o); err != nil {
			return err
		}
		w.events -= int64(a.count)
		s.r.result.Used += int64(a.count)
		delete(w.known, [2]string{id, a.URL})
	}
	delete(w.of, id)
	return nil
}

// access returns the address that the event's process reached or asked for; ok is false when the event names none, or the other side came to
// the process. A name that only a local network knows is none: then the IP address stands.
func (e *event) access() (a intel.Access, ok bool) {
	if e.id == 3 {
		a = webAccess(e.destinationHost, e.destinationIP)
		return a, a.URL != "" && strings.EqualFold(e.initiated, "true")
	}
	var ips []string
	for part := range strings.SplitSeq(e.queryResults, ";") { // "type:  5 www.example.com;::ffff:203.0.113.9;"
		ips = addIP(ips, part)
	}
	if _, err := intel.ParseAddress(e.query); err != nil {
		return a, false
	}
	return intel.Access{URL: strings.TrimSpace(e.query), IPs: ips}, true
}

// webAccess returns the access of a URL or a host with an IP address; of the IP address alone when the other is none that can be kept.
// The access is empty when neither is.
func webAccess(url, ip string) intel.Access {
	ips := addIP(nil, ip)
	if url = meaningful(url); url != "" {
		if a, err := intel.ParseAddress(url); err == nil {
			if len(ips) == 1 && ips[0] == a.Host {
				ips = nil
			}
			return intel.Access{URL: url, IPs: ips}
		}
	}
	if len(ips) == 0 {
		return intel.Access{}
	}
	return intel.Access{URL: ips[0]}
}

// addIP adds an IP address, in its one spelling, to those of an observation; what is none, or one too many, is passed over.
func addIP(ips []string, s string) []string {
	ip, err := netip.ParseAddr(strings.TrimSpace(s))
	if err != nil || len(ips) == intel.MaxIPs {
		return ips
	}
	if s = ip.Unmap().WithZone("").String(); slices.Contains(ips, s) {
		return ips
	}
	return append(ips, s)
}
