package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/klauspost/compress/gzip"
	"github.com/rogpeppe/go-internal/testscript"

	"spoor/client"
	"spoor/internal/intel"
)

// patience is how long a script waits for something that must come; a test that passes never waits so long.
const patience = time.Minute

// TestScript runs the scripts in testdata/script. They read like a manual of the commands. Beside testscript's own commands there are:
//
//	exits CODE program args…          run it; it must end with just this code
//	start NAME program args…          start it; its output goes to NAME.out and NAME.err, and its standard input stays open
//	await FILE PATTERN                wait until the file holds the pattern; its named groups become environment variables
//	until PATTERN program args…       run it again and again until its output holds the pattern
//	end NAME [CODE]                   SIGTERM to what start began; it must end with the code, 0 when not said
//	http [flags] URL                  ask; the body is stdout, status and headers are stderr. -status N wants another answer than 200,
//	                                  -until N asks until it comes; -data FILE posts; -header 'K: V'; -ca FILE trusts
//	json FILE [-lines N] [path=value…]  it must be valid JSON, or N lines of it, that hold the values
//	pack FILE member…                 make a .zip or .tar.gz
//	cut FROM TO N                     write all but the last N bytes
//	unhex FROM TO                     write the bytes that a text has the hexadecimal digits of
//	utf16 le|be|bare FROM TO          write a text anew, with the mark of the order or none
//	certificate NAME                  make NAME.pem and NAME.key, for loopback
//	same A B                          two texts must be equal
//	refusing NAME                     make the variable NAME the address of a server that refuses every connection
//	sameday SECONDS                   the commands that follow, for so long, are of one day, UTC: wait for midnight when it is nearer
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                "testdata/script",
		RequireUniqueNames: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": scriptExits, "start": scriptStart, "await": scriptAwait, "until": scriptUntil, "end": scriptEnd, "http": scriptHTTP,
			"json": scriptJSON, "pack": scriptPack, "cut": scriptCut, "utf16": scriptUTF16, "unhex": scriptUnhex, "certificate": scriptCertificate, "same": scriptSame,
			"refusing": scriptRefusing, "sameday": scriptSameDay,
		},
		Setup: func(e *testscript.Env) error {
			e.Values[started{}] = map[string]*background{}
			return nil
		},
	})
}

// usage fails a script's line that has too few words.
func usage(ts *testscript.TestScript, neg bool, args []string, least int) {
	if neg || len(args) < least {
		ts.Fatalf("this command takes no ! and at least %d words", least)
	}
}

func scriptExits(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 2)
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	if got := exitCode(ts, err); got != want {
		ts.Fatalf("it exits with %d, not %d", got, want)
	}
}

func exitCode(ts *testscript.TestScript, err error) int {
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		ts.Fatalf("%v", err)
	}
	if exit != nil {
		return exit.ExitCode()
	}
	return 0
}

// started is the key of what a script started.
type started struct{}

type background struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

func scriptStart(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 2)
	name := args[0]
	cmd := exec.Command(args[1], args[2:]...)
	cmd.Dir = ts.MkAbs(".")
	for _, v := range []string{"PATH", "HOME", "TMPDIR", "SPOOR_DATA", "SPOOR_SERVER", "SPOOR_TOKEN", "STATE_DIRECTORY"} {
		cmd.Env = append(cmd.Env, v+"="+ts.Getenv(v))
	}
	in, err := cmd.StdinPipe() // nothing ever comes, nor an end
	ts.Check(err)
	open := func(suffix string) *os.File {
		f, err := os.Create(ts.MkAbs(name + suffix))
		ts.Check(err)
		return f
	}
	out, errs := open(".out"), open(".err")
	cmd.Stdout, cmd.Stderr = out, errs
	ts.Check(cmd.Start())
	b := &background{cmd: cmd, done: make(chan struct{})}
	go func() {
		b.err = cmd.Wait() // closes in, too
		out.Close()
		errs.Close()
		close(b.done)
	}()
	ts.Value(started{}).(map[string]*background)[name] = b
	ts.Defer(func() {
		in.Close()
		_ = cmd.Process.Kill() // it has ended already where the script stopped it
		<-b.done
	})
}

func scriptAwait(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 2)
	pattern, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		b, err := os.ReadFile(ts.MkAbs(args[0]))
		if errors.Is(err, fs.ErrNotExist) && time.Now().Before(end) {
			continue
		}
		ts.Check(err)
		if m := pattern.FindSubmatch(b); m != nil {
			for i, name := range pattern.SubexpNames() {
				if name != "" {
					ts.Setenv(name, string(m[i]))
				}
			}
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("%s does not hold %s after %s:\n%s", args[0], args[1], patience, b)
		}
	}
}

