package suites

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/atoll-dev/atoll/fixtures/lab"
)

// reply is what came of one request.
type reply struct {
	code int           // 0 when there was no HTTP answer
	took time.Duration // as curl measured it, in the pod
	pod  string        // that answered, as it says itself
	body string        // or curl's error
}

func (r reply) ok() bool { return r.code >= 200 && r.code < 300 }

// sender is a pod that requests come from.
type sender struct {
	cluster   *cluster
	namespace string
	pod       string
	container string
	owned     bool // by something that would replace it
}

// parallel is how many requests are under way at once, unless it is said.
const parallel = 10

// send makes n requests, up to 10 at a time, each of which may take as long
// as limit. The first of them start together, when everything that sends is
// running: starting a process in a container takes a machine longer than many
// a request, and is not what they measure. Requests that fail are replies too;
// an error means that the pod could not be asked.
func (f *sender) send(ctx context.Context, url string, n int, limit time.Duration) ([]reply, error) {
	return f.sendAtOnce(ctx, parallel, url, n, limit)
}

// sendAtOnce is send with another number of requests at a time.
func (f *sender) sendAtOnce(ctx context.Context, atOnce int, url string, n int, limit time.Duration) ([]reply, error) {
	workers := min(atOnce, n)
	start := newStartLine(workers)
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		all  []reply
		errs []error
	)
	for i := range workers {
		count := n / workers
		if i < n%workers {
			count++
		}
		wg.Go(func() {
			got, err := f.sendOneByOne(ctx, url, count, limit, start)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, got...)
			if err != nil {
				errs = append(errs, err)
			}
		})
	}
	wg.Wait()
	if len(errs) > 0 {
		return all, fmt.Errorf("exec in %s/%s: %w", f.cluster.name, f.pod, errs[0])
	}
	return all, nil
}

func (f *sender) sendOneByOne(ctx context.Context, url string, n int, limit time.Duration, start *startLine) ([]reply, error) {
	at := start.starter()
	defer at.arrive() // at the latest: the others don't wait for one that failed
	ctx, cancel := context.WithTimeout(ctx, time.Duration(n)*(limit+time.Second)+10*time.Second)
	defer cancel()
	var stdout bytes.Buffer
	err := lab.Exec(ctx, f.cluster.cfg, lab.ExecOptions{
		Namespace: f.namespace, Pod: f.pod, Container: f.container,
		Command: []string{"sh", "-c", script(url, n, limit)},
		Stdin:   at, Stdout: &stdout, Stderr: at,
	})
	// The script's own exit code is that of its last request, which has its reply.
	var exit *lab.ExitError
	if err != nil && !errors.As(err, &exit) {
		return nil, err
	}
	replies := parseReplies(stdout.Bytes())
	if len(replies) != n {
		return replies, fmt.Errorf("%d of %d requests reported: %s", len(replies), n, firstLine(at.said()))
	}
	return replies, nil
}

// marker precedes each request's figures on a line of its own.
const marker = "@@atoll "

// script is a loop of curl, one process per request, which says that it is
// there and waits for a line. Every request reports, the failed ones too.
func script(url string, n int, limit time.Duration) string {
	return fmt.Sprintf(`echo `+readyWord+` >&2; read go; i=0; while [ $i -lt %d ]; do curl -sS -m %.1f -w '\n%s%%{http_code} %%{time_total}\n' %s 2>&1; i=$((i+1)); done`,
		n, limit.Seconds(), marker, quote(url))
}

// quote makes one word of any text, for sh.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// parseReplies reads what script prints.
func parseReplies(out []byte) []reply {
	var replies []reply
	var body []string
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		figures, ok := strings.CutPrefix(lines.Text(), marker)
		if !ok {
			body = append(body, lines.Text())
			continue
		}
		r := reply{body: strings.TrimSpace(strings.Join(body, "\n"))}
		body = nil
		code, seconds, _ := strings.Cut(figures, " ")
		r.code, _ = strconv.Atoi(code) // curl prints 000 for none
		if s, err := strconv.ParseFloat(seconds, 64); err == nil {
			r.took = time.Duration(s * float64(time.Second))
		}
		var who struct {
			Hostname string `json:"hostname"`
		}
		if json.Unmarshal([]byte(r.body), &who) == nil {
			r.pod = who.Hostname
		}
		replies = append(replies, r)
	}
	return replies
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	return s
}

// tally is replies sorted by who gave them.
type tally struct {
	byCluster map[string]int
	took      map[string][]time.Duration
	failed    int
	reason    string // of one of the failed
}

// count sorts replies by the cluster of the pod that answered. An answer of a
// pod that is in no cluster's endpoints is a failure.
func count(replies []reply, home map[string]string) tally {
	t := tally{byCluster: map[string]int{}, took: map[string][]time.Duration{}}
	for _, r := range replies {
		cluster, known := home[r.pod]
		switch {
		case !r.ok():
			t.failed++
			t.reason = fmt.Sprintf("HTTP %d: %s", r.code, firstLine(r.body))
		case !known:
			t.failed++
			t.reason = fmt.Sprintf("answered by %q, which is no endpoint: %s", r.pod, firstLine(r.body))
		default:
			t.byCluster[cluster]++
			t.took[cluster] = append(t.took[cluster], r.took)
		}
	}
	return t
}

func (t tally) String() string {
	s := division(t.byCluster)
	if t.failed > 0 {
		s += fmt.Sprintf("; %d failed (%s)", t.failed, t.reason)
	}
	return s
}

// warmAndCold parts request times to a cluster that is rtt away: one round
// trip over a pooled connection, three (TCP, TLS, request) over a new one.
// Each counts as what it is nearer to.
func warmAndCold(took []time.Duration, rtt time.Duration) (warm, cold []time.Duration) {
	for _, t := range took {
		if t > 2*rtt && rtt > 0 {
			cold = append(cold, t)
		} else {
			warm = append(warm, t)
		}
	}
	return warm, cold
}
