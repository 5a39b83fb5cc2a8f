package config

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// parseStatic returns the absolute path of an existing folder; a relative one
// is relative to base.
func parseStatic(dir, base string) (string, error) {
	if dir == "" {
		return "", errors.New("empty folder name")
	}
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(base, dir)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("folder %s does not exist", dir)
	case err != nil:
		return "", fmt.Errorf("folder %s: %w", dir, plain(err))
	case !info.IsDir():
		return "", fmt.Errorf("%s is a file: static serves a folder", dir)
	}
	return dir, nil
}

// plain drops the operation and the path from a file error.
func plain(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}

// parseProxy checks where requests are sent: http://HOST[:PORT],
// https://HOST[:PORT], h2c://HOST[:PORT] or unix:/PATH.
func parseProxy(spec string) (string, error) {
	if path, ok := strings.CutPrefix(spec, "unix:"); ok {
		path = strings.TrimPrefix(path, "//")
		if !filepath.IsAbs(path) {
			return "", fmt.Errorf("%q: a socket's path begins with /, as in unix:/run/app.sock", spec)
		}
		return "unix:" + filepath.Clean(path), nil
	}
	u, err := url.Parse(spec)
	if err != nil {
		return "", fmt.Errorf("%q is not an address to send requests to: write http://HOST:PORT", spec)
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "h2c":
		return "", fmt.Errorf("%q is not an address to send requests to: write http://HOST:PORT, https://HOST:PORT, h2c://HOST:PORT or unix:/PATH", spec)
	case u.User != nil:
		return "", fmt.Errorf("the address of %s holds a password: an upstream is named without one", u.Host)
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "", fmt.Errorf("%q has a path: requests keep the path they came with, write %s://%s", spec, u.Scheme, u.Host)
	}
	return proxyAddress(spec, u)
}

func proxyAddress(spec string, u *url.URL) (string, error) {
	host, err := ParseHost(u.Hostname())
	if err != nil {
		return "", fmt.Errorf("%q: %w", spec, err)
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	port := u.Port()
	if port == "" {
		if strings.HasSuffix(u.Host, ":") {
			return "", fmt.Errorf("%q: the port after ':' is missing", spec)
		}
		return u.Scheme + "://" + host, nil
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return "", fmt.Errorf("%q: %q is no port between 1 and 65535", spec, port)
	}
	return fmt.Sprintf("%s://%s:%d", u.Scheme, host, n), nil
}