func scriptUntil(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 2)
	pattern, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		ts.Check(ts.Exec(args[1], args[2:]...))
		if pattern.MatchString(ts.ReadFile("stdout")) {
			return
		}
		if time.Now().After(end) {
			ts.Fatalf("it does not come to %s in %s", args[0], patience)
		}
	}
}

func scriptEnd(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 1)
	b := ts.Value(started{}).(map[string]*background)[args[0]]
	if b == nil {
		ts.Fatalf("nothing was started by the name %q", args[0])
	}
	want := 0
	if len(args) > 1 {
		var err error
		want, err = strconv.Atoi(args[1])
		ts.Check(err)
	}
	ts.Check(b.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case <-b.done:
	case <-time.After(patience):
		ts.Fatalf("it has not ended %s after SIGTERM", patience)
	}
	if got := exitCode(ts, b.err); got != want {
		ts.Fatalf("it ends with %d, not %d:\n%s", got, want, ts.ReadFile(args[0]+".err"))
	}
}

func scriptHTTP(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 1)
	method, status, until := http.MethodGet, http.StatusOK, false
	header := http.Header{}
	var body string
	transport := &http.Transport{}
	for len(args) > 1 {
		if len(args) < 3 {
			ts.Fatalf("a flag without its value: %v", args)
		}
		switch flag, value := args[0], args[1]; flag {
		case "-status", "-until":
			var err error
			until = flag == "-until"
			status, err = strconv.Atoi(value)
			ts.Check(err)
		case "-data":
			method, body = http.MethodPost, ts.ReadFile(value)
		case "-header":
			k, v, _ := strings.Cut(value, ": ")
			header.Set(k, v)
		case "-ca":
			pool := x509.NewCertPool()
			pool.AppendCertsFromPEM([]byte(ts.ReadFile(value)))
			transport.TLSClientConfig = &tls.Config{RootCAs: pool}
		default:
			ts.Fatalf("no such flag: %s", flag)
		}
		args = args[2:]
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	defer transport.CloseIdleConnections()
	c := http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for {
		req, err := http.NewRequestWithContext(ctx, method, args[0], strings.NewReader(body))
		ts.Check(err)
		req.Header = header
		res, err := c.Do(req)
		ts.Check(err)
		answer, err := io.ReadAll(res.Body)
		res.Body.Close()
		ts.Check(err)
		if until && res.StatusCode != status {
			time.Sleep(20 * time.Millisecond) // the context ends it
			continue
		}
		fmt.Fprintln(ts.Stderr(), res.Status)
		ts.Check(res.Header.Write(ts.Stderr()))
		_, err = ts.Stdout().Write(answer)
		ts.Check(err)
		if res.StatusCode != status {
			ts.Fatalf("%s answers %d, not %d", args[0], res.StatusCode, status)
		}
		return
	}
}

func scriptJSON(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 1)
	text, wants, lines := ts.ReadFile(args[0]), args[1:], 1
	if len(wants) > 1 && wants[0] == "-lines" {
		var err error
		lines, err = strconv.Atoi(wants[1])
		ts.Check(err)
		if got := strings.Count(text, "\n"); got != lines {
			ts.Fatalf("%d lines, not %d", got, lines)
		}
		wants = wants[2:]
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var values []any
	for range lines {
		var v any
		if err := d.Decode(&v); err != nil {
			ts.Fatalf("no JSON: %v", err)
		}
		values = append(values, v)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		ts.Fatalf("something follows the JSON")
	}
	var whole any = values
	if lines == 1 {
		whole = values[0]
	}
	for _, want := range wants {
		path, value, _ := strings.Cut(want, "=")
		v := whole
		for step := range strings.SplitSeq(path, ".") {
			switch in := v.(type) {
			case map[string]any:
				v = in[step]
			case []any:
				i, err := strconv.Atoi(step)
				if step == "length" {
					v = len(in)
				} else if err != nil || i >= len(in) {
					ts.Fatalf("%s: there is no element %q", path, step)
				} else {
					v = in[i]
				}
			default:
				ts.Fatalf("%s: there is nothing by the name %q", path, step)
			}
		}
		if got := fmt.Sprint(v); got != value {
			ts.Fatalf("%s is %s, not %s", path, got, value)
		}
	}
}

func scriptPack(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 2)
	var b bytes.Buffer
	if strings.HasSuffix(args[0], ".zip") {
		z := zip.NewWriter(&b)
		for _, name := range args[1:] {
			w, err := z.Create(filepath.Base(name))
			ts.Check(err)
			_, err = io.WriteString(w, ts.ReadFile(name))
			ts.Check(err)
		}
		ts.Check(z.Close())
	} else {
		g := gzip.NewWriter(&b)
		t := tar.NewWriter(g)
		for _, name := range args[1:] {
			text := ts.ReadFile(name)
			ts.Check(t.WriteHeader(&tar.Header{Name: "logs/" + filepath.Base(name), Mode: 0o600, Size: int64(len(text)), Typeflag: tar.TypeReg}))
			_, err := io.WriteString(t, text)
			ts.Check(err)
		}
		ts.Check(t.Close())
		ts.Check(g.Close())
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b.Bytes(), 0o600))
}

