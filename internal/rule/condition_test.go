package rule

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// somebody is Ben on a Thursday evening in Berlin.
func somebody(t testing.TB) *Facts {
	berlin := must(time.LoadLocation("Europe/Berlin"))
	at := time.Date(2026, 11, 26, 18, 30, 0, 0, berlin)
	return &Facts{
		Subject: Subject{Name: who("ben/phone").Name, Groups: who("", "family").Groups, Networks: []Network{must(ParseNetwork("lan"))}},
		Address: netip.MustParseAddr("192.168.1.7"),
		Certificate: Certificate{
			NotBefore: at.Add(-48 * time.Hour), NotAfter: at.Add(24 * time.Hour), Key: "ecdsa-p256", Profile: "device",
		},
		Host: "app.example.com", Method: "POST", Path: "/admin/x", Headers: map[string]string{"x-version": "2"}, Time: at,
	}
}

func TestConditionsAreAnswered(t *testing.T) {
	for text, want := range map[string]string{
		`request.hour >= 8 && request.hour < 18`:                        "no",
		`request.hour == 18 && request.minute == 30`:                    "yes",
		`request.weekday in ["saturday", "sunday"]`:                     "no",
		`request.weekday == "thursday" && request.date == "2026-11-26"`: "yes",
		`request.time < timestamp("2027-01-01T00:00:00Z")`:              "yes",
		`identity.name.under("ben")`:                                    "yes",
		`identity.name.under("ben/phone")`:                              "yes",
		`identity.name.under("be")`:                                     "no",
		`"family" in identity.groups`:                                   "yes",
		`certificate.age < duration("24h")`:                             "no",
		`certificate.left < duration("25h")`:                            "yes",
		`certificate.key.startsWith("ecdsa-") && !certificate.hardware`: "yes",
		`certificate.profile == "device"`:                               "yes",
		`"lan" in client.networks && client.address == "192.168.1.7"`:   "yes",
		`request.method == "GET" || request.path.startsWith("/admin/")`: "yes",
		`request.host == "app.example.com"`:                             "yes",
		`"x-version" in request.headers`:                                "yes",
		`request.headers["x-version"] == "2"`:                           "yes",
		`!("x-other" in request.headers)`:                               "yes",
		`request.headers["x-other"] != "2"`:                             "no such key",
		`identity.name.under("")`:                                       "empty",
		`request.path.matches("^/[a-z]+/x$")`:                           "yes",
		`[1,2,3].all(i, [1,2,3].all(j, [1,2,3].all(k, i + j + k > 0)))`: "yes",
	} {
		c, err := ParseCondition(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := answer(c, somebody(t)); !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
		if c.String() != text {
			t.Errorf("%s prints as %s", text, c)
		}
	}
}

func answer(c *Condition, f *Facts) string {
	yes, err := c.Holds(f)
	switch {
	case err != nil && yes:
		return "yes in spite of " + err.Error()
	case err != nil:
		return err.Error()
	case yes:
		return "yes"
	}
	return "no"
}

func TestAStrangersCertificateAnswersNothing(t *testing.T) {
	for _, text := range []string{`certificate.age < duration("24h")`, `!certificate.hardware`, `certificate.key != "rsa-2048"`, `certificate.profile != "x"`, `certificate.left > duration("-1h")`} {
		c := must(ParseCondition(text))
		if got := answer(c, &Facts{Time: time.Unix(0, 0)}); got != errStranger.Error() {
			t.Errorf("%s: %s", text, got)
		}
	}
	if c := must(ParseCondition(`identity.name != "" || client.address == ""`)); answer(c, &Facts{}) != "yes" {
		t.Error("a stranger has no name and no address")
	}
}

func TestWrongConditionsAreRefusedWithTheirPlace(t *testing.T) {
	for text, want := range map[string]string{
		``:                                        "0:0 the condition is empty",
		`request.hour`:                            "1:1 a condition answers yes or no, and this is of type int",
		`request.hour >= "8"`:                     "1:14 found no matching overload",
		`request.our >= 8`:                        "1:8 undeclared reference",
		"true &&\n request.our >= 8":              "2:9 undeclared reference",
		`request.hour >=`:                         "1:16 Syntax error",
		`identity.name == 5`:                      "1:15 found no matching overload",
		`now() > 5`:                               "1:4 undeclared reference to 'now'",
		`request.headers["X-Version"] == "2"`:     `0:0 header names are in small letters here: write "x-version"`,
		`request.headers[request.path] == "2"`:    "0:0 name each header field",
		`request.headers.all(h, h != "")`:         "0:0 name each header field",
		`size(request.headers) == 0`:              "0:0 name each header field",
		`request == 5`:                            "1:1 undeclared reference",
		`"` + strings.Repeat("x", 5000) + `"==""`: "0:0 a condition has at most 4096",
	} {
		_, err := ParseCondition(text)
		if err == nil {
			t.Errorf("%.50s is accepted", text)
			continue
		}
		line, column := 0, 0
		if e, ok := errors.AsType[*ConditionError](err); ok {
			line, column = e.Line, e.Column
		}
		if got := strings.Join([]string{digits(line) + ":" + digits(column), err.Error()}, " "); !strings.HasPrefix(got, want) {
			t.Errorf("%.50s: %s, want %s", text, got, want)
		}
	}
}

func digits(n int) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return digits(n/10) + digits(n%10)
}

