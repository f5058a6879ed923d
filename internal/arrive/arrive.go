// Package arrive holds the ways in besides HTTP: a folder that files are moved into, and a log broker that speaks Kafka's protocol.
//
// Each has the same effect as an import: what is delivered twice counts once, also when the program was killed in between.
package arrive

import (
	"context"
	"time"
)

// The bounds of the pause after a failure; it doubles.
const (
	shortestPause = time.Second
	longestPause  = time.Minute
)

// pause waits between two tries, longer after each, and returns how long to wait next. It ends with ctx.
func pause(ctx context.Context, d time.Duration) time.Duration {
	d = min(max(d, shortestPause), longestPause)
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
	return 2 * d
}
