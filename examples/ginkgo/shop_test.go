// Package example tests something of one's own in an atoll lab, with plain
// Ginkgo. The lab is the library's two-clusters: a hub that places workloads
// on east and west, and a mesh that joins them.
//
//	cd examples/ginkgo && go test ./...
package example

import (
	"bytes"
	"context"
	"os"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/atoll-dev/atoll/fixtures"
	"github.com/atoll-dev/atoll/fixtures/embedded"
	"github.com/atoll-dev/atoll/fixtures/lab"
	"github.com/atoll-dev/atoll/topologies"
)

func TestShop(t *testing.T) {
	RegisterFailHandler(Fail)
	RunSpecs(t, "a service over two clusters")
}

var world lab.Backend

var _ = BeforeSuite(func(ctx SpecContext) {
	topology, err := topologies.FromLibrary("two-clusters")
	Expect(err).NotTo(HaveOccurred())
	topology.Metadata.Name = "example-ginkgo"
	plan, err := fixtures.Plan(topology, uint64(GinkgoRandomSeed()))
	Expect(err).NotTo(HaveOccurred())

	dir, err := os.MkdirTemp("", "atoll-example-")
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(os.RemoveAll, dir)
	provider := embedded.New(embedded.Config{Images: fixtures.Images(), Version: fixtures.Version})
	world, err = fixtures.Up(ctx, provider, plan, lab.Options{Dir: dir, Events: func(e lab.Event) {
		GinkgoWriter.Println(e.Status, e.Step, e.Subject, e.Detail)
	}})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(func(ctx SpecContext) { Expect(world.Down(ctx)).To(Succeed()) })
}, NodeTimeout(10*time.Minute)) // the first time, Kubernetes is downloaded or built

// client of a cluster, or of the hub.
func client(cluster string) kubernetes.Interface {
	GinkgoHelper()
	cfg, err := world.RESTConfig(cluster)
	Expect(err).NotTo(HaveOccurred())
	c, err := kubernetes.NewForConfig(cfg)
	Expect(err).NotTo(HaveOccurred())
	return c
}

// curl runs in the sleep pod of east, as `kubectl exec` does.
func curl(ctx context.Context, url string) (string, error) {
	cfg, err := world.RESTConfig("east")
	if err != nil {
		return "", err
	}
	pod, err := lab.ReadyPod(ctx, client("east"), "", "sleep")
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	err = lab.Exec(ctx, cfg, lab.ExecOptions{
		Pod: pod.Name, Container: "sleep", Command: []string{"curl", "-sS", "-m", "2", url}, Stdout: &out, Stderr: &out,
	})
	return out.String(), err
}

var _ = Describe("hello", Ordered, func() {
	It("is placed on both clusters by the hub", func(ctx SpecContext) {
		for _, cluster := range []string{"east", "west"} {
			Eventually(ctx, func(g Gomega) *appsv1.Deployment {
				d, err := client(cluster).AppsV1().Deployments("default").Get(ctx, "hello", metav1.GetOptions{})
				g.Expect(err).NotTo(HaveOccurred())
				return d
			}).WithTimeout(20*time.Second).Should(HaveField("Status.ReadyReplicas", BeNumerically(">", 0)), cluster)
		}
	}, SpecTimeout(time.Minute))

	It("answers east from both regions", func(ctx SpecContext) {
		for _, region := range []string{"us-east", "us-west"} {
			Eventually(ctx, curl).WithArguments("http://hello:5000/env").WithTimeout(20 * time.Second).Should(ContainSubstring("REGION=" + region))
		}
	}, SpecTimeout(time.Minute))

	It("answers east from its own region when west is cut off", func(ctx SpecContext) {
		Expect(world.Apply(ctx, []lab.Fault{{Kind: lab.Partition, Between: []string{"west"}}})).To(Succeed())
		DeferCleanup(func(ctx SpecContext) { Expect(world.Apply(ctx, nil)).To(Succeed()) })
		Eventually(ctx, func(g Gomega) {
			for range 5 {
				g.Expect(curl(ctx, "http://hello:5000/env")).To(ContainSubstring("REGION=us-east"))
			}
		}).WithTimeout(30 * time.Second).Should(Succeed())
	}, SpecTimeout(time.Minute))
})
