package unpack

import (
	"bytes"
	"encoding/base64"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/inspect/filetype"
)

const mailTop = "From: a@example.com\nTo: b@example.com\nSubject: s\nMIME-Version: 1.0\n"

func TestMail(t *testing.T) {
	program := strings.Repeat("MZ program \x00\xff", 50)
	encoded := base64.StdEncoding.EncodeToString([]byte(program))
	var lines strings.Builder
	for i := 0; i < len(encoded); i += 76 {
		lines.WriteString(encoded[i:min(len(encoded), i+76)] + "\n")
	}
	nested := mailTop + "Content-Type: multipart/mixed; boundary=in\n\n--in\n\ninner\n--in--"
	whole := mailTop + "Content-Type: multipart/mixed;\n boundary=\"out\"\n\npreamble\n--out\nContent-Type: text/plain\n\nhello\n\n" +
		"--out\nContent-Type: application/octet-stream; name=x\nContent-Transfer-Encoding: BASE64\nContent-Disposition: attachment;\n filename*0*=UTF-8''in%C3%BC;\n filename*1=voice.exe\n\n" + lines.String() +
		"--out\nContent-Type: message/rfc822\n\n" + nested +
		"\n--out\nContent-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\n<p =\nclass=3D\"x\">=C3=BC=zz</p>\n--out\n" +
		"Content-Disposition: attachment; filename=\"=?ISO-8859-1?Q?gr=FC=DFe.txt?=\"\n\nx\n--out--\nepilogue\n"
	parts := []entry{member("part-1.txt", "hello\n"), member("inüvoice.exe", program), member("part-3.eml", nested),
		member("part-4.html", "<p class=\"x\">ü=zz</p>"), member("grüße.txt", "x")}
	for name, c := range map[string]struct {
		in   string
		want []entry
		err  string
	}{
		"plain":       {in: mailTop + "\nbody\n", want: []entry{member("body.txt", "body\n")}},
		"parts":       {in: whole, want: parts},
		"CRLF":        {in: strings.ReplaceAll(whole, "\n", "\r\n"), want: []entry{member("part-1.txt", "hello\r\n"), parts[1], member("part-3.eml", strings.ReplaceAll(nested, "\n", "\r\n")), parts[3], parts[4]}},
		"cut":         {in: whole[:strings.Index(whole, "--out--")], want: parts, err: "mail: the data ends too early"},
		"nested part": {in: nested, want: []entry{member("part-1.txt", "inner")}},
		"damaged parameters": {in: mailTop + "Content-Type: application/zip; name=a b.zip; name=\"c;d\"; ;=\nContent-Disposition: attachment; filename=../../in voice.zip; ;\nContent-Transfer-Encoding: base64\n\nUEsD\n!!BA==\n",
			want: []entry{member(".._.._in voice.zip", "PK\x03\x04")}},
		"padding in the middle": {in: mailTop + "Content-Transfer-Encoding: base64\n\nYQ==\nYg==\n", want: []entry{member("body.txt", "ab")}},
		"uuencode":              {in: mailTop + "Content-Type: x/y; name=p.exe\nContent-Transfer-Encoding: x-uuencode\n\nbegin 644 p.exe\n#0V%T\n`\nend\n", want: []entry{member("p.exe", "Cat")}},
		"fields only":           {in: mailTop, want: []entry{member("body.txt", "")}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := list(t, filetype.Mail, []byte(c.in), Options{})
			if err == nil && c.err != "" || err != nil && err.Error() != c.err {
				t.Errorf("error %v, want %q", err, c.err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("members (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMbox(t *testing.T) {
	first, second := mailTop+"\nFrom the beginning\n\n", mailTop+"\nsecond\n"
	in := "From a@example.com Thu Jan  1 00:00:00 2026\n" + first + "From b@example.com Thu Jan  1 00:00:00 2026\n" + second
	got, err := list(t, filetype.Mbox, []byte(in), Options{})
	if diff := cmp.Diff([]entry{member("message-1.eml", first), member("message-2.eml", second)}, got); diff != "" || err != nil {
		t.Errorf("%v; members (-want +got):\n%s", err, diff)
	}
	if _, err := list(t, filetype.Mbox, nil, Options{}); err == nil {
		t.Error("nothing is taken as a mailbox")
	}
}

// TestMailClamAV finds the program in the mails of Debian's clamav-testfiles.
func TestMailClamAV(t *testing.T) {
	program, err := os.ReadFile(clamAV(t, "clam.exe"))
	if err != nil {
		t.Fatal(err)
	}
	want := sum(program)
	for _, name := range []string{"clam.mail", "clam.exe.mbox.base64", "clam.exe.mbox.uu"} {
		b, err := os.ReadFile(clamAV(t, name))
		if err != nil {
			t.Fatal(err)
		}
		told := filetype.Detect(bytes.NewReader(b), int64(len(b)))
		if told.Format == filetype.Mbox {
			b = unpackAll(t, filetype.Mbox, b, "")[0].data
		} else if told.Format != filetype.Mail {
			t.Errorf("%s is told as %v", name, told)
		}
		found := false
		got, err := list(t, filetype.Mail, b, Options{})
		for _, e := range got {
			found = found || e.Path == "clam.exe" && e.SHA256 == want
		}
		if !found || err != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func FuzzMail(f *testing.F) {
	f.Add([]byte(mailTop + "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Transfer-Encoding: base64\n\nYWJj\n--b\nContent-Transfer-Encoding: quoted-printable\n\na=3D=\nb\n--b--\n"))
	f.Add([]byte("From x\n" + mailTop + "Content-Transfer-Encoding: uuencode\n\nbegin 644 p\n#0V%T\n`\nend\n\nFrom y\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		unpackAny(t, filetype.Mail, b)
		unpackAny(t, filetype.Mbox, b)
	})
}
