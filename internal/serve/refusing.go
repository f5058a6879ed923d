package serve

import (
	"bytes"
	"fmt"
	"net"
	"strings"
)

// refusing gives what net/http refuses itself, before any handler sees it (a request line that is none, a header that is too large), the
// body that every other error has. It has no hook for that, but it writes such an answer by one write of a known form; should that form ever
// change, the answer goes out as it is. Under TLS it goes out as it is, too.
type refusing struct{ net.Listener }

func (l refusing) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if tcp, ok := c.(*net.TCPConn); ok && err == nil {
		return refusingConn{tcp}, nil
	}
	return c, err
}

type refusingConn struct{ *net.TCPConn }

// refusalHeader follows the status line of net/http's own refusals. An answer of a handler has a date, and so never this form.
var refusalHeader = []byte("\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n")

func (c refusingConn) Write(b []byte) (int, error) {
	line, text, ok := bytes.Cut(b[:min(len(b), 1024)], refusalHeader)
	if !ok || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) || bytes.IndexByte(line, '\n') >= 0 {
		return c.TCPConn.Write(b)
	}
	status, _, _ := strings.Cut(string(line[len("HTTP/1.1 "):]), ":")
	_, name, _ := strings.Cut(status, " ")
	_, detail, ok := strings.Cut(string(text), ": ")
	if !ok {
		detail = "its first line or a header is malformed or too large"
	}
	body := errorBody(strings.ReplaceAll(strings.ToLower(name), " ", "_"), "the request cannot be read: "+detail)
	if _, err := fmt.Fprintf(c.TCPConn, "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", status, len(body), body); err != nil {
		return 0, err
	}
	return len(b), nil
}
