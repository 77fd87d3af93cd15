package hollow

import (
	"encoding/json"
	"io"
	"log"
	"net/http"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	statsv1 "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
)

// discardLog keeps a server's complaints about its clients to itself.
var discardLog = log.New(io.Discard, "", 0)

// serveStats names what runs. It measures nothing: a hollow node shares its
// process with all others.
func (k *kubelet) serveStats(w http.ResponseWriter, _ *http.Request) {
	s := statsv1.Summary{Node: statsv1.NodeStats{NodeName: k.cfg.Name, StartTime: metav1.NewTime(k.started)}}
	k.mu.Lock()
	for _, p := range k.pods {
		ps := statsv1.PodStats{PodRef: statsv1.PodReference{Name: p.name, Namespace: p.namespace, UID: string(p.uid)}, StartTime: p.startTime}
		for _, c := range p.containers {
			ps.Containers = append(ps.Containers, statsv1.ContainerStats{Name: c.spec.Name, StartTime: p.startTime})
		}
		s.Pods = append(s.Pods, ps)
	}
	k.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(s)
}
