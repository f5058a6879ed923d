package filetype

import (
	"bytes"
	"encoding/binary"
	"regexp"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// isText reports whether bytes hold none that text never has.
func isText(b []byte) bool {
	for _, c := range b {
		if c < 0x20 && c != '\t' && c != '\n' && c != '\r' && c != '\f' && c != 0x1B && c != 0x1A && c != 0x08 && c != 0x07 && c != 0x0B || c == 0x7F {
			return false
		}
	}
	return true
}

// decode returns the head as UTF-8 and the name of its encoding; "" when it is no text.
func (s *sample) decode() (string, string) {
	h := s.head
	whole := int64(len(h)) == s.size
	wide := func(b []byte, o binary.ByteOrder) (string, bool) {
		units := make([]uint16, len(b)/2)
		for i := range units {
			units[i] = o.Uint16(b[2*i:])
		}
		text := string(utf16.Decode(units))
		return text, isText([]byte(text)) && strings.Count(text, "\uFFFD") <= len(units)/64+1
	}
	switch {
	case bytes.HasPrefix(h, []byte("\xEF\xBB\xBF")):
		if isText(h) {
			return string(h[3:]), "UTF-8 with BOM"
		}
		return "", ""
	case bytes.HasPrefix(h, []byte("\xFF\xFE\x00\x00")) || bytes.HasPrefix(h, []byte("\x00\x00\xFE\xFF")):
		var b strings.Builder
		name, o := "UTF-32 LE", binary.ByteOrder(binary.LittleEndian)
		if h[0] == 0 {
			name, o = "UTF-32 BE", binary.BigEndian
		}
		for r := h[4:]; len(r) >= 4; r = r[4:] {
			c := o.Uint32(r)
			if c > utf8.MaxRune {
				return "", ""
			}
			b.WriteRune(rune(c))
		}
		if b.Len() > 0 && isText([]byte(b.String())) {
			return b.String(), name
		}
		return "", ""
	case bytes.HasPrefix(h, []byte("\xFF\xFE")):
		if text, ok := wide(h[2:], binary.LittleEndian); ok {
			return text, "UTF-16 LE"
		}
		return "", ""
	case bytes.HasPrefix(h, []byte("\xFE\xFF")):
		if text, ok := wide(h[2:], binary.BigEndian); ok {
			return text, "UTF-16 BE"
		}
		return "", ""
	}
	if !isText(h) {
		// UTF-16 without a mark: Western text has every other byte zero.
		zeros := [2]int{}
		for i, c := range h {
			if c == 0 {
				zeros[i&1]++
			}
		}
		half := len(h) / 2
		switch {
		case half >= 4 && zeros[1] >= half*9/10 && zeros[0] == 0:
			if text, ok := wide(h, binary.LittleEndian); ok {
				return text, "UTF-16 LE without BOM"
			}
		case half >= 4 && zeros[0] >= half*9/10 && zeros[1] == 0:
			if text, ok := wide(h, binary.BigEndian); ok {
				return text, "UTF-16 BE without BOM"
			}
		}
		return "", ""
	}
	high := 0
	for _, c := range h {
		if c >= 0x80 {
			high++
		}
	}
	valid := h
	if !whole { // the cut may part a character
		for i := 0; i < 3 && len(valid) > 0 && !utf8.Valid(valid); i++ {
			valid = valid[:len(valid)-1]
		}
	}
	switch {
	case high == 0:
		return string(h), "ASCII"
	case utf8.Valid(valid):
		return string(valid), "UTF-8"
	case high <= len(h)*2/3 || len(h) >= 128: // so many bytes without one of control are no chance
		b := make([]rune, len(h))
		for i, c := range h {
			b[i] = rune(c)
		}
		return string(b), "8-bit"
	}
	return "", ""
}

// text tells text: its language where it has one, else its encoding.
func (s *sample) text() Type {
	t, enc := s.decode()
	if enc == "" {
		// A script may carry bytes behind its last line, as installers for Unix do.
		if line, _, ok := bytes.Cut(s.head[:min(len(s.head), 256)], []byte("\n")); ok && bytes.HasPrefix(line, []byte("#!")) && isText(line) {
			return shebang(string(line[2:]))
		}
		return Type{}
	}
	if k := language(t); k.Format != Unknown {
		if strings.HasPrefix(enc, "UTF-16") || strings.HasPrefix(enc, "UTF-32") {
			k.Name += ", " + enc
		}
		return k
	}
	return Type{Text, "text: " + enc, "TXT"}
}

func script(name, short string) Type { return Type{Script, "script: " + name, short} }

type interpreter struct{ prefix, name, short string }

// shebangs are interpreters by the beginning of their name.
var shebangs = []interpreter{
	{"python", "Python", "PY"}, {"pypy", "Python", "PY"}, {"perl", "Perl", "PL"}, {"ruby", "Ruby", "RB"}, {"php", "PHP", "PHP"},
	{"node", "JavaScript", "JS"}, {"deno", "JavaScript", "JS"}, {"bun", "JavaScript", "JS"}, {"pwsh", "PowerShell", "PS1"}, {"powershell", "PowerShell", "PS1"},
	{"osascript", "AppleScript", "SCPT"}, {"lua", "Lua", "LUA"}, {"tclsh", "Tcl", "TCL"}, {"wish", "Tcl", "TCL"}, {"expect", "Tcl", "TCL"},
	{"awk", "awk", "AWK"}, {"gawk", "awk", "AWK"}, {"mawk", "awk", "AWK"}, {"sed", "sed", "SED"}, {"make", "make", "MAKE"}, {"Rscript", "R", "R"},
	{"sh", "shell", "SH"}, {"bash", "shell", "SH"}, {"dash", "shell", "SH"}, {"ash", "shell", "SH"}, {"ksh", "shell", "SH"}, {"zsh", "shell", "SH"},
	{"csh", "shell", "SH"}, {"tcsh", "shell", "SH"}, {"fish", "shell", "SH"}, {"busybox", "shell", "SH"}, {"guile", "Scheme", "SCM"}, {"groovy", "Groovy", "GROOVY"},
	{"tclkit", "Tcl", "TCL"}, {"gjs", "JavaScript", "JS"}, {"cscript", "JavaScript", "JS"}, {"nft", "nft", "NFT"},
}

// isShebang reports whether what follows the mark is a program, which has a path or a name that is known.
func isShebang(t string) bool {
	line, _, _ := strings.Cut(t[:min(len(t), 256)], "\n")
	f := strings.Fields(line)
	return len(f) > 0 && (strings.ContainsAny(f[0], `/\`) || slices.ContainsFunc(shebangs, func(b interpreter) bool { return b.prefix == f[0] }) || len(f) == 1)
}

func shebang(line string) Type {
	f := strings.Fields(line)
	if len(f) == 0 {
		return script("unknown interpreter", "SCRIPT")
	}
	base := func(p string) string { return p[strings.LastIndexAny(p, `/\`)+1:] }
	name := base(f[0])
	if name == "bin" && len(f) > 1 { // "/usr/bin env", by mistake
		f, name = f[1:], base(f[1])
	}
	if name == "env" {
		for _, a := range f[1:] {
			if !strings.HasPrefix(a, "-") && !strings.Contains(a, "=") {
				name = base(a)
				break
			}
		}
	}
	for _, b := range shebangs {
		if rest, ok := strings.CutPrefix(name, b.prefix); ok && strings.Trim(rest, "0123456789.-_abcdefghijklmnopqrstuvwxyz") == "" && (rest == "" || rest[0] < 'a' || b.prefix == "node") {
			return script(b.name, b.short)
		}
	}
	if len(name) > 32 || name == "" {
		name = "unknown interpreter"
	}
	return script(name, "SCRIPT")
}

type scriptLanguage struct {
	Type
	hints []hint
}

func hints(pairs ...any) []hint {
	var h []hint
	for i := 0; i < len(pairs); i += 2 {
		h = append(h, newHint(pairs[i].(string), pairs[i+1].(int)))
	}
	return h
}

// scriptLanguages are those without a mark of their own. Each hint counts once.
var scriptLanguages = []scriptLanguage{
	{script("PowerShell", "PS1"), hints(
		`(?im)^\s*param\s*\(\s*(\[|\$|$)`, 5, `(?i)\[cmdletbinding\(`, 10, `(?im)^\s*function\s+[a-z]+-[a-z]+`, 8, `(?i)\$(psscriptroot|psversiontable|erroractionpreference|env:)`, 8,
		`(?i)\b(write-(host|output|verbose|error)|new-object|get-(childitem|content|item|process|wmiobject|ciminstance)|set-(content|item|executionpolicy|location|strictmode)|invoke-(expression|webrequest|command|restmethod)|start-(process|sleep)|import-module|out-null|out-file|foreach-object|where-object|select-object|add-type|test-path|join-path|convertto-securestring)\b`, 6,
		`(?i)\[(system\.|convert\]::|text\.encoding\]|string\]|int\]|byte\[\]\]|net\.)`, 4, `(?m)^\s*\$[A-Za-z_]\w*\s*=`, 3, `(?i)-(eq|ne|match|like|and|or|notmatch)\s`, 3, `(?i)\b(iex|-encodedcommand|downloadstring|frombase64string)\b`, 5, `(?m)^<#`, 4, `(?im)^# SIG # Begin signature block`, 10,
		`(?im)^#requires\s+-`, 10)},
	{script("batch", "BAT"), hints(
		`(?im)^\s*@?echo\s+off\b`, 10, `(?im)^\s*@?(set(local)?|goto|rem|call|if\s+(not\s+)?(exist|errorlevel|defined|"?%)|for\s+/?[a-z]?\s*%%|exit\s+/b|pause|cls|title|start|pushd|popd|endlocal)\b`, 4, `%[A-Za-z_]\w{2,}(:[^%\n]*)?%`, 4, `(?i)%~dp0`, 4, `(?i)%%~?[a-z]\b|%~[a-z]*[0-9]`, 4,
		`(?im)^:[A-Za-z_]\w*\s*$`, 3, `(?im)^\s*@?(reg|taskkill|xcopy|copy|del|attrib|schtasks|net|sc|wmic|cmd|md|mkdir|rd|cd)\s+[/"%\w]`, 3)},
	{script("VBScript", "VBS"), hints(
		`(?i)\bcreateobject\s*\(`, 6, `(?im)^\s*option\s+explicit`, 5, `(?im)^\s*(private\s+|public\s+)?(sub|function)\s+\w+\s*(\(|$)`, 3, `(?im)^\s*end\s+(sub|function|if|with|select)\b`, 4, `(?im)^\s*set\s+\w+\s*=\s*`, 3, `(?im)^\s*dim\s+\w+`, 4,
		`(?i)\bwscript\.(echo|shell|quit|createobject|arguments|sleep|scriptfullname)`, 4, `(?im)^\s*on\s+error\s+resume\s+next`, 8, `(?im)^\s*'`, 1, `(?i)\bexecute(global)?\s*\(?\s*["\w]`, 3, `(?i)\bchrw?\(\d+\)\s*&`, 6, `(?im)^\s*if\b.*\bthen\s*$`, 2, `(?i)\bmsgbox\b`, 3, `(?im)^\s*(loop|wend|next)\s*$`, 2)},
	{script("JavaScript", "JS"), hints(
		`(?m)^\s*(var|let|const)\s+[\w$]+\s*=`, 5, `\bfunction\s*[\w$]*\s*\([\w$\s,]*\)\s*\{`, 5, `\)\s*=>\s*[{(\w]`, 4, `(?m)['"]use strict['"]`, 8, `\b(module\.exports|exports\.[\w$]+\s*=|require\s*\(['"])`, 6, `\bnew\s+ActiveXObject\s*\(`, 9, `\b(document|window|console|JSON|Math|Object|Array|String|navigator)\.\w+`, 4, `(?i)\bWScript\.(CreateObject|Shell|Quit|Echo|Sleep)\s*\(`, 4,
		`(?m)^\s*(import\s.*\sfrom\s+['"]|import\s+['"]|export\s+(default|const|function|class|\{))`, 8, `===|!==`, 4, `\beval\s*\(`, 3, `\bString\.fromCharCode\b`, 5, `\b(this|prototype)\.[\w$]+\s*=`, 3, `(?m)^\s*//`, 1, `\}\s*\)\s*\(\s*[^)]*\)\s*;?`, 3, `\btypeof\s+\w+`, 4)},
	{script("Python", "PY"), hints(
		`(?m)^(from\s+[\w.]+\s+import\s+[\w(*]|import\s+[\w.]+(\s+as\s+\w+|\s*,\s*[\w.]+)*\s*$)`, 6, `(?m)^\s*def\s+\w+\s*\([^)]*\)\s*(->\s*[\w\[\], ."']+)?:`, 6, `(?m)^\s*class\s+\w+(\([\w., =]*\))?:`, 6, `(?m)^if\s+__name__\s*==`, 10, `(?m)^\s*(elif\s.*|except(\s.*)?|try|finally|else):\s*(#.*)?$`, 3, `(?m)^\s*("""|''')`, 3, `\bself\.\w+`, 3, `(?m)^\s*(for\s+[\w, ()]+\s+in\s+.*|while\s.*|with\s.*|if\s.*):\s*(#.*)?$`, 2, `(?m)^#.*coding[:=]\s*[\w-]+`, 6, `(?m)^__\w+__\s*=`, 6)},
	{script("Perl", "PL"), hints(
		`(?m)^\s*use\s+(strict|warnings|utf8|vars|lib|base|parent|[A-Z]\w*(::\w+)*)\b[^;\n]*;`, 6, `(?m)^\s*package\s+[A-Za-z]\w*(::\w+)+\s*;`, 7, `(?m)^\s*(my|our|local)\s*[\(\s]\s*[$@%]\w+`, 5, `(?m)^\s*sub\s+\w+\s*(\{|$)`, 5, `(?m)^=(head\d|pod|cut|over|encoding)\b`, 6, `\$_\[?|@_\b|=~\s*(m|s|tr|/)`, 4, `(?m)^\s*use\s+v?5(\.\d+)*;`, 8, `(?m)^1;\s*$`, 3)},
	{script("shell", "SH"), hints(
		`(?m)^\s*(if|while|until)\s+(\[|test\b|\[\[|!|[a-z]+\s).*;\s*(then|do)\b`, 6, `(?m)^\s*(fi|done|esac)\b`, 4, `(?m)^\s*(case\s+.*\sin|for\s+\w+\s+in\s.*)`, 4, `\$\{?[A-Za-z_]\w*\}?`, 1, `(?m)^\s*(export\s+\w+=|local\s+\w+|set\s+-[euxo]+|source\s+\S+|\.\s+/\S+)`, 4, `(?m)^\s*[a-z_]\w*\s*\(\)\s*\{?`, 4, `\$\(`, 2)},
	{script("Ruby", "RB"), hints(
		`(?m)^\s*require(_relative)?\s+['"]`, 5, `(?m)^\s*def\s+(self\.)?\w+[?!]?\s*(\([^)]*\))?\s*$`, 5, `(?m)^\s*(module|class)\s+[A-Z]\w*(::\w+)*(\s*<\s*[A-Z][\w:]*)?\s*$`, 5, `(?m)^\s*end\s*$`, 4, `(?m)^# frozen_string_literal:`, 10, `\bdo\s*\|\w+`, 4, `(?m)^\s*attr_(reader|accessor|writer)\b`, 6)},
	{script("Lua", "LUA"), hints(
		`(?m)^\s*local\s+(function\s+\w+\s*\(|\w+(\s*,\s*\w+)*\s+=\s)`, 6, `(?m)^\s*(\w+\s*=\s*)?function\s*[\w.:]*\s*\([\w\s,.]*\)\s*$`, 4, `(?m)^\s*end[,)]*\s*$`, 4, `(?m)^\s*(else)?if\b.*\bthen\s*(--.*)?$`, 3, `\brequire\s*\(?\s*["'][\w.]+["']`, 3, `\bi?pairs\s*\(`, 5, `--\[=*\[`, 5, `~=\s`, 3, `\bnil\b`, 2, `(?m)^\s*--`, 2)},
	{script("AutoIt", "AU3"), hints(
		`(?im)^#include\s*[<"]\w+\.au3[>"]`, 10, `(?im)^\s*#(NoTrayIcon|RequireAdmin|AutoIt3Wrapper)`, 10, `(?im)^\s*(Local|Global|Dim)\s+(Const\s+)?\$\w+`, 6, `(?im)^\s*EndFunc\b`, 6)},
}

var (
	mailField    = regexp.MustCompile(`^[!-9;-~]+:([ \t]|$)`)
	mailNames    = []string{"received", "from", "to", "subject", "date", "message-id", "mime-version", "return-path", "delivered-to", "content-type", "reply-to", "x-mailer", "dkim-signature", "x-original-to", "sender", "cc", "x-received", "arc-seal"}
	tagAt        = regexp.MustCompile(`(?is)^\s*(<!--.*?-->\s*)*<(!doctype\s+html|html|head|body|script|hta:application|meta|title|iframe|table|div|p|span|br|h[1-6]|center|a\s|img\s|form|style|link\s|object|embed|ul|frameset)\b`)
	weakTag      = regexp.MustCompile(`(?is)<(div|p|span|br|h[1-6]|center|a\s|img\s)$`)
	heading      = regexp.MustCompile("(?m)^(#{1,6} \\S|```)")
	xmlRoot      = regexp.MustCompile(`(?s)<([A-Za-z_][\w.:-]*)`)
	xmlSkip      = regexp.MustCompile(`(?s)<\?.*?\?>|<!--.*?-->|<!DOCTYPE[^>\[]*(\[.*?\])?\s*>`)
	jsonStart    = regexp.MustCompile(`^\s*(\{\s*("|\}|$)|\[\s*([\[{"\]\d-]|true|false|null|$))`)
	yamlKey      = regexp.MustCompile(`^["']?[A-Za-z_][\w.-]*["']?:( .*)?$`)
	sqlStatement = newHint(`(?im)^(create|alter|drop)\s+(or\s+replace\s+)?(temporary\s+)?(table|function|procedure|trigger|index|view|database|type)\s`, 0)
	m4Macro      = newHint(`(?m)^(dnl(\s|$)|(AC|AM|AU|AX|LT)_[A-Z_]+\(\[|m4_[a-z]+\(|# aclocal\.m4 )`, 0)
	makeRule     = newHint(`(?m)^(\.(PHONY|SUFFIXES|DEFAULT|NOTPARALLEL)\s*:|[\w$%./()-]+\s*:([^=\n][^\n]*)?\n\t\S|-?include\s+\S+\.mk\s*$|ifn?(eq|def)\s|VPATH\s*=|# Makefile\.in generated by automake)`, 0)
	packageLine  = newHint(`(?m)^package [a-z_]\w*\s*$`, 0)
	infSignature = newHint(`(?im)^\s*signature\s*=\s*"?\$(chicago|windows (nt|95))\$`, 0)
	rdpField     = newHint(`(?im)^(full address|screen mode id|remoteapplicationprogram):[si]:`, 0)
	phpTag       = newHint(`(?im)^\s*<\?php\b`, 0)
	htaTag       = newHint(`(?i)<hta:application\b`, 0)
	jspDirective = newHint(`(?i)<%@\s*(page\s[^%]*\b(import|contentType|pageEncoding|session|language\s*=\s*"java)|taglib\s)`, 0)

	aspxDirective = newHint(`(?i)<%@\s*(page|control|master|webhandler|webservice|application|assembly|import|register)\s[^%]*=`, 0)
	aspDirective  = newHint(`(?i)<%@\s*(language|codepage|lcid|enablesessionstate)\s*=`, 0)
	aspObject     = newHint(`(?i)\b(server\.(createobject|mappath|execute)|response\.(write|redirect|end|binarywrite)|request(\.(form|querystring|binaryread|servervariables))?)\s*\(`, 0)

	pemLine = regexp.MustCompile(`(?m)^-----BEGIN ([A-Z0-9 ]+)-----\r?$`)
)

// language tells the language of text; t may be cut anywhere.
func language(t string) Type {
	body := strings.TrimLeft(t, " \t\r\n")
	low := strings.ToLower(body[:min(len(body), 512)])
	all := look(t)
	switch {
	case strings.HasPrefix(t, "#!") && isShebang(t[2:]):
		line, _, _ := strings.Cut(t[2:], "\n")
		return shebang(line[:min(len(line), 256)])
	case strings.HasPrefix(body, "{\\rt"):
		return Type{RTF, "RTF", "RTF"}
	case strings.HasPrefix(low, "windows registry editor") || strings.HasPrefix(low, "regedit4"):
		return Type{Script, "script: registry entries", "REG"}
	case strings.HasPrefix(low, "[internetshortcut]") || strings.HasPrefix(low, "[{000214a0-0000-0000-c000-000000000046}]"):
		return Type{Text, "Internet shortcut", "URL"}
	case strings.HasPrefix(low, "[desktop entry]"):
		return Type{Text, "desktop entry", "DESKTOP"}
	case strings.HasPrefix(low, "[shell]") && strings.Contains(low, "command"):
		return Type{Text, "Explorer command file (SCF)", "SCF"}
	case infSignature.in(&all):
		return Type{Text, "Windows setup information (INF)", "INF"}
	case strings.HasPrefix(low, "id;p"):
		return Type{Text, "SYLK spreadsheet", "SLK"}
	case strings.HasPrefix(low, "web\n1\n") || strings.HasPrefix(low, "web\r\n1\r\n"):
		return Type{Text, "Excel web query", "IQY"}
	case rdpField.in(&all):
		return Type{Text, "Remote Desktop connection", "RDP"}
	case strings.HasPrefix(t, "#@~^"):
		return Type{Script, "script: encoded (VBE or JSE)", "VBE"}
	case strings.HasPrefix(t, "putty-user-key-file-") || strings.HasPrefix(t, "PuTTY-User-Key-File-"):
		return Type{Text, "PuTTY private key", "PPK"}
	case strings.HasPrefix(low, "[autorun]"):
		return Type{Text, "Autorun file", "INF"}
	case strings.HasPrefix(low, "begin:vcard"):
		return Type{Text, "vCard", "VCF"}
	case strings.HasPrefix(low, "begin:vcalendar"):
		return Type{Text, "iCalendar", "ICS"}
	case strings.HasPrefix(low, "%!ps"):
		return Type{Other, "PostScript", "PS"}
	case strings.HasPrefix(low, "from ") && mail(t[strings.IndexByte(t+"\n", '\n'):]) && strings.HasPrefix(t, "From "):
		return Type{Mbox, "mailbox (mbox)", "MBOX"}
	case mail(t):
		return Type{Mail, "mail message", "EML"}
	case strings.HasPrefix(low, "<?php") || strings.HasPrefix(low, "<?\n") || strings.HasPrefix(low, "<?="):
		return script("PHP", "PHP")
	case phpTag.in(&all):
		return script("PHP", "PHP")
	case htaTag.in(&all):
		return script("HTA", "HTA")
	case strings.HasPrefix(low, "<%"):
		if k := serverPage(body); k.Format != Unknown {
			return k
		}
	case strings.HasPrefix(low, "<?xml") || strings.HasPrefix(low, "<"):
		if k := markup(body); k.Format != Unknown {
			return k
		}
	}
	if strings.HasPrefix(body, "-----BEGIN") {
		if m := pemLine.FindStringSubmatch(t); m != nil {
			return Type{Text, "PEM: " + strings.ToLower(m[1]), "PEM"}
		}
	}
	if jsonStart.MatchString(t) && jsonLike(t) {
		return Type{Text, "JSON", "JSON"}
	}
	if len(t) < 8 {
		return Type{}
	}
	t = t[:min(len(t), 4<<10)]
	l := look(t)
	if holdsCode(t, &l) {
		return Type{}
	}
	best, most := Type{}, 9
	for i := range scriptLanguages {
		score := 0
		for k := range scriptLanguages[i].hints {
			if h := &scriptLanguages[i].hints[k]; h.in(&l) {
				score += h.weight
			}
		}
		if score > most {
			best, most = scriptLanguages[i].Type, score
		}
	}
	return best
}

// holdsCode reports whether text is of a kind that often has pieces of scripts in it and is none: YAML, Markdown, SQL, macros of m4, makefiles, the source of
// Go and of its kin.
func holdsCode(t string, l *looked) bool {
	first := ""
	for line := range strings.Lines(t) {
		if line = strings.TrimRight(line, " \t\r\n"); line != "" && (line[0] != '#' || first == "" && strings.HasPrefix(line, "# ") && strings.Contains(t, "\n```")) {
			first = line
			break
		}
	}
	switch {
	case m4Macro.in(l) || makeRule.in(l):
		return true
	case yamlKey.MatchString(first) || first == "---":
		return true
	case strings.Contains(t, "\n```") && (strings.HasPrefix(first, "# ") || strings.HasPrefix(first, "<") || strings.HasPrefix(first, "[")):
		return true
	}
	if word, _, _ := strings.Cut(strings.ToLower(first), " "); (strings.HasPrefix(word, "--") || slices.Contains([]string{"create", "alter", "drop", "begin;", "use", "set"}, word)) && sqlStatement.in(l) {
		return true
	}
	return (strings.HasPrefix(first, "/") || strings.HasPrefix(first, "package")) && packageLine.in(l)
}

// serverPage tells what begins as pages do that a web server runs, by the directive or the objects that each kind has.
func serverPage(t string) Type {
	l := look(t[:min(len(t), 4<<10)])
	switch {
	case jspDirective.in(&l):
		return script("JSP", "JSP")
	case aspxDirective.in(&l):
		return script("ASP.NET", "ASPX")
	case aspDirective.in(&l) || aspObject.in(&l):
		return script("ASP", "ASP")
	}
	return Type{}
}

// markup tells what begins with a tag.
func markup(t string) Type {
	if m := tagAt.FindString(t); m != "" {
		if weakTag.MatchString(m) && heading.MatchString(t) {
			return Type{} // Markdown that begins with a picture
		}
		return Type{HTML, "HTML", "HTML"}
	}
	declared := strings.HasPrefix(t, "<?xml")
	rest := xmlSkip.ReplaceAllString(t, "")
	m := xmlRoot.FindStringSubmatch(rest)
	if m == nil {
		if declared {
			return Type{XML, "XML", "XML"}
		}
		return Type{}
	}
	if !declared && strings.Contains(t, "<%") && strings.Contains(t, "%>") {
		return Type{HTML, "HTML (template)", "HTML"}
	}
	if !declared && (!strings.Contains(t, "</") && !strings.Contains(t, "/>") || !strings.HasPrefix(strings.TrimSpace(rest), "<"+m[1])) {
		return Type{}
	}
	switch strings.ToLower(m[1][strings.LastIndexByte(m[1], ':')+1:]) {
	case "html":
		return Type{HTML, "HTML (XML)", "HTML"}
	case "svg":
		return Type{XML, "SVG image", "SVG"}
	case "scriptlet", "component":
		if strings.Contains(strings.ToLower(t), "<script") {
			return script("scriptlet", "SCT")
		}
	case "job", "package":
		if strings.Contains(strings.ToLower(t), "<script") {
			return script("Windows Script File", "WSF")
		}
	case "stylesheet", "transform":
		if strings.Contains(t, "XSL/Transform") || strings.Contains(strings.ToLower(t), "ms:script") {
			return Type{XML, "XSL stylesheet", "XSL"}
		}
	case "plist":
		return Type{XML, "property list (XML)", "PLIST"}
	case "worddocument":
		return Type{XML, "Word 2003 XML", "XML"}
	case "project":
		if strings.Contains(t, "schemas.microsoft.com/developer/msbuild") {
			return Type{XML, "MSBuild project", "PROJ"}
		}
	case "mmc_consolefile":
		return Type{XML, "Management Console file (MSC)", "MSC"}
	case "librarydescription":
		return Type{XML, "Windows library", "LIBRARY-MS"}
	case "persistedquery":
		return Type{XML, "Windows saved search", "SEARCH-MS"}
	case "pcsettings":
		return Type{XML, "Windows settings shortcut", "SETTINGCONTENT-MS"}
	case "task":
		if strings.Contains(t, "schemas.microsoft.com/windows/2004/02/mit/task") {
			return Type{XML, "Windows scheduled task", "XML"}
		}
	case "assembly":
		if strings.Contains(t, "urn:schemas-microsoft-com:asm.") {
			if strings.Contains(t, "deployment") {
				return Type{XML, "ClickOnce deployment", "APPLICATION"}
			}
			return Type{XML, "assembly manifest", "MANIFEST"}
		}
	case "objs":
		return Type{XML, "PowerShell objects (CLIXML)", "XML"}
	}
	if !declared && !strings.Contains(m[1], ":") && strings.Contains(t, "\n#") {
		return Type{} // configuration in the manner of Apache
	}
	return Type{XML, "XML", "XML"}
}

// mail reports whether text begins with header fields, two of which mail has.
func mail(t string) bool {
	known, n, web := 0, 0, 0
	for line := range strings.Lines(strings.TrimLeft(t, "\r\n")) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" || n >= 64 {
			break
		}
		n++
		if line[0] == ' ' || line[0] == '\t' {
			if n == 1 {
				return false
			}
			continue
		}
		if !mailField.MatchString(line) {
			return n > 8 && known >= 4
		}
		name := strings.ToLower(line[:strings.IndexByte(line, ':')])
		if name == "mime-version" || name == "content-type" && strings.Contains(strings.ToLower(line), "multipart/") {
			web++ // what a web archive has at least
		}
		for _, m := range mailNames {
			if m == name {
				known++
			}
		}
	}
	return known >= 3 || web >= 2
}

