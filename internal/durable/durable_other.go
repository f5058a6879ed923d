//go:build !unix

package durable

// SyncDir does nothing: there is no way to sync a folder here.
func SyncDir(string) error { return nil }

// Own does nothing: a file belongs to its folder's owner by what the folder passes on.
func Own(string) {}
