package hollow

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// tokens gets a service account's token.
type tokens func(ctx context.Context, pod *corev1.Pod, src *corev1.ServiceAccountTokenProjection) (string, time.Time, error)

// podVolumes are the volumes of one pod by name.
type podVolumes struct {
	facts  func() podFacts
	spec   *corev1.PodSpec
	refs   references
	tokens tokens
	byName map[string]*volume
	// cached tokens by volume and path: asked for anew at 80 % of their life.
	held map[string]heldToken
}

type heldToken struct {
	text  string
	renew time.Time
}

func newPodVolumes(facts func() podFacts, refs references, t tokens) *podVolumes {
	v := &podVolumes{facts: facts, spec: &facts().pod.Spec, refs: refs, tokens: t, byName: map[string]*volume{}, held: map[string]heldToken{}}
	for i := range v.spec.Volumes {
		v.byName[v.spec.Volumes[i].Name] = &volume{}
	}
	return v
}

// refresh reads every volume's sources and puts the new content in place. A
// volume that cannot be read keeps what it held.
func (v *podVolumes) refresh(ctx context.Context) error {
	var errs []error
	for i := range v.spec.Volumes {
		src := &v.spec.Volumes[i]
		vol := v.byName[src.Name]
		old := vol.tree.Load()
		if src.EmptyDir != nil || src.HostPath != nil {
			if old == nil {
				vol.set(newMemFS())
			}
			continue
		}
		files, mode, err := v.read(ctx, src)
		if err != nil {
			errs = append(errs, fmt.Errorf("MountVolume.SetUp failed for volume %q : %w", src.Name, err))
			continue
		}
		if old != nil && sameFiles(old, files) {
			continue
		}
		tree, err := fixedFS(files, mode)
		if err != nil {
			errs = append(errs, fmt.Errorf("MountVolume.SetUp failed for volume %q : %w", src.Name, err))
			continue
		}
		vol.set(tree)
	}
	return errors.Join(errs...)
}

func sameFiles(m *memFS, files map[string][]byte) bool {
	n := 0
	for name, f := range m.files {
		if f.dir {
			continue
		}
		n++
		if data, ok := files[name]; !ok || string(data) != string(f.data) {
			return false
		}
	}
	return n == len(files)
}

// changing tells whether a refresh can change anything.
func (v *podVolumes) changing() bool {
	for i := range v.spec.Volumes {
		s := &v.spec.Volumes[i]
		if s.EmptyDir == nil && s.HostPath == nil {
			return true
		}
	}
	return false
}

func (v *podVolumes) read(ctx context.Context, src *corev1.Volume) (map[string][]byte, fs.FileMode, error) {
	files := map[string][]byte{}
	switch {
	case src.ConfigMap != nil:
		err := v.addConfigMap(ctx, files, src.ConfigMap.Name, src.ConfigMap.Items, src.ConfigMap.Optional)
		return files, fileMode(src.ConfigMap.DefaultMode), err
	case src.Secret != nil:
		err := v.addSecret(ctx, files, src.Secret.SecretName, src.Secret.Items, src.Secret.Optional)
		return files, fileMode(src.Secret.DefaultMode), err
	case src.DownwardAPI != nil:
		err := v.addDownward(files, src.DownwardAPI.Items)
		return files, fileMode(src.DownwardAPI.DefaultMode), err
	case src.Projected != nil:
		for i := range src.Projected.Sources {
			if err := v.addProjected(ctx, files, src.Name, &src.Projected.Sources[i]); err != nil {
				return nil, 0, err
			}
		}
		return files, fileMode(src.Projected.DefaultMode), nil
	}
	return nil, 0, fmt.Errorf("a hollow node has no volumes of this kind")
}

