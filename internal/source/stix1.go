package source

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"spoor/internal/intel"
)

// stix1 reads a part of a STIX 1 package as python-stix writes it in JSON: the hashes of each list "hashes" of an object, which are one file when each
// algorithm occurs once. What else STIX 1 says, and hashes in another form, is not read.
func (x *stix) stix1(key string, raw []byte) error {
	r := x.r
	r.result.Records++
	if raw == nil {
		r.refuse(x.s.begun, key, fmt.Sprintf("STIX 1: a part longer than %d bytes", maxObject))
		return nil
	}
	if !bytes.Contains(bytes.ToLower(raw), []byte("simple_hash_value")) {
		r.result.Other++
		if key == "observables" {
			r.refuse(x.s.begun, key, "STIX 1: only simple hash values are read; convert it to STIX 2.1")
		}
		return nil
	}
	var tree any
	if err := json.Unmarshal(raw, &tree); err != nil {
		r.refuse(x.s.begun, key, "not JSON: "+err.Error())
		return nil
	}
	r.result.Used++
	x.stix1Walk(tree)
	return nil
}

func (x *stix) stix1Walk(v any) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			x.stix1Walk(e)
		}
	case map[string]any:
		for _, key := range sortedKeys(v) {
			list, ok := v[key].([]any)
			if !ok || !strings.EqualFold(key, "hashes") {
				x.stix1Walk(v[key])
				continue
			}
			f, several := stixFile{}, false
			var all []intel.Hashes
			for _, e := range list {
				h, _ := e.(map[string]any)
				value := stix1Text(h["simple_hash_value"]) + stix1Text(h["Simple_Hash_Value"])
				algorithm := stix1Text(h["type"]) + stix1Text(h["Type"])
				a, ok := stixAlgorithm(algorithm)
				if !ok || value == "" {
					continue
				}
				one := stixFile{}
				if why := one.digest(algorithm, value); why != "" {
					x.r.refuse(x.s.begun, key, why)
					continue
				}
				several = several || !f.hashes.Get(a).IsZero()
				f.hashes.Set(one.hashes.Get(a))
				all = append(all, one.hashes)
			}
			if !several {
				all = []intel.Hashes{f.hashes}
			}
			for _, hashes := range all {
				if !hashes.IsZero() {
					x.keep(&stixRecord{line: x.s.begun, listed: true, file: stixFile{hashes: hashes}})
				}
			}
		}
	}
}

// stix1Text is a text, or the value of an object that holds one.
func stix1Text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case map[string]any:
		s, _ := v["value"].(string)
		return s
	}
	return ""
}

func sortedKeys(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
