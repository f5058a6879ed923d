package mem_test

import (
	"testing"

	"spoor/internal/kv"
	"spoor/internal/kv/kvtest"
	"spoor/internal/kv/mem"
)

func TestContract(t *testing.T) {
	kvtest.Run(t, kvtest.Engine{Open: func(*testing.T) kv.Store { return mem.New() }})
}