func (v *podVolumes) addProjected(ctx context.Context, files map[string][]byte, volume string, s *corev1.VolumeProjection) error {
	switch {
	case s.ConfigMap != nil:
		return v.addConfigMap(ctx, files, s.ConfigMap.Name, s.ConfigMap.Items, s.ConfigMap.Optional)
	case s.Secret != nil:
		return v.addSecret(ctx, files, s.Secret.Name, s.Secret.Items, s.Secret.Optional)
	case s.DownwardAPI != nil:
		return v.addDownward(files, s.DownwardAPI.Items)
	case s.ServiceAccountToken != nil:
		key := volume + "/" + s.ServiceAccountToken.Path
		held := v.held[key]
		if held.text == "" || time.Now().After(held.renew) {
			text, expires, err := v.tokens(ctx, v.facts().pod, s.ServiceAccountToken)
			if err != nil {
				return fmt.Errorf("failed to fetch token: %w", err)
			}
			held = heldToken{text, time.Now().Add(time.Until(expires) * 8 / 10)}
			v.held[key] = held
		}
		files[cleanPath(s.ServiceAccountToken.Path)] = []byte(held.text)
		return nil
	}
	return fmt.Errorf("a hollow node has no projections of this kind")
}

func (v *podVolumes) addConfigMap(ctx context.Context, files map[string][]byte, name string, items []corev1.KeyToPath, optional *bool) error {
	cm, err := v.refs.configMap(ctx, v.facts().pod.Namespace, name)
	if err != nil {
		if isNotFound(err) && isTrue(optional) {
			return nil
		}
		return err
	}
	data := maps.Clone(cm.BinaryData)
	if data == nil {
		data = map[string][]byte{}
	}
	for k, s := range cm.Data {
		data[k] = []byte(s)
	}
	return addKeys(files, data, items, isTrue(optional), "ConfigMap "+name)
}

func (v *podVolumes) addSecret(ctx context.Context, files map[string][]byte, name string, items []corev1.KeyToPath, optional *bool) error {
	s, err := v.refs.secret(ctx, v.facts().pod.Namespace, name)
	if err != nil {
		if isNotFound(err) && isTrue(optional) {
			return nil
		}
		return err
	}
	return addKeys(files, s.Data, items, isTrue(optional), "Secret "+name)
}

func addKeys(files, data map[string][]byte, items []corev1.KeyToPath, optional bool, what string) error {
	if len(items) == 0 {
		maps.Copy(files, data)
		return nil
	}
	for _, it := range items {
		d, ok := data[it.Key]
		if !ok {
			if optional {
				continue
			}
			return fmt.Errorf("references non-existent key %s of %s", it.Key, what)
		}
		files[cleanPath(it.Path)] = d
	}
	return nil
}

func (v *podVolumes) addDownward(files map[string][]byte, items []corev1.DownwardAPIVolumeFile) error {
	for i := range items {
		it := &items[i]
		var text string
		var err error
		switch {
		case it.FieldRef != nil:
			text, err = v.facts().field(it.FieldRef.FieldPath)
		case it.ResourceFieldRef != nil:
			text, err = v.facts().resource(it.ResourceFieldRef, nil)
		}
		if err != nil {
			return err
		}
		files[cleanPath(it.Path)] = []byte(text)
	}
	return nil
}

func fileMode(m *int32) fs.FileMode {
	if m == nil {
		return 0o644
	}
	return fs.FileMode(*m) & fs.ModePerm
}

func cleanPath(p string) string { return strings.TrimPrefix(path.Clean("/"+p), "/") }

// mounts resolves a container's mounts. get is for $(VAR) in subPathExpr.
func (v *podVolumes) mounts(c *corev1.Container, get func(string) (string, bool)) ([]mount, error) {
	var out []mount
	for _, m := range c.VolumeMounts {
		vol, ok := v.byName[m.Name]
		if !ok || vol.tree.Load() == nil {
			return nil, fmt.Errorf("volume %q of container %q is not mounted", m.Name, c.Name)
		}
		sub := m.SubPath
		if m.SubPathExpr != "" {
			sub = expand(m.SubPathExpr, get)
		}
		at := cleanPath(m.MountPath)
		if at == "" {
			return nil, fmt.Errorf("container %q cannot mount over /", c.Name)
		}
		if tree := vol.tree.Load(); sub != "" && !tree.readOnly {
			if _, err := tree.Open(cleanPath(sub)); err != nil {
				_ = tree.Mkdir(cleanPath(sub)) // as a kubelet does for a subPath
			}
		}
		out = append(out, mount{at: at, subPath: cleanPath(sub), volume: vol, readOnly: m.ReadOnly})
	}
	return out, nil
}
