package hollow

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/atoll-dev/atoll/sim/program"
)

func TestBackoff(t *testing.T) {
	b := backoff{base: 10 * time.Second, max: 5 * time.Minute, reset: 10 * time.Minute}
	now := time.Unix(0, 0)
	var got []time.Duration
	for range 8 {
		b.started(now)
		got = append(got, b.next(now)/time.Second)
	}
	if want := []time.Duration{0, 10, 20, 40, 80, 160, 300, 300}; !slices.Equal(got, want) {
		t.Errorf("waits %v, want %v", got, want)
	}
	b.started(now)
	if w := b.next(now.Add(10 * time.Minute)); w != 0 {
		t.Errorf("after a run of 10 minutes: wait %v, want none", w)
	}
}

func TestIPAM(t *testing.T) {
	m := newIPAM(netip.MustParsePrefix("10.0.0.0/29"))
	var got []string
	take := func() netip.Addr {
		a, err := m.take()
		if err != nil {
			got = append(got, "none")
			return a
		}
		got = append(got, a.String())
		return a
	}
	first := take()
	m.release(first)
	for range 5 {
		take() // the released one comes last
	}
	take()
	want := []string{"10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.2", "none"}
	if !slices.Equal(got, want) {
		t.Errorf("addresses %v, want %v", got, want)
	}
}

func TestProber(t *testing.T) {
	p := newProber(&corev1.Probe{SuccessThreshold: 2, FailureThreshold: 3}, false)
	var got []string
	for _, ok := range []bool{true, false, true, true, false, false, true, false, false, false} {
		p.result(ok)
		got = append(got, fmt.Sprint(p.good)[:1])
	}
	if s, want := strings.Join(got, ""), "fffttttttf"; s != want {
		t.Errorf("states %s, want %s", s, want)
	}
	if p := newProber(&corev1.Probe{}, true); p.success != 1 || p.failure != 3 {
		t.Errorf("default thresholds %d and %d, want 1 and 3", p.success, p.failure)
	}
}

func TestExpand(t *testing.T) {
	get := func(k string) (string, bool) {
		v, ok := map[string]string{"A": "1", "B": "$(A)"}[k]
		return v, ok
	}
	for in, want := range map[string]string{
		"plain": "plain", "$(A)": "1", "x$(A)y": "x1y", "$$(A)": "$(A)", "$(NO)": "$(NO)", "$(B)": "$(A)",
		"$": "$", "a$": "a$", "$A": "$A", "$(A": "$(A", "$$": "$", "$()": "$()", "$$$(A)": "$1",
	} {
		if got := expand(in, get); got != want {
			t.Errorf("expand(%q) = %q, want %q", in, got, want)
		}
	}
}

// fakeRefs are config maps and secrets by name.
type fakeRefs struct {
	maps    map[string]*corev1.ConfigMap
	secrets map[string]*corev1.Secret
}

func (f fakeRefs) configMap(_ context.Context, _, name string) (*corev1.ConfigMap, error) {
	if m, ok := f.maps[name]; ok {
		return m, nil
	}
	return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "configmaps"}, name)
}

func (f fakeRefs) secret(_ context.Context, _, name string) (*corev1.Secret, error) {
	if s, ok := f.secrets[name]; ok {
		return s, nil
	}
	return nil, apierrors.NewNotFound(schema.GroupResource{Resource: "secrets"}, name)
}

func testRefs() fakeRefs {
	return fakeRefs{
		maps:    map[string]*corev1.ConfigMap{"cm": {Data: map[string]string{"a": "1", "b": "2"}, BinaryData: map[string][]byte{"bin": {0}}}},
		secrets: map[string]*corev1.Secret{"s": {Data: map[string][]byte{"pw": []byte("x")}}},
	}
}

func testFacts(p *corev1.Pod) podFacts {
	return podFacts{pod: p, podIP: netip.MustParseAddr("10.2.0.2"), hostIP: netip.MustParseAddr("10.1.0.2"),
		allocatable: corev1.ResourceList{"cpu": resource.MustParse("4"), "memory": resource.MustParse("1Gi")}}
}

