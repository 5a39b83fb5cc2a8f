package attack

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
)

// An application stands behind the gateway and answers each request with what
// it received, byte for byte.
type application struct {
	net.Listener
	mu       sync.Mutex // guards requests
	requests []received
}

// A received is one request as the application read it.
type received struct {
	conn int
	head string // with its line breaks
	body string
}

func newApplication() (*application, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	a := &application{Listener: l}
	go func() {
		for n := 0; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go a.serve(c, n)
		}
	}()
	return a, nil
}

func (a *application) url() string { return "http://" + a.Addr().String() }

func (a *application) serve(c net.Conn, n int) {
	defer c.Close()
	r := bufio.NewReader(c)
	for {
		var head strings.Builder
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			head.WriteString(line)
			if line == "\r\n" || line == "\n" {
				break
			}
		}
		text := head.String()
		body, err := readBody(r, text)
		if err != nil {
			return
		}
		a.mu.Lock()
		a.requests = append(a.requests, received{n, text, body})
		a.mu.Unlock()
		if strings.Contains(text, "\nUpgrade: websocket") && strings.HasPrefix(text, "GET /accept") {
			io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
			io.Copy(c, r)
			return
		}
		answer := text + body
		if strings.HasPrefix(text, "HEAD ") {
			answer = ""
		}
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", len(answer), answer)
	}
}

// readBody reads what a request announces, with its trailers.
func readBody(r *bufio.Reader, head string) (string, error) {
	for line := range strings.Lines(head) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch value = strings.TrimSpace(value); strings.ToLower(name) {
		case "content-length":
			n, err := strconv.Atoi(value)
			if err != nil {
				return "", err
			}
			body := make([]byte, n)
			_, err = io.ReadFull(r, body)
			return string(body), err
		case "transfer-encoding":
			return readChunks(r)
		}
	}
	return "", nil
}

func readChunks(r *bufio.Reader) (string, error) {
	var body strings.Builder
	tp := textproto.NewReader(r)
	for {
		line, err := tp.ReadLine()
		if err != nil {
			return "", err
		}
		size, err := strconv.ParseInt(line, 16, 32)
		if err != nil {
			return "", err
		}
		if size == 0 {
			trailers, err := tp.ReadMIMEHeader()
			for name, values := range trailers {
				fmt.Fprintf(&body, "%s: %s\r\n", name, strings.Join(values, ", "))
			}
			return body.String(), err
		}
		if _, err := io.CopyN(&body, r, size); err != nil {
			return "", err
		}
		if _, err := tp.ReadLine(); err != nil {
			return "", err
		}
	}
}

// saw returns the requests in which a word occurs.
func (a *application) saw(word string) []received {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all []received
	for _, r := range a.requests {
		if strings.Contains(r.head+r.body, word) {
			all = append(all, r)
		}
	}
	return all
}
