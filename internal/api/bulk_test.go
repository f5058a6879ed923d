package api

import (
	"bytes"
	"errors"
	"testing"

	"spoor/internal/intel"
	"spoor/internal/serve"
)

// FuzzReadBulk: whatever a body holds, each document that is handed on is whole or has an error, and nothing fails but by the body's own fault.
func FuzzReadBulk(f *testing.F) {
	for _, body := range []string{"", "\n", `{"create":{}}`, "{\"create\":{}}\n{}\n", "{\"index\":{\"_id\":\"1\",\"_index\":\"i\"}}\r\n{\"a\":1}\r\n\r\n", "{\"delete\":{\"_id\":\"1\"}}\n{\"update\":{}}\n{}\n",
		"{\"create\":{}}\n{\n", "{}\n{}\n", "[]\n", "{\"create\":null}\n{}\n", "{\"create\":{\"_id\":1}}\n{}\n", "\x00\n\xff"} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		err := readBulk(bytes.NewReader(body), "index", func(documents []document) error {
			for i := range documents {
				d := &documents[i]
				switch {
				case d.item.Error != nil && d.item.Status != 400, d.item.Error == nil && d.item.Status != 0:
					t.Errorf("status %d, error %v", d.item.Status, d.item.Error)
				case d.item.ID == "" || d.item.Error == nil && (len(d.data) == 0 || d.item.Index == ""):
					t.Errorf("an empty document: %+v", d)
				}
			}
			return nil
		})
		if err != nil && !errors.Is(err, intel.ErrInvalid) && !errors.Is(err, serve.ErrTooLarge) {
			t.Error(err)
		}
	})
}
