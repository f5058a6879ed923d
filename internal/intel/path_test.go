package intel_test

import (
	"strings"
	"testing"

	"spoor/internal/intel"
)

func TestPaths(t *testing.T) {
	for _, tt := range []struct{ path, location, name string }{
		{``, ``, ``},
		{`a.exe`, ``, `a.exe`},
		{`bin/a`, ``, `a`},
		{`bin\a`, ``, `a`},
		{`C:\a.exe`, `C:`, `a.exe`},
		{`c:\Windows\System32\cmd.exe`, `c:`, `cmd.exe`},
		{`C:/Windows/cmd.exe`, `C:`, `cmd.exe`},
		{`C:\Windows/cmd.exe`, `C:`, `cmd.exe`},
		{`C:a.exe`, `C:`, `a.exe`},
		{`C:\dir\`, `C:`, ``},
		{`C:`, `C:`, ``},
		{`\\?\C:\a.exe`, `C:`, `a.exe`},
		{`\??\C:\Windows\a.exe`, `C:`, `a.exe`},
		{`\\.\C:\a.exe`, `C:`, `a.exe`},
		{`\\?\UNC\server\share\a.exe`, `\\server\share`, `a.exe`},
		{`\\server\share\a.exe`, `\\server\share`, `a.exe`},
		{`\\server\share\deep\er\a.exe`, `\\server\share`, `a.exe`},
		{`\\server\a.exe`, `\\server`, `a.exe`},
		{`\Device\HarddiskVolume3\Windows\a.exe`, `\Device\HarddiskVolume3`, `a.exe`},
		{`\SystemRoot\System32\drivers\x.sys`, `\SystemRoot`, `x.sys`},
		{`%WinDir%\System32\a.exe`, `%WinDir%`, `a.exe`},
		{`%TEMP%\a.exe`, `%TEMP%`, `a.exe`},
		{`/usr/bin/ls`, `/usr`, `ls`},
		{`/a`, `/`, `a`},
		{`/`, `/`, ``},
		{`/tmp/a\b`, `/tmp`, `a\b`},
		{`/usr/`, `/usr`, ``},
		{`ä:\x`, ``, `x`},
		{`/tmp/ä/ü`, `/tmp`, `ü`},
		{`:`, ``, `:`},
	} {
		if got := intel.Location(tt.path); got != tt.location {
			t.Errorf("Location(%q) = %q, want %q", tt.path, got, tt.location)
		}
		if got := intel.BaseName(tt.path); got != tt.name {
			t.Errorf("BaseName(%q) = %q, want %q", tt.path, got, tt.name)
		}
	}
}

func FuzzPaths(f *testing.F) {
	for _, s := range []string{`C:\a\b`, `\\s\h\f`, `\\?\C:\a`, `\\?\\\?\a`, `/usr/bin/ls`, `%A%\b`, `\Device\V\x`, "", ":", `\`, `\\`, strings.Repeat(`\\?\`, 100)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		name := intel.BaseName(path)
		if !strings.HasSuffix(path, name) || strings.Contains(name, "/") {
			t.Errorf("BaseName(%q) = %q", path, name)
		}
		if again := intel.BaseName(name); again != name && !strings.ContainsAny(name, `\:`) {
			t.Errorf("BaseName(%q) = %q", name, again)
		}
		if at := intel.Location(path); len(at) > len(path) {
			t.Errorf("Location(%q) = %q", path, at)
		}
	})
}