func TestEnviron(t *testing.T) {
	yes := true
	field := func(path string) *corev1.EnvVarSource {
		return &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}
	}
	res := func(r, div string) *corev1.EnvVarSource {
		s := &corev1.ResourceFieldSelector{Resource: r}
		if div != "" {
			s.Divisor = resource.MustParse(div)
		}
		return &corev1.EnvVarSource{ResourceFieldRef: s}
	}
	ref := func(n string) corev1.LocalObjectReference { return corev1.LocalObjectReference{Name: n} }
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns", Labels: map[string]string{"app": "x"}}, Spec: corev1.PodSpec{NodeName: "n"}}
	c := &corev1.Container{
		Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{"cpu": resource.MustParse("1500m")}},
		EnvFrom: []corev1.EnvFromSource{
			{Prefix: "CM_", ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: ref("cm")}},
			{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: ref("none"), Optional: &yes}},
		},
		Env: []corev1.EnvVar{
			{Name: "PLAIN", Value: "v"},
			{Name: "JOINED", Value: "$(PLAIN)-$(CM_a)-$(LATER)"},
			{Name: "LATER", Value: "x"},
			{Name: "IP", ValueFrom: field("status.podIP")}, {Name: "NODE", ValueFrom: field("spec.nodeName")},
			{Name: "APP", ValueFrom: field("metadata.labels['app']")},
			{Name: "CPU", ValueFrom: res("limits.cpu", "")}, {Name: "MCPU", ValueFrom: res("limits.cpu", "1m")},
			{Name: "MEM", ValueFrom: res("limits.memory", "1Mi")}, {Name: "REQ", ValueFrom: res("requests.memory", "")},
			{Name: "PW", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: ref("s"), Key: "pw"}}},
			{Name: "OPT", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{LocalObjectReference: ref("s"), Key: "no", Optional: &yes}}},
			{Name: "BASE", Value: "over"},
		},
	}
	got, err := environ(t.Context(), testRefs(), testFacts(pod), c, []string{"BASE=b"}, []string{"SVC=1"})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"BASE=over", "SVC=1", "CM_a=1", "CM_b=2", "PLAIN=v", "JOINED=v-1-$(LATER)", "LATER=x", "IP=10.2.0.2", "NODE=n", "APP=x", "CPU=2", "MCPU=1500", "MEM=1024", "REQ=0", "PW=x"}
	if !slices.Equal(got, want) {
		t.Errorf("environ\n got %q\nwant %q", got, want)
	}
	for _, bad := range []*corev1.EnvVarSource{
		field("status.nosuch"), res("limits", ""), {},
		{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: ref("none"), Key: "k"}},
		{ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: ref("cm"), Key: "no"}},
	} {
		c := &corev1.Container{Env: []corev1.EnvVar{{Name: "X", ValueFrom: bad}}}
		if _, err := environ(t.Context(), testRefs(), testFacts(pod), c, nil, nil); err == nil {
			t.Errorf("%+v gave no error", bad)
		}
	}
}

func TestServiceEnv(t *testing.T) {
	svc := func(ns, name, ip string, ports ...corev1.ServicePort) corev1.Service {
		return corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}, Spec: corev1.ServiceSpec{ClusterIP: ip, Ports: ports}}
	}
	all := []corev1.Service{
		svc("default", "kubernetes", "10.96.0.1", corev1.ServicePort{Name: "https", Port: 443, Protocol: "TCP"}),
		svc("ns", "my-app", "10.96.0.9", corev1.ServicePort{Port: 80}),
		svc("ns", "headless", "None", corev1.ServicePort{Port: 80}),
		svc("else", "other", "10.96.0.8", corev1.ServicePort{Port: 80}),
	}
	joined := func(links bool) string { return strings.Join(serviceEnv(all, "ns", links), " ") }
	for _, want := range []string{"KUBERNETES_SERVICE_HOST=10.96.0.1", "KUBERNETES_SERVICE_PORT=443", "KUBERNETES_SERVICE_PORT_HTTPS=443", "MY_APP_SERVICE_HOST=10.96.0.9", "MY_APP_PORT_80_TCP_ADDR=10.96.0.9"} {
		if !strings.Contains(joined(true), want) {
			t.Errorf("no %s in %s", want, joined(true))
		}
	}
	if s := joined(true); strings.Contains(s, "OTHER") || strings.Contains(s, "HEADLESS") {
		t.Errorf("too much in %s", s)
	}
	if s := joined(false); strings.Contains(s, "MY_APP") || !strings.Contains(s, "KUBERNETES_SERVICE_HOST") {
		t.Errorf("without links: %s", s)
	}
}