// jsonLike reports whether text may be the beginning of a JSON value: its brackets and strings nest, with nothing else between.
func jsonLike(t string) bool {
	depth, inString, colon := 0, false, false
	for i := 0; i < len(t); i++ {
		c := t[i]
		if inString {
			switch c {
			case '\\':
				i++
			case '"':
				inString = false
			case '\n':
				return false
			}
			continue
		}
		switch c {
		case '"':
			inString = true
		case '{', '[':
			depth++
		case '}', ']':
			depth--
			if depth < 0 {
				return false
			}
		case ':', ',':
			colon = true
		case ' ', '\t', '\r', '\n', '-', '+', '.', 'E', 't', 'r', 'u', 'e', 'f', 'a', 'l', 's', 'n':
		default:
			if c < '0' || c > '9' {
				return false
			}
		}
	}
	return colon || len(t) < 16
}

// uuBegin is the line that begins uuencoded data, and the line behind it: its first character says how long it is.
var uuBegin = regexp.MustCompile(`\Abegin(-base64)? [0-7]{3,4} [^\r\n]{1,255}\r?\n([^\r\n]*)`)

// encoded tells text that holds files in the ways of the time before MIME, behind other text, too.
func (s *sample) encoded() Type {
	for at := 0; ; at += len("begin") {
		i := bytes.Index(s.head[at:], []byte("begin"))
		if i < 0 {
			break
		}
		at += i
		if at > 0 && s.head[at-1] != '\n' {
			continue
		}
		m := uuBegin.FindSubmatch(s.head[at:])
		if m == nil {
			continue
		}
		line := m[2]
		n := 0
		if len(line) > 0 {
			n = (int(line[0]-' ')&63 + 2) / 3 * 4
		}
		if len(m[1]) > 0 || len(line) > 0 && len(line)-1 >= n && len(line)-1 <= n+2 || string(line) == "`" || string(line) == "" {
			return Type{UUEncode, "uuencoded data", "UU"}
		}
	}
	if i := bytes.Index(s.head, []byte("\n=ybegin ")); i >= 0 && bytes.Contains(s.head[i:], []byte(" name=")) {
		return Type{YEnc, "yEnc data", "YENC"}
	}
	return Type{}
}
