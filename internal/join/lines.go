package join

import (
	"encoding/json"
	"fmt"
	"net/url"
	"path/filepath"
)

// A Line is something ready to be copied, for one program.
type Line struct {
	For  string `json:"for"`
	Text string `json:"text"`
}

// Lines returns what makes other programs use the identity in dir at a site
// such as https://pw.example.com:8443/.
func Lines(dir, site string) ([]Line, error) {
	c, err := load(dir)
	if err != nil {
		return nil, fmt.Errorf("%w: name the folder that 'postern join' wrote", err)
	}
	state, err := ReadState(dir)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(site)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("%q is no address of a site: one looks like https://pw.example.com/", site)
	}
	cert, key, root := filepath.Join(dir, CertFile), filepath.Join(dir, KeyFile), filepath.Join(dir, RootFile)
	base := "https://" + u.Host + "/"
	port := u.Port()
	if port == "" {
		port = "443"
	}
	choose, err := json.Marshal(map[string]any{"pattern": "https://" + u.Host, "filter": map[string]any{"SUBJECT": map[string]string{"CN": c.leaf.Subject.CommonName}}})
	if err != nil {
		return nil, err
	}
	chromium, err := json.Marshal(map[string]any{"AutoSelectCertificateForUrls": []string{string(choose)}})
	if err != nil {
		return nil, err
	}
	firefox, err := json.Marshal(map[string]any{"policies": map[string]any{"Certificates": map[string]any{"Install": []string{root}}}})
	if err != nil {
		return nil, err
	}
	git := func(what, value string) string {
		return fmt.Sprintf("git config --global %s %s", shellQuote("http."+base+"."+what), shellQuote(value))
	}
	docker := shellQuote("/etc/docker/certs.d/" + u.Host)
	if state.bound() { // there is no key in a file that other programs can read
		return []Line{
			{"curl", c.curlLine(dir, base, state)},
			{"chromium: /etc/chromium/policies/managed/postern.json", string(chromium)},
			{"firefox: /etc/firefox/policies/policies.json", string(firefox)},
		}, nil
	}
	return []Line{
		{"curl", c.curlLine(dir, base, state)},
		{"git", git("sslCert", cert) + "\n" + git("sslKey", key) + "\n" + git("sslCAInfo", root)},
		{"psql", "psql " + shellQuote(fmt.Sprintf("host=%s port=%s sslmode=verify-full sslcert=%s sslkey=%s sslrootcert=%s", u.Hostname(), port, conninfo(cert), conninfo(key), conninfo(root)))},
		{"kubectl", fmt.Sprintf("kubectl config set-credentials %s --client-certificate=%s --client-key=%s",
			shellQuote(c.leaf.Subject.CommonName), shellQuote(cert), shellQuote(key)) +
			fmt.Sprintf("\nkubectl config set-cluster postern --server=%s --certificate-authority=%s", shellQuote(base), shellQuote(root))},
		{"docker", fmt.Sprintf("sudo install -D -m 0644 %s %s/client.cert", shellQuote(cert), docker) +
			fmt.Sprintf("\nsudo install -D -m 0600 %s %s/client.key", shellQuote(key), docker) +
			fmt.Sprintf("\nsudo install -D -m 0644 %s %s/ca.crt", shellQuote(root), docker)},
		{"chromium: /etc/chromium/policies/managed/postern.json", string(chromium)},
		{"firefox: /etc/firefox/policies/policies.json", string(firefox)},
	}, nil
}

// conninfo writes a value for libpq (PostgreSQL, section 32.1.1.1).
func conninfo(s string) string {
	out := make([]byte, 0, len(s)+2)
	for i := range len(s) {
		if s[i] == '\'' || s[i] == '\\' {
			out = append(out, '\\')
		}
		out = append(out, s[i])
	}
	return "'" + string(out) + "'"
}
