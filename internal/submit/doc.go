// Package submit takes files in: it keeps those that wait for their inspection on disk, has them inspected, and records what they say.
package submit
