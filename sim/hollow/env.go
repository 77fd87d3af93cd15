package hollow

import (
	"context"
	"fmt"
	"net/netip"
	"sort"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// podFacts is what the downward API can tell of a pod.
type podFacts struct {
	pod         *corev1.Pod
	podIP       netip.Addr
	hostIP      netip.Addr
	allocatable corev1.ResourceList // stands for a limit that is not set
}

// references reads the objects that env and volumes refer to.
type references interface {
	configMap(ctx context.Context, namespace, name string) (*corev1.ConfigMap, error)
	secret(ctx context.Context, namespace, name string) (*corev1.Secret, error)
}

// field resolves a downward API field.
func (f podFacts) field(path string) (string, error) {
	if name, key, ok := strings.Cut(path, "['"); ok && strings.HasSuffix(key, "']") {
		key = strings.TrimSuffix(key, "']")
		switch name {
		case "metadata.labels":
			return f.pod.Labels[key], nil
		case "metadata.annotations":
			return f.pod.Annotations[key], nil
		}
		return "", fmt.Errorf("unsupported fieldPath: %s", path)
	}
	switch path {
	case "metadata.name":
		return f.pod.Name, nil
	case "metadata.namespace":
		return f.pod.Namespace, nil
	case "metadata.uid":
		return string(f.pod.UID), nil
	case "metadata.labels":
		return quotedMap(f.pod.Labels), nil
	case "metadata.annotations":
		return quotedMap(f.pod.Annotations), nil
	case "spec.nodeName":
		return f.pod.Spec.NodeName, nil
	case "spec.serviceAccountName":
		return f.pod.Spec.ServiceAccountName, nil
	case "status.hostIP", "status.hostIPs":
		return f.hostIP.String(), nil
	case "status.podIP", "status.podIPs":
		return f.podIP.String(), nil
	}
	return "", fmt.Errorf("unsupported fieldPath: %s", path)
}

// quotedMap writes labels or annotations as a downward API file does.
func quotedMap(m map[string]string) string {
	lines := make([]string, 0, len(m))
	for k, v := range m {
		lines = append(lines, k+"="+strconv.Quote(v))
	}
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}

// resource resolves a downward API resource: a container's limit or request
// in units of the divisor, rounded up.
func (f podFacts) resource(ref *corev1.ResourceFieldSelector, c *corev1.Container) (string, error) {
	if ref.ContainerName != "" {
		c = nil
		for _, list := range [][]corev1.Container{f.pod.Spec.InitContainers, f.pod.Spec.Containers} {
			for i := range list {
				if list[i].Name == ref.ContainerName {
					c = &list[i]
				}
			}
		}
	}
	if c == nil {
		return "", fmt.Errorf("container %s not found", ref.ContainerName)
	}
	kind, name, ok := strings.Cut(ref.Resource, ".")
	list := c.Resources.Limits
	switch {
	case !ok || (kind != "limits" && kind != "requests"):
		return "", fmt.Errorf("unsupported container resource: %s", ref.Resource)
	case kind == "requests":
		list = c.Resources.Requests
	}
	q, set := list[corev1.ResourceName(name)]
	if !set && kind == "limits" {
		q = f.allocatable[corev1.ResourceName(name)]
	}
	divisor := ref.Divisor
	if divisor.IsZero() {
		divisor = resource.MustParse("1")
	}
	if name == string(corev1.ResourceCPU) {
		return strconv.FormatInt(ceilDiv(q.MilliValue(), divisor.MilliValue()), 10), nil
	}
	return strconv.FormatInt(ceilDiv(q.Value(), divisor.Value()), 10), nil
}

func ceilDiv(a, b int64) int64 {
	if b <= 0 {
		b = 1
	}
	return (a + b - 1) / b
}

// environ builds a container's environment on top of base, in the order a
// kubelet does: services, envFrom, env. The result has one entry per name.
func environ(ctx context.Context, refs references, f podFacts, c *corev1.Container, base, services []string) ([]string, error) {
	vars := newVarList(base)
	for _, kv := range services {
		k, v, _ := strings.Cut(kv, "=")
		vars.set(k, v)
	}
	ns := f.pod.Namespace
	for _, from := range c.EnvFrom {
		data := map[string]string{}
		switch {
		case from.ConfigMapRef != nil:
			cm, err := refs.configMap(ctx, ns, from.ConfigMapRef.Name)
			if err != nil {
				if isNotFound(err) && isTrue(from.ConfigMapRef.Optional) {
					continue
				}
				return nil, err
			}
			data = cm.Data
		case from.SecretRef != nil:
			s, err := refs.secret(ctx, ns, from.SecretRef.Name)
			if err != nil {
				if isNotFound(err) && isTrue(from.SecretRef.Optional) {
					continue
				}
				return nil, err
			}
			for k, v := range s.Data {
				data[k] = string(v)
			}
		}
		for _, k := range sortedKeys(data) {
			vars.set(from.Prefix+k, data[k])
		}
	}
	for _, e := range c.Env {
		value := e.Value
		if e.ValueFrom != nil {
			v, ok, err := valueFrom(ctx, refs, f, c, e.ValueFrom)
			if err != nil {
				return nil, err
			}
			if !ok {
				continue
			}
			value = v
		} else {
			value = expand(value, vars.get)
		}
		vars.set(e.Name, value)
	}
	return vars.list(), nil
}

// valueFrom resolves one reference; ok is false for an optional one that
// leads nowhere.
func valueFrom(ctx context.Context, refs references, f podFacts, c *corev1.Container, src *corev1.EnvVarSource) (v string, ok bool, err error) {
	ns := f.pod.Namespace
	switch {
	case src.FieldRef != nil:
		v, err = f.field(src.FieldRef.FieldPath)
		return v, err == nil, err
	case src.ResourceFieldRef != nil:
		v, err = f.resource(src.ResourceFieldRef, c)
		return v, err == nil, err
	case src.ConfigMapKeyRef != nil:
		r := src.ConfigMapKeyRef
		cm, err := refs.configMap(ctx, ns, r.Name)
		if err != nil {
			if isNotFound(err) && isTrue(r.Optional) {
				return "", false, nil
			}
			return "", false, err
		}
		if v, ok = cm.Data[r.Key]; !ok && !isTrue(r.Optional) {
			err = fmt.Errorf("couldn't find key %s in ConfigMap %s/%s", r.Key, ns, r.Name)
		}
		return v, ok, err
	case src.SecretKeyRef != nil:
		r := src.SecretKeyRef
		s, err := refs.secret(ctx, ns, r.Name)
		if err != nil {
			if isNotFound(err) && isTrue(r.Optional) {
				return "", false, nil
			}
			return "", false, err
		}
		b, ok := s.Data[r.Key]
		if !ok && !isTrue(r.Optional) {
			err = fmt.Errorf("couldn't find key %s in Secret %s/%s", r.Key, ns, r.Name)
		}
		return string(b), ok, err
	}
	return "", false, fmt.Errorf("unsupported env source")
}

// varList is an ordered set of variables.
type varList struct {
	names  []string
	values map[string]string
}

func newVarList(kv []string) *varList {
	l := &varList{values: map[string]string{}}
	for _, e := range kv {
		k, v, _ := strings.Cut(e, "=")
		l.set(k, v)
	}
	return l
}

func (l *varList) set(k, v string) {
	if _, ok := l.values[k]; !ok {
		l.names = append(l.names, k)
	}
	l.values[k] = v
}

func (l *varList) get(k string) (string, bool) { v, ok := l.values[k]; return v, ok }

func (l *varList) list() []string {
	out := make([]string, len(l.names))
	for i, n := range l.names {
		out[i] = n + "=" + l.values[n]
	}
	return out
}

// expand replaces $(NAME) by the variable's value; an unknown name stays as it
// is, and $$ is a literal $.
func expand(s string, get func(string) (string, bool)) string {
	if !strings.Contains(s, "$") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '$' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		switch s[i+1] {
		case '$':
			b.WriteByte('$')
			i++
		case '(':
			end := strings.IndexByte(s[i:], ')')
			if end < 0 {
				b.WriteString("$(")
				i++
				continue
			}
			if v, ok := get(s[i+2 : i+end]); ok {
				b.WriteString(v)
			} else {
				b.WriteString(s[i : i+end+1])
			}
			i += end
		default:
			b.WriteByte('$')
		}
	}
	return b.String()
}

