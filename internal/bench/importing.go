package bench

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// importing measures the import of a Sysmon JSON file, into a new store and to its end, against jq reading the same file.
func importing(ctx context.Context, o *Options, dir string) ([]Result, error) {
	size := int64(1 << 30)
	if o.Quick {
		size = 256 << 20
	}
	o.say("writing a Sysmon log of %d MB", size>>20)
	file := filepath.Join(dir, "sysmon.json")
	if err := writeSysmon(file, size); err != nil {
		return nil, fmt.Errorf("writing the log: %w", err)
	}
	defer os.Remove(file)
	o.say("importing it")
	start := time.Now()
	if err := o.Import(ctx, filepath.Join(dir, "imported"), Input{File: file}); err != nil {
		return nil, fmt.Errorf("importing the log: %w", err)
	}
	rate := float64(size) / 1e6 / time.Since(start).Seconds()
	const name = "import of Sysmon JSON"
	jq, err := exec.LookPath("jq")
	if err != nil {
		return []Result{told(name+" (jq is not installed: no peer)", rate, "MB/s")}, nil
	}
	// jq is slow: a part of the file tells its rate.
	const part = 64 << 20
	o.say("reading %d MB of it with jq", part>>20)
	in, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("measuring jq: %w", err)
	}
	defer in.Close()
	peer := exec.CommandContext(ctx, jq, "-c", ".")
	peer.Stdin, peer.Stdout = wholeLines(in, part), io.Discard
	start = time.Now()
	if err := peer.Run(); err != nil {
		return nil, fmt.Errorf("measuring jq: %w", err)
	}
	return []Result{atLeast(name, rate, "MB/s", "jq -c . on the same file", float64(part)/1e6/time.Since(start).Seconds(), 4)}, nil
}

// wholeLines reads about n bytes, up to the end of a line.
func wholeLines(f io.Reader, n int) io.Reader {
	pr, pw := io.Pipe()
	go func() {
		in := bufio.NewReaderSize(f, 1<<20)
		for n > 0 {
			line, err := in.ReadSlice('\n')
			if _, writeErr := pw.Write(line); writeErr != nil || err != nil {
				break
			}
			n -= len(line)
		}
		pw.Close()
	}()
	return pr
}

// writeSysmon writes a log in the flat shape that collectors write: of a hundred events, 12 image loads and 3 process starts carry hashes,
// as in the public sets that were counted; the others are registry, pipe and network events.
func writeSysmon(file string, size int64) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	g := newGenerator(7, 50_000)
	const head = `{"@timestamp":"2026-01-01T10:00:00.000Z","SourceName":"Microsoft-Windows-Sysmon","Channel":"Microsoft-Windows-Sysmon/Operational","Hostname":"WS-%04d.corp.example","EventID":%d,"UtcTime":"%s","ProcessGuid":"{6a910b9d-0000-5ee0-%04x-%012x}","ProcessId":"%d","RuleName":"-","Level":"4","Keywords":"0x8000000000000000","Version":5,"Task":%d,"OpcodeValue":0,"host":"wec.example","tags":["bench"],`
	for written, n := int64(0), 0; written < size; n++ {
		i := int(g.zipf.Uint64())
		g.at = g.at.Add(time.Duration(g.rnd.IntN(40)) * time.Millisecond)
		h := hashesOf(i)
		path := fmt.Sprintf(`C:\\Windows\\System32\\module_%d.dll`, i)
		hashes := fmt.Sprintf("SHA1=%X,MD5=%X,SHA256=%X,IMPHASH=%032X", h.SHA1.Bytes(), h.MD5.Bytes(), h.SHA256.Bytes(), i+1)
		kind := g.rnd.IntN(100)
		id := 12
		if kind < 12 {
			id = 7
		} else if kind < 15 {
			id = 1
		}
		line := fmt.Appendf(nil, head, g.rnd.IntN(500), id, g.at.Format("2006-01-02 15:04:05.000"), n%65536, n, n%9000, id)
		switch id {
		case 7:
			line = fmt.Appendf(line, `"Image":"C:\\Windows\\explorer.exe","ImageLoaded":"%s","Hashes":"%s","Signed":"true","Signature":"Microsoft Windows","SignatureStatus":"Valid","Company":"Microsoft Corporation","Product":"Microsoft® Windows® Operating System","Description":"Module %d","FileVersion":"10.0.19041.1","OriginalFileName":"module.dll","Message":"Image loaded:\r\nUtcTime: %s\r\nImage: C:\\Windows\\explorer.exe\r\nImageLoaded: %s\r\nHashes: %s\r\nSigned: true\r\nSignature: Microsoft Windows\r\nSignatureStatus: Valid"}`+"\n", path, hashes, i, g.at.Format(time.DateTime), path, hashes)
		case 1:
			line = fmt.Appendf(line, `"Image":"%s","Hashes":"%s","CommandLine":"\"%s\" --quiet","ParentProcessGuid":"{6a910b9d-0000-5ee0-%04x-%012x}","ParentImage":"C:\\Windows\\explorer.exe","User":"CORP\\user","Company":"Example","Product":"Module","Description":"Module %d","FileVersion":"1.0","OriginalFileName":"module.exe","Message":"Process Create:\r\nUtcTime: %s\r\nImage: %s\r\nHashes: %s"}`+"\n", path, hashes, path, max(n-40, 0)%65536, max(n-40, 0), i, g.at.Format(time.DateTime), path, hashes)
		default:
			line = fmt.Appendf(line, `"EventType":"SetValue","Image":"C:\\Windows\\System32\\svchost.exe","TargetObject":"HKLM\\System\\CurrentControlSet\\Services\\Item%d\\Parameters\\Value","Details":"DWORD (0x%08x)","Message":"Registry value set:\r\nRuleName: -\r\nEventType: SetValue\r\nUtcTime: %s\r\nImage: C:\\Windows\\System32\\svchost.exe\r\nTargetObject: HKLM\\System\\CurrentControlSet\\Services\\Item%d\\Parameters\\Value\r\nDetails: DWORD (0x%08x)"}`+"\n", i, n, g.at.Format(time.DateTime), i, n)
		}
		m, err := w.Write(line)
		if err != nil {
			f.Close()
			return err
		}
		written += int64(m)
	}
	if err := w.Flush(); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