func scriptCut(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 3)
	text := ts.ReadFile(args[0])
	n, err := strconv.Atoi(args[2])
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(text[:max(len(text)-n, 0)]), 0o600))
}

func scriptUnhex(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 2)
	b, err := hex.DecodeString(strings.Join(strings.Fields(ts.ReadFile(args[0])), ""))
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), b, 0o600))
}

func scriptUTF16(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 3)
	var order binary.AppendByteOrder = binary.LittleEndian
	if args[0] == "be" {
		order = binary.BigEndian
	}
	var b []byte
	if args[0] != "bare" {
		b = order.AppendUint16(b, 0xFEFF)
	}
	for _, unit := range utf16.Encode([]rune(ts.ReadFile(args[1]))) {
		b = order.AppendUint16(b, unit)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), b, 0o600))
}

func scriptCertificate(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 1)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	about := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: args[0]}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	cert, err := x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)
	ts.Check(err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
}

func scriptSame(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 || neg == (args[0] == args[1]) {
		ts.Fatalf("%q", args)
	}
}

// scriptRefusing takes a port and does not listen on it, so that nobody else gets it meanwhile.
func scriptRefusing(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 1)
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	ts.Check(err)
	ts.Defer(func() { _ = syscall.Close(fd) })
	ts.Check(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	name, err := syscall.Getsockname(fd)
	ts.Check(err)
	ts.Setenv(args[0], fmt.Sprintf("http://127.0.0.1:%d", name.(*syscall.SockaddrInet4).Port))
}

func scriptSameDay(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, neg, args, 1)
	seconds, err := strconv.Atoi(args[0])
	ts.Check(err)
	const day = 24 * time.Hour
	if left := day - time.Since(time.Now().UTC().Truncate(day)); left < time.Duration(seconds)*time.Second {
		time.Sleep(left)
	}
}

// TestStopLosesNothing sends a server observations from several sides, one a request, and SIGTERM in the midst of it. What the server
// acknowledged must be there when its data is opened again, and it must end well.
func TestStopLosesNothing(t *testing.T) {
	data := t.TempDir()
	token := strings.TrimSpace(spoor(t, "", "token", "create", "--data", data, "--account", "sender", "--scope", "ingest"))
	server := exec.CommandContext(t.Context(), "spoor", "serve", "--data", data, "--listen", "127.0.0.1:0", "--log-json")
	log, err := server.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	var line struct{ Address string }
	d := json.NewDecoder(log)
	for line.Address == "" {
		if err := d.Decode(&line); err != nil {
			t.Fatal(err)
		}
	}
	drained := make(chan struct{})
	go func() { _, _ = io.Copy(io.Discard, log); close(drained) }() // the end of the pipe is the end of the server
	c, err := client.New(line.Address, token)
	if err != nil {
		t.Fatal(err)
	}

	const senders, enough = 4, 100
	acknowledged := make(chan string, 100_000)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	for sender := range senders {
		wg.Go(func() {
			for n := 0; ; n++ {
				f := fileNumber(sender*1_000_000 + n)
				o := intel.Observation{Source: intel.Source{Type: intel.Telemetry, Name: "test"}, Time: time.Unix(1_700_000_000, 0).UTC(), File: f,
					Fact: intel.Sighting{Path: `C:\run.exe`, Host: "ws"}}
				b, err := json.Marshal(o)
				if err != nil {
					t.Error(err)
					return
				}
				receipt, err := c.Observe(ctx, "", b)
				if err != nil {
					return // the server is gone
				}
				if receipt.Accepted == 1 {
					acknowledged <- f.MD5.String()
				}
			}
		})
	}
	var hashes []string
	for len(hashes) < enough {
		select {
		case h := <-acknowledged:
			hashes = append(hashes, h)
		case <-time.After(patience):
			t.Fatal("the server takes nothing")
		}
	}
	if err := server.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-drained
	cancel() // no more tries
	wg.Wait()
	if err := server.Wait(); err != nil {
		t.Fatalf("after SIGTERM the server ends with %v", err)
	}
	close(acknowledged)
	for h := range acknowledged {
		hashes = append(hashes, h)
	}
	spoor(t, strings.Join(hashes, "\n"), "lookup", "--data", data, "--json") // fails when one is unknown
	t.Logf("%d were acknowledged", len(hashes))
}
