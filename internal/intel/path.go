package intel

import "strings"

// BaseName returns the last part of a Windows or POSIX path.
func BaseName(path string) string {
	if isWindows(path) {
		if hasDrive(path) {
			path = path[2:] // "C:a.exe" is a file of the drive's current folder
		}
		return path[strings.LastIndexAny(path, `\/`)+1:]
	}
	return path[strings.LastIndexByte(path, '/')+1:]
}

// isWindows tells by a drive letter or a backslash that comes before any slash; a POSIX name may hold a backslash later on.
func isWindows(path string) bool {
	if hasDrive(path) {
		return true
	}
	i := strings.IndexByte(path, '\\')
	return i >= 0 && strings.IndexByte(path[:i], '/') < 0
}

// hasDrive reports whether a path begins with a drive letter.
func hasDrive(path string) bool {
	return len(path) >= 2 && path[1] == ':' && ('a' <= path[0]|0x20 && path[0]|0x20 <= 'z')
}

// Location returns the root folder or drive of a path: "C:", "%WinDir%", `\\server\share`, `\Device\HarddiskVolume3`, "/usr".
// It is empty when the path has none.
func Location(path string) string {
	switch {
	case path == "":
		return ""
	case hasDrive(path):
		return path[:2]
	case strings.HasPrefix(path, `\\?\UNC\`):
		return Location(`\` + path[7:])
	case strings.HasPrefix(path, `\\?\`), strings.HasPrefix(path, `\??\`), strings.HasPrefix(path, `\\.\`):
		return Location(path[4:])
	case strings.HasPrefix(path, `\\`):
		return firstParts(path[2:], '\\', 2, `\\`)
	case strings.HasPrefix(path, `\Device\`):
		return firstParts(path[1:], '\\', 2, `\`)
	case path[0] == '\\':
		return firstParts(path[1:], '\\', 1, `\`)
	case path[0] == '/':
		return firstParts(path[1:], '/', 1, "/")
	case path[0] == '%':
		return firstParts(path, '\\', 1, "")
	}
	return ""
}

// firstParts returns prefix and the first n parts of rest; the last part is the file itself and never counts.
func firstParts(rest string, sep byte, n int, prefix string) string {
	parts := strings.SplitN(rest, string(sep), n+1)
	if len(parts) <= n {
		n = len(parts) - 1
	}
	return prefix + strings.Join(parts[:n], string(sep))
}
