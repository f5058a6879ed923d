package main

import "testing"

func TestCaches(t *testing.T) {
	for _, c := range []struct {
		memory int64
		want   caches
	}{
		{1 << 30, caches{128 << 20, 32 << 20}},
		{8 << 30, caches{512 << 20, 128 << 20}},
		{1 << 40, caches{8 << 30, 1 << 30}},
	} {
		if got := cachesFor(c.memory); got != c.want {
			t.Errorf("of %d bytes: %+v, want %+v", c.memory, got, c.want)
		}
	}
	if m := machineMemory(); m < 64<<20 {
		t.Errorf("this machine has %d bytes", m)
	}
}
