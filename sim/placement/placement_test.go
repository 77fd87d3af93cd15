package placement

import (
	"encoding/csv"
	"fmt"
	"maps"
	"os"
	"strconv"
	"testing"

	"pgregory.net/rapid"
)

// Every division measured on a real Karmada comes out of Divide.
func TestMeasured(t *testing.T) {
	f, err := os.Open("testdata/karmada-static-weight.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.Comment = '#'
	rows, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	number := func(s string) int {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	clusters := []string{"eu", "ap", "us"}
	if len(rows) < 40 {
		t.Fatalf("only %d rows", len(rows))
	}
	for _, row := range rows[1:] {
		weights, want := map[string]int64{}, map[string]int{}
		for i, c := range clusters {
			weights[c] = int64(number(row[3+i]))
			if row[6+i] != "" {
				want[c] = number(row[6+i])
			}
		}
		if got := Divide(number(row[2]), weights, row[0]); !maps.Equal(got, want) {
			t.Errorf("%s (uid %s): got %v, want %v", row[1], row[0], got, want)
		}
	}
}

// The table of documented answers: m1, m2, m3.
func TestDocumented(t *testing.T) {
	for _, c := range []struct {
		replicas int
		weights  []int64
		want     [][]int // ties ascending, descending
	}{
		{10, []int64{1, 1, 1}, [][]int{{4, 3, 3}, {3, 3, 4}}},
		{10, []int64{2, 1, 2}, [][]int{{4, 2, 4}}},
		{9, []int64{2, 1, 2}, [][]int{{4, 2, 3}, {3, 2, 4}}},
		{11, []int64{2, 1, 2}, [][]int{{5, 2, 4}, {4, 2, 5}}},
		{3, []int64{2, 1, 2}, [][]int{{1, 1, 1}}},
		{3, []int64{1, 1, 1}, [][]int{{1, 1, 1}}},
		{2, []int64{2, 1}, [][]int{{1, 1}}},
		{10, []int64{0, 1, 2}, [][]int{{0, 3, 7}}}, // m1 lost from 2:1:2
		{1, []int64{1, 1, 1}, [][]int{{1, 0, 0}, {0, 0, 1}}},
	} {
		weights := map[string]int64{}
		for i, w := range c.weights {
			weights[fmt.Sprintf("m%d", i+1)] = w
		}
		got := Possible(c.replicas, weights)
		if len(got) != len(c.want) {
			t.Errorf("%d @ %v: got %v, want %v", c.replicas, c.weights, got, c.want)
			continue
		}
		for i, want := range c.want {
			wanted := map[string]int{}
			for j, n := range want {
				if n > 0 {
					wanted[fmt.Sprintf("m%d", j+1)] = n
				}
			}
			if !maps.Equal(got[i], wanted) {
				t.Errorf("%d @ %v: got %v, want %v", c.replicas, c.weights, got[i], wanted)
			}
		}
	}
}

func TestZeroKeepsAll(t *testing.T) {
	got := Divide(0, map[string]int64{"a": 1, "b": 2, "c": 0}, "")
	if want := map[string]int{"a": 0, "b": 0}; !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := Divide(5, nil, ""); len(got) != 0 {
		t.Errorf("no clusters: got %v", got)
	}
}

// A UID's order is the parity of its FNV-32a hash; a is 0xe40c292c, b is 0xe70c2de5.
func TestDescending(t *testing.T) {
	if Descending("a") || !Descending("b") {
		t.Error("a must be ascending and b descending")
	}
}

func TestWeights(t *testing.T) {
	is := func(names ...string) func(string) bool {
		return func(c string) bool {
			for _, n := range names {
				if n == c {
					return true
				}
			}
			return false
		}
	}
	clusters := []string{"ap", "eu", "us"}
	for _, c := range []struct {
		rules []Rule
		want  map[string]int64
	}{
		{nil, map[string]int64{"ap": 1, "eu": 1, "us": 1}},
		{[]Rule{{is("eu", "us"), 1}, {is("us"), 3}}, map[string]int64{"eu": 1, "us": 3}},
		{[]Rule{{is("us"), 3}, {is("eu", "us"), 1}}, map[string]int64{"eu": 1, "us": 3}},
		{[]Rule{{is("other"), 7}}, map[string]int64{"ap": 1, "eu": 1, "us": 1}},
	} {
		if got := Weights(clusters, c.rules); !maps.Equal(got, c.want) {
			t.Errorf("got %v, want %v", got, c.want)
		}
	}
}

func drawWeights(t *rapid.T) map[string]int64 {
	return rapid.MapOfN(rapid.StringMatching(`[a-z]{1,3}`), rapid.Int64Range(1, 50), 1, 9).Draw(t, "weights")
}

// The laws of Webster's method, for either tie order.
func TestLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		weights := drawWeights(t)
		replicas := rapid.IntRange(1, 300).Draw(t, "replicas")
		for _, descending := range []bool{false, true} {
			got := divide(replicas, weights, descending)

			sum := 0
			for c, n := range got {
				if n <= 0 {
					t.Fatalf("%s is listed with %d", c, n)
				}
				sum += n
			}
			if sum != replicas {
				t.Fatalf("the sum is %d, want %d: %v", sum, replicas, got)
			}

			// House monotony: one more replica takes none from anyone.
			for c, n := range divide(replicas+1, weights, descending) {
				if n < got[c] {
					t.Fatalf("%s loses by one replica more: %d, %d", c, got[c], n)
				}
			}

			// More weight never gets less.
			for a, n := range got {
				for b := range weights {
					if weights[b] > weights[a] && got[b] < n {
						t.Fatalf("%s (%d) gets %d, %s (%d) gets %d", a, weights[a], n, b, weights[b], got[b])
					}
				}
			}

			// Only proportions count.
			factor := rapid.Int64Range(2, 1<<50).Draw(t, "factor")
			scaled := map[string]int64{}
			for c, w := range weights {
				scaled[c] = w * factor
			}
			if again := divide(replicas, scaled, descending); !maps.Equal(got, again) {
				t.Fatalf("times %d: %v, %v", factor, got, again)
			}

			// Exact proportions are met exactly.
			exact := map[string]int64{}
			for c, n := range got {
				exact[c] = int64(n)
			}
			if again := divide(replicas, exact, descending); !maps.Equal(got, again) {
				t.Fatalf("weights equal to the seats: %v, %v", exact, again)
			}
		}
	})
}

// Giving out most replicas at once changes nothing.
func TestStart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		weights := drawWeights(t)
		replicas := rapid.IntRange(1, 200).Draw(t, "replicas")
		descending := rapid.Bool().Draw(t, "descending")
		got := divide(replicas, weights, descending)

		slow := map[string]int{}
		for range replicas {
			best := ""
			for c, w := range weights {
				if best == "" {
					best = c
					continue
				}
				// Cross-multiplied, as the definition says.
				l, r := w*int64(2*slow[best]+1), weights[best]*int64(2*slow[c]+1)
				if l > r || l == r && (slow[c] < slow[best] || slow[c] == slow[best] && (c < best) != descending) {
					best = c
				}
			}
			slow[best]++
		}
		if !maps.Equal(got, slow) {
			t.Fatalf("got %v, one by one %v", got, slow)
		}
	})
}

func BenchmarkDivide(b *testing.B) {
	weights := map[string]int64{}
	for i := range 1000 {
		weights[strconv.Itoa(i)] = int64(i%17 + 1)
	}
	for b.Loop() {
		Divide(1_000_000, weights, "uid")
	}
}