func TestVolumes(t *testing.T) {
	yes := true
	refs := testRefs()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Labels: map[string]string{"a": "b"}}, Spec: corev1.PodSpec{Volumes: []corev1.Volume{
		{Name: "cm", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "cm"}}}},
		{Name: "opt", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "none", Optional: &yes}}},
		{Name: "empty", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
		{Name: "all", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
			{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token"}},
			{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "cm"}, Items: []corev1.KeyToPath{{Key: "a", Path: "sub/a.txt"}}}},
			{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{{Path: "labels", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.labels"}}}}},
		}}}},
	}}}
	life := time.Hour
	asked := 0
	v := newPodVolumes(func() podFacts { return testFacts(pod) }, refs, func(context.Context, *corev1.Pod, *corev1.ServiceAccountTokenProjection) (string, time.Time, error) {
		asked++
		return fmt.Sprintf("token%d", asked), time.Now().Add(life), nil
	})
	refresh := func() {
		t.Helper()
		if err := v.refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	refresh()
	c := &corev1.Container{VolumeMounts: []corev1.VolumeMount{
		{Name: "cm", MountPath: "/etc/cm"}, {Name: "empty", MountPath: "/data"}, {Name: "all", MountPath: "/var/run/secrets/x", ReadOnly: true},
		{Name: "cm", MountPath: "/etc/one", SubPath: "a"}, {Name: "empty", MountPath: "/expr", SubPathExpr: "of-$(POD)"},
	}}
	mounts, err := v.mounts(c, func(string) (string, bool) { return "p", true })
	if err != nil {
		t.Fatal(err)
	}
	files := newContainerFS(newMemFS(), mounts)
	read := func(name, want string) {
		t.Helper()
		if got, err := fs.ReadFile(files, name); string(got) != want || err != nil {
			t.Errorf("%s = %q, %v; want %q", name, got, err, want)
		}
	}
	read("etc/cm/a", "1")
	read("etc/cm/bin", "\x00")
	read("etc/one", "1")
	read("var/run/secrets/x/token", "token1")
	read("var/run/secrets/x/sub/a.txt", "1")
	read("var/run/secrets/x/labels", `a="b"`)
	if err := files.WriteFile("expr/f", []byte("hi"), false); err != nil {
		t.Fatal(err)
	}
	read("data/of-p/f", "hi")
	for _, ro := range []string{"etc/cm/a", "var/run/secrets/x/new"} {
		if err := files.WriteFile(ro, nil, false); err == nil {
			t.Errorf("wrote to %s", ro)
		}
	}

	refs.maps["cm"].Data = map[string]string{"a": "changed"}
	pod.Labels["a"] = "c"
	refresh()
	read("etc/cm/a", "changed")
	read("var/run/secrets/x/labels", `a="c"`)
	read("data/of-p/f", "hi")
	read("var/run/secrets/x/token", "token1")
	life = 0
	v.held["all/token"] = heldToken{"token1", time.Now().Add(-time.Second)}
	refresh()
	read("var/run/secrets/x/token", "token2")

	pod.Spec.Volumes[0].ConfigMap.Name = "none"
	if err := v.refresh(t.Context()); err == nil || !strings.Contains(err.Error(), `volume "cm"`) {
		t.Errorf("a missing config map: %v", err)
	}
	read("etc/cm/a", "changed")
}

func TestFiles(t *testing.T) {
	root, vol := newMemFS(), newMemFS()
	v := &volume{}
	v.set(vol)
	c := newContainerFS(root, []mount{{at: "mnt/v", volume: v}})
	for _, f := range []string{"etc/hosts", "mnt/v/a/b", "top"} {
		if err := program.WriteFile(c, f, []byte(f), false); err != nil {
			t.Fatal(err)
		}
	}
	if err := program.WriteFile(c, "top", []byte("+"), true); err != nil {
		t.Fatal(err)
	}
	if b, _ := fs.ReadFile(c, "top"); string(b) != "top+" {
		t.Errorf("appended: %q", b)
	}
	if err := fstest.TestFS(root, "etc/hosts", "top"); err != nil {
		t.Error(err)
	}
	if err := fstest.TestFS(vol, "a/b"); err != nil {
		t.Error(err)
	}
	if b, err := fs.ReadFile(c, "mnt/v/a/b"); string(b) != "mnt/v/a/b" || err != nil {
		t.Errorf("through the mount: %q, %v", b, err)
	}
	for _, bad := range []string{"../x", "/abs", "", ".", "etc", "etc/hosts/under"} {
		if err := program.WriteFile(c, bad, nil, false); err == nil {
			t.Errorf("wrote to %q", bad)
		}
	}
	if err := program.WriteFile(c, "big", make([]byte, maxFileBytes+1), false); err == nil {
		t.Error("a file larger than a container may hold was taken")
	}
	if err := c.Remove("etc"); err == nil {
		t.Error("removed a folder that is not empty")
	}
	if err := c.Remove("top"); err != nil {
		t.Error(err)
	}
	if _, err := c.Open("top"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removed file: %v", err)
	}
	if err := program.WriteFile(fstest.MapFS{}, "x", nil, false); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("writing to a file system that cannot: %v", err)
	}
}

