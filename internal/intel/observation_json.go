package intel

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"time"
)

// observationJSON is the published spelling of an observation: exactly one of the fact fields is set.
type observationJSON struct {
	Source  Source    `json:"source"`
	Time    time.Time `json:"time,omitzero"`
	Last    time.Time `json:"last,omitzero"`
	Count   uint64    `json:"count,omitzero"`
	File    Hashes    `json:"file,omitzero"`
	Address string    `json:"address,omitempty"`

	Attribute   *Attribute      `json:"attribute,omitempty"`
	Sighting    *Sighting       `json:"sighting,omitempty"`
	Relation    *Relation       `json:"relation,omitempty"`
	Access      *Access         `json:"access,omitempty"`
	Download    *Download       `json:"download,omitempty"`
	Detection   *Detection      `json:"detection,omitempty"`
	Listing     *Listing        `json:"listing,omitempty"`
	Signature   *Signature      `json:"signature,omitempty"`
	Certificate *Certificate    `json:"certificate,omitempty"`
	Publication *Publication    `json:"publication,omitempty"`
	FuzzyHash   *FuzzyHash      `json:"fuzzy_hash,omitempty"`
	Verdict     *AnalystVerdict `json:"verdict,omitempty"`
}

// MarshalJSON writes the published form.
func (o Observation) MarshalJSON() ([]byte, error) {
	j := observationJSON{Source: o.Source, Time: o.Time, Last: o.Last, Count: o.Count, File: o.File, Address: o.Address}
	switch f := o.Fact.(type) {
	case Attribute:
		j.Attribute = &f
	case Sighting:
		j.Sighting = &f
	case Relation:
		j.Relation = &f
	case Access:
		j.Access = &f
	case Download:
		j.Download = &f
	case Detection:
		j.Detection = &f
	case Listing:
		j.Listing = &f
	case Signature:
		j.Signature = &f
	case Certificate:
		j.Certificate = &f
	case Publication:
		j.Publication = &f
	case FuzzyHash:
		j.FuzzyHash = &f
	case AnalystVerdict:
		j.Verdict = &f
	default:
		return nil, fmt.Errorf("observation without a fact: %w", ErrInvalid)
	}
	return json.Marshal(j)
}

// ParseObservation reads one line of the NDJSON form. A field that the form does not have is refused by name;
// the result has passed [Observation.Check].
func ParseObservation(line []byte) (Observation, error) {
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.DisallowUnknownFields()
	var j observationJSON
	if err := dec.Decode(&j); err != nil {
		return Observation{}, lineRefusal(line, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return Observation{}, &Refusal{Reason: "more than one JSON value on the line"}
	}
	o := Observation{Source: j.Source, Time: j.Time, Last: j.Last, Count: j.Count, File: j.File, Address: j.Address}
	n := 0
	set := func(given bool, f func() Fact) {
		if given {
			o.Fact = f()
			n++
		}
	}
	set(j.Attribute != nil, func() Fact { return *j.Attribute })
	set(j.Sighting != nil, func() Fact { return *j.Sighting })
	set(j.Relation != nil, func() Fact { return *j.Relation })
	set(j.Access != nil, func() Fact { return *j.Access })
	set(j.Download != nil, func() Fact { return *j.Download })
	set(j.Detection != nil, func() Fact { return *j.Detection })
	set(j.Listing != nil, func() Fact { return *j.Listing })
	set(j.Signature != nil, func() Fact { return *j.Signature })
	set(j.Certificate != nil, func() Fact { return *j.Certificate })
	set(j.Publication != nil, func() Fact { return *j.Publication })
	set(j.FuzzyHash != nil, func() Fact { return *j.FuzzyHash })
	set(j.Verdict != nil, func() Fact { return *j.Verdict })
	if n != 1 {
		return Observation{}, &Refusal{Reason: fmt.Sprintf("%d facts on the line; give exactly one of %s", n, strings.Join(Kinds(), ", "))}
	}
	if err := o.Check(); err != nil {
		return Observation{}, err
	}
	return o, nil
}

// lineRefusal turns an error of reading the line into a Refusal that names the field, or the byte where the JSON breaks.
func lineRefusal(line []byte, err error) error {
	if r := misfit(line, reflect.TypeFor[observationJSON]()); r != nil {
		return r
	}
	return jsonRefusal(err)
}

// misfit returns the first field of a JSON object that the struct t does not have or cannot hold, by its whole name; nil when there is none.
// The decoder's own errors name the last part of it at most.
func misfit(object []byte, t reflect.Type) error {
	dec := json.NewDecoder(bytes.NewReader(object))
	if brace, err := dec.Token(); err != nil || brace != json.Delim('{') {
		return nil
	}
	for dec.More() {
		key, err := dec.Token()
		name, ok := key.(string)
		if err != nil || !ok {
			return nil
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil
		}
		field := fieldType(t, name)
		switch {
		case field == nil:
			return &Refusal{Field: strings.Trim(quoteShort(name), `"`), Reason: "no such field in an observation"}
		case field.Kind() == reflect.Struct && value[0] == '{' && !reflect.PointerTo(field).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
			err = misfit(value, field)
		default:
			if err = json.Unmarshal(value, reflect.New(field).Interface()); err != nil {
				err = jsonRefusal(err)
			}
		}
		if err != nil {
			return within(name, err)
		}
	}
	return nil
}

// fieldType returns the type of the field that JSON calls name, without pointer; nil when t has none.
func fieldType(t reflect.Type, name string) reflect.Type {
	for _, f := range reflect.VisibleFields(t) {
		tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if tag == "" || !strings.EqualFold(tag, name) { // as encoding/json finds it
			continue
		}
		if f.Type.Kind() == reflect.Pointer {
			return f.Type.Elem()
		}
		return f.Type
	}
	return nil
}

// jsonRefusal turns an error of encoding/json into a Refusal.
func jsonRefusal(err error) error {
	var ref *Refusal
	var typ *json.UnmarshalTypeError
	var syn *json.SyntaxError
	var at *time.ParseError
	switch {
	case errors.As(err, &ref):
		return ref
	case errors.As(err, &typ):
		return &Refusal{Field: typ.Field, Reason: fmt.Sprintf("a JSON %s where %s belongs", typ.Value, jsonName(typ.Type))}
	case errors.As(err, &syn):
		return &Refusal{Reason: fmt.Sprintf("not JSON at byte %d: %v", syn.Offset, syn)}
	case errors.As(err, &at):
		return &Refusal{Reason: fmt.Sprintf("%s is no time; give one like \"2026-05-01T08:15:30Z\" (RFC 3339)", quoteShort(strings.Trim(at.Value, `"`)))}
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return &Refusal{Reason: "not JSON: the line ends before the object does"}
	}
	return &Refusal{Reason: err.Error()}
}

// jsonName says in words what JSON value a type is read from.
func jsonName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Uint64:
		return fmt.Sprintf("a whole number from 0 to %d", uint64(MaxCount))
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "a list"
	case reflect.Struct:
		if !reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
			return "an object"
		}
	}
	return "a string"
}
