package suites

import (
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestParseReplies(t *testing.T) {
	out := `{
  "hostname": "hello-6d5-abcde",
  "version": "6.9.2"
}
@@atoll 200 0.140523
curl: (28) Operation timed out after 2001 milliseconds
@@atoll 000 2.001000

@@atoll 503 0.001
hello from nginx, without an end
@@atoll 200 x
and half a reply`
	got := parseReplies([]byte(out))
	want := []reply{
		{code: 200, took: 140523 * time.Microsecond, pod: "hello-6d5-abcde"},
		{code: 0, took: 2001 * time.Millisecond},
		{code: 503, took: time.Millisecond},
		{code: 200},
	}
	if len(got) != len(want) {
		t.Fatalf("%d replies, want %d: %+v", len(got), len(want), got)
	}
	for i := range want {
		w, g := want[i], got[i]
		if g.code != w.code || g.took != w.took || g.pod != w.pod {
			t.Errorf("reply %d: %+v, want %+v", i, g, w)
		}
	}
	if !strings.Contains(got[1].body, "timed out") {
		t.Errorf("curl's error is lost: %q", got[1].body)
	}
}

// The script is for any shell; a URL is data to it, whatever is in it.
func TestScriptRunsInARealShell(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("no sh here")
	}
	const url = `http://hello:5000/?a='b'&c=$(exit 3)`
	curl := "curl() { printf '%s\\n@@atoll 200 0.5\\n' \"$6\"; }\n"
	start := newStartLine(2)
	r, other := start.starter(), start.starter()
	var out strings.Builder
	cmd := exec.CommandContext(t.Context(), sh, "-c", curl+script(url, 3, 2*time.Second))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = r, &out, r
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	other.arrive()
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, r.said())
	}
	replies := parseReplies([]byte(out.String()))
	if len(replies) != 3 || r.said() != "" {
		t.Fatalf("%d replies in %s; it complains: %q", len(replies), out.String(), r.said())
	}
	for _, r := range replies {
		if r.body != url {
			t.Errorf("curl was asked for %q, want %q", r.body, url)
		}
	}
}

func TestStartersStartTogether(t *testing.T) {
	start := newStartLine(3)
	first, second, third := start.starter(), start.starter(), start.starter()
	said := make(chan string, 1)
	go func() {
		line, _ := io.ReadAll(first)
		said <- string(line)
	}()
	fmt.Fprint(first, "rea")
	fmt.Fprint(first, "dy\nsh: not so good\n")
	second.arrive() // it could not be started
	select {
	case <-start.shot:
		t.Fatal("started without the third")
	default:
	}
	fmt.Fprint(third, "ready\n")
	if got := <-said; got != "\n" {
		t.Errorf("the start is %q, want a line", got)
	}
	if got := first.said(); got != "sh: not so good\n" {
		t.Errorf("complaints: %q", got)
	}
}

func TestCountSortsByWhoAnswered(t *testing.T) {
	home := map[string]string{"a-1": "eu", "a-2": "us"}
	got := count([]reply{
		{code: 200, pod: "a-1", took: 1}, {code: 200, pod: "a-1", took: 3}, {code: 200, pod: "a-2", took: 2},
		{code: 503, pod: "a-2"}, {code: 200, pod: "stranger"}, {},
	}, home)
	if got.byCluster["eu"] != 2 || got.byCluster["us"] != 1 || got.failed != 3 || len(got.took["eu"]) != 2 {
		t.Errorf("got %+v", got)
	}
}

func TestWarmAndCold(t *testing.T) {
	ms := func(n ...int) (d []time.Duration) {
		for _, n := range n {
			d = append(d, time.Duration(n)*time.Millisecond)
		}
		return d
	}
	warm, cold := warmAndCold(ms(141, 150, 425, 421, 199, 285), 140*time.Millisecond)
	if len(warm) != 3 || len(cold) != 3 {
		t.Errorf("warm %v, cold %v", warm, cold)
	}
}

func TestServiceOf(t *testing.T) {
	for url, want := range map[string]string{
		"http://hello:5000":                      "default/hello",
		"http://hello.shop.svc.cluster.local/x":  "shop/hello",
		"http://hello.shop:80":                   "shop/hello",
		"http://10.0.0.1:80":                     "",
		"http://":                                "",
		"://":                                    "",
		"http://hello.shop.svc.clusterset.local": "shop/hello",
	} {
		name, ns, err := serviceOf(url)
		if got := ns + "/" + name; (err == nil && got != want) || (err != nil) != (want == "") {
			t.Errorf("%s: %s, %v; want %q", url, got, err, want)
		}
	}
}