// serviceEnv are the variables that make services known to containers: the
// API server's always, with links those of the pod's namespace too.
func serviceEnv(services []corev1.Service, namespace string, links bool) []string {
	var out []string
	sort.Slice(services, func(i, j int) bool { return services[i].Name < services[j].Name })
	for i := range services {
		s := &services[i]
		master := s.Namespace == metav1Default && s.Name == "kubernetes"
		if !master && (!links || s.Namespace != namespace) {
			continue
		}
		if s.Spec.ClusterIP == "" || s.Spec.ClusterIP == corev1.ClusterIPNone || len(s.Spec.Ports) == 0 {
			continue
		}
		name := strings.ToUpper(strings.ReplaceAll(s.Name, "-", "_"))
		ip := s.Spec.ClusterIP
		first := s.Spec.Ports[0]
		out = append(out, fmt.Sprintf("%s_SERVICE_HOST=%s", name, ip), fmt.Sprintf("%s_SERVICE_PORT=%d", name, first.Port))
		for _, p := range s.Spec.Ports {
			if p.Name != "" {
				out = append(out, fmt.Sprintf("%s_SERVICE_PORT_%s=%d", name, strings.ToUpper(strings.ReplaceAll(p.Name, "-", "_")), p.Port))
			}
		}
		for j, p := range s.Spec.Ports {
			proto := strings.ToLower(string(p.Protocol))
			if proto == "" {
				proto = "tcp"
			}
			url := fmt.Sprintf("%s://%s:%d", proto, ip, p.Port)
			if j == 0 {
				out = append(out, fmt.Sprintf("%s_PORT=%s", name, url))
			}
			prefix := fmt.Sprintf("%s_PORT_%d_%s", name, p.Port, strings.ToUpper(proto))
			out = append(out, prefix+"="+url, prefix+"_PROTO="+proto, fmt.Sprintf("%s_PORT=%d", prefix, p.Port), prefix+"_ADDR="+ip)
		}
	}
	return out
}