func TestACostlyConditionIsNotAnswered(t *testing.T) {
	list := "[" + strings.Repeat("1,", 99) + "1]"
	c := must(ParseCondition(list + ".all(i, " + list + ".all(j, " + list + ".all(k, i + j + k > 0)))"))
	start := time.Now()
	if got := answer(c, somebody(t)); !strings.Contains(got, "cost limit exceeded") {
		t.Errorf("%s", got)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
	long := must(ParseCondition(`request.headers["x"].matches("(a+)+$")`))
	f := somebody(t)
	f.Headers = map[string]string{"x": strings.Repeat("a", 1<<20) + "b"}
	if got := answer(long, f); !strings.Contains(got, "cost limit exceeded") && got != "no" {
		t.Errorf("%s", got)
	}
}

func TestBytesThatAreNoTextFailClosed(t *testing.T) {
	c := must(ParseCondition(`request.headers["x"] != "forbidden"`))
	f := somebody(t)
	f.Headers = map[string]string{"x": "forbidden\xff"}
	if got := answer(c, f); !strings.Contains(got, "no UTF-8") {
		t.Errorf("%s", got)
	}
}

func TestWhatAConditionAsksIsKnown(t *testing.T) {
	for text, want := range map[string]struct {
		timed, ofRequests bool
		headers           string
	}{
		`request.hour > 5`:                 {true, false, ""},
		`certificate.age > duration("1h")`: {true, false, ""},
		`identity.name == "ben"`:           {false, false, ""},
		`request.path == "/"`:              {false, true, ""},
		`"b" in request.headers && request.headers["a"] == request.headers["b"]`: {false, true, "a,b"},
	} {
		c := must(ParseCondition(text))
		if c.Timed() != want.timed || c.OfRequests() != want.ofRequests || strings.Join(c.Headers(), ",") != want.headers {
			t.Errorf("%s: timed %v, of requests %v, headers %v", text, c.Timed(), c.OfRequests(), c.Headers())
		}
	}
	var none *Condition
	if none.Timed() || none.OfRequests() || none.Headers() != nil {
		t.Error("no condition asks something")
	}
}

// Whatever is accepted is answered or refused, and does neither panic nor hang.
func FuzzCondition(f *testing.F) {
	for _, s := range []string{`request.hour >= 8 && request.hour < 18`, `"a" in request.headers`, `identity.name.under("ben")`, `[1].all(i, i > 0)`} {
		f.Add(s)
	}
	facts := somebody(f)
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseCondition(s)
		if err != nil {
			return
		}
		if yes, err := c.Holds(facts); yes && err != nil {
			t.Errorf("%q: yes in spite of %v", s, err)
		}
	})
}

func BenchmarkCondition(b *testing.B) {
	c := must(ParseCondition(`request.hour >= 8 && request.hour < 23 && identity.name.under("ben")`))
	facts := somebody(b)
	b.ReportAllocs()
	for b.Loop() {
		if yes, err := c.Holds(facts); !yes || err != nil {
			b.Fatal(err)
		}
	}
}