func TestLogs(t *testing.T) {
	l := newContainerLog()
	out, errw := l.writer(0), l.writer(1)
	io.WriteString(out, "one\ntwo\nhal")
	io.WriteString(errw, "error\n")
	io.WriteString(out, "f\n")
	all := logOptions{tail: -1, limit: -1}
	read := func(o logOptions) string {
		var b bytes.Buffer
		if err := l.copy(t.Context(), &b, o, func() {}); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	if got := read(all); got != "one\ntwo\nerror\nhalf\n" {
		t.Errorf("all: %q", got)
	}
	if got := read(logOptions{tail: 2, limit: -1}); got != "error\nhalf\n" {
		t.Errorf("tail: %q", got)
	}
	if got := read(logOptions{tail: -1, limit: 5}); got != "one\nt" {
		t.Errorf("limit: %q", got)
	}
	if got := read(logOptions{tail: -1, limit: -1, since: time.Now().Add(time.Hour)}); got != "" {
		t.Errorf("since: %q", got)
	}
	if got := read(logOptions{tail: 1, limit: -1, timestamps: true}); !strings.HasSuffix(got, "Z half\n") {
		t.Errorf("timestamps: %q", got)
	}

	follow, pw := io.Pipe()
	go func() {
		l.copy(context.Background(), pw, logOptions{follow: true, tail: -1, limit: -1}, func() {})
		pw.Close()
	}()
	head := make([]byte, len("one\n"))
	if _, err := io.ReadFull(follow, head); err != nil { // it has begun to follow
		t.Fatal(err)
	}
	io.WriteString(out, "new\nlast")
	l.end()
	got, err := io.ReadAll(follow)
	if string(got) != "two\nerror\nhalf\nnew\nlast" || err != nil {
		t.Errorf("followed: %q, %v", got, err)
	}
	if _, err := io.WriteString(out, "late"); err == nil {
		t.Error("a log that has ended takes more")
	}
	if got := l.tail(2, 6); got != "w\nlast" {
		t.Errorf("tail of at most 6 bytes: %q", got)
	}

	l = newContainerLog()
	for i := range 20000 {
		fmt.Fprintf(l.writer(0), "line %d %s\n", i, strings.Repeat("x", 50))
	}
	if l.bytes > logBytes*5/4 || l.first == 0 || !strings.HasPrefix(read(logOptions{tail: 1, limit: -1}), "line 19999") {
		t.Errorf("%d bytes are kept from line %d on, want at most %d", l.bytes, l.first, logBytes)
	}
	io.WriteString(l.writer(0), strings.Repeat("y", 3*logLineSize))
	if n := len(l.lines[len(l.lines)-1].text); n != logLineSize {
		t.Errorf("an endless line is cut at %d bytes, want %d", n, logLineSize)
	}
}

func TestTerminal(t *testing.T) {
	for _, c := range []struct {
		name, typed, read, shown string
		interrupts               int
	}{
		{"a line", "ls\r", "ls\n", "ls\r\n", 0},
		{"corrected", "lx\x7fs\r", "ls\n", "lx\b \bs\r\n", 0},
		{"rubbed out too often", "\x7fa\r", "a\n", "a\r\n", 0},
		{"interrupted", "abc\x03d\r", "d\n", "abc^C\r\nd\r\n", 1},
		{"ended", "a\r\x04", "a\n", "a\r\n", 0},
		{"line thrown away", "ab\x15c\r", "c\n", "ab\b \b\b \bc\r\n", 0},
		{"ended in mid-line", "ab", "ab", "ab", 0},
	} {
		var shown bytes.Buffer
		ctx, term := newTerminal(t.Context(), nil, &shown, func() {})
		term.eof = false
		interrupted := make(chan struct{}, 10)
		program.OnInterrupt(ctx, func() { interrupted <- struct{}{} })
		term.pump(strings.NewReader(c.typed))
		for range c.interrupts {
			<-interrupted
		}
		read, err := io.ReadAll(term)
		if err != nil || string(read) != c.read || shown.String() != c.shown {
			t.Errorf("%s: read %q, shown %q; want %q, %q", c.name, read, shown.String(), c.read, c.shown)
		}
	}
	var shown bytes.Buffer
	_, term := newTerminal(t.Context(), nil, &shown, nil)
	fmt.Fprint(term.output(), "a\nb\n")
	if shown.String() != "a\r\nb\r\n" {
		t.Errorf("output %q", shown.String())
	}
}
