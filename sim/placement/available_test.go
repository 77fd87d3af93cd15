package placement

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// candidates reads "ap 40/3": 40 free, 3 there; "ap 40" has none. After "@" is
// the region. The last decision listed them in this order.
func candidates(t *testing.T, text string) []Candidate {
	t.Helper()
	var out []Candidate
	for part := range strings.SplitSeq(text, ",") {
		var c Candidate
		part, c.Region, _ = strings.Cut(strings.TrimSpace(part), "@")
		if _, err := fmt.Sscanf(part, "%s %d/%d", &c.Name, &c.Free, &c.Has); err == nil {
			c.Placed = len(out) + 1
		} else if _, err := fmt.Sscanf(part, "%s %d", &c.Name, &c.Free); err != nil {
			t.Fatalf("%q: %v", part, err)
		}
		out = append(out, c)
	}
	return out
}

func text(shares []Share) string {
	var parts []string
	for _, s := range shares {
		parts = append(parts, fmt.Sprintf("%s %d", s.Name, s.Replicas))
	}
	return strings.Join(parts, ", ")
}

func TestDynamic(t *testing.T) {
	weighed, together := Dynamic{}, Dynamic{Aggregated: true}
	for _, c := range []struct {
		name       string
		how        Dynamic
		replicas   int
		candidates string
		want       string // or the error, after "!"
	}{
		{"weighed by room", weighed, 6, "ap 8, eu 4, us 12", "ap 2, eu 1, us 3"},
		{"a tie, first name first", weighed, 4, "ap 4, eu 4, us 4", "ap 2, eu 1, us 1"},
		{"a tie, last name first", Dynamic{Descending: true}, 4, "ap 4, eu 4, us 4", "ap 1, eu 1, us 2"},
		{"one without room gets nothing", weighed, 4, "ap 4, eu 0", "ap 4"},
		{"all that there is", weighed, 24, "ap 8, eu 4, us 12", "ap 8, eu 4, us 12"},
		{"one more", weighed, 25, "ap 8, eu 4, us 12", "!failed to scale up: Clusters available replicas 24 are not enough to schedule."},
		{"only what is added is divided", weighed, 8, "ap 8/2, eu 4/1, us 12/3", "ap 3, eu 1, us 4"},
		{"what is there stays without room", weighed, 8, "ap 0/6, eu 4", "ap 6, eu 2"},
		{"taken away in proportion to what is there", weighed, 3, "ap 8/4, eu 4/2", "ap 2, eu 1"},
		{"as many as are there", weighed, 6, "ap 8/4, eu 4/2, us 12", "ap 4, eu 2"},
		{"anew: what is there is room", Dynamic{Fresh: true}, 12, "ap 4/8, eu 12", "ap 6, eu 6"},
		{"anew, too much", Dynamic{Fresh: true}, 25, "ap 4/8, eu 12", "!failed to do fresh scale: Clusters available replicas 24 are not enough to schedule."},
		{"none", weighed, 0, "ap 8/4, eu 4/2", ""},
		{"none from the beginning", weighed, 0, "ap 8, eu 4", ""},

		{"together: the one with most room", together, 6, "ap 8, eu 4, us 12", "us 6"},
		{"together: no more clusters than are needed", together, 14, "ap 8, eu 4, us 12", "ap 6, us 8"},
		{"together: added where some are", together, 6, "ap 8/2, us 12", "ap 6"},
		{"together: what is kept where nothing is added comes last", together, 5, "us 8/2, ap 4/1", "us 4, ap 1"},
		{"together: and elsewhere if need be", together, 12, "ap 8/2, us 12", "ap 6, us 6"},
		{"together: taken away, the most stay", together, 3, "ap 8/2, us 12/4", "us 3"},
		{"together: taken away, on a tie as the binding lists them", together, 3, "us 12/4, ap 8/4", "us 3"},
		{"together, anew", Dynamic{Aggregated: true, Fresh: true}, 6, "ap 8/2, us 12/4", "us 6"},
		{"together, too much", together, 25, "ap 8, eu 4, us 12", "!failed to scale up: Clusters available replicas 24 are not enough to schedule."},
	} {
		t.Run(c.name, func(t *testing.T) {
			all := candidates(t, c.candidates)
			Order(all)
			got, err := c.how.Divide(c.replicas, all)
			if want, fails := strings.CutPrefix(c.want, "!"); fails {
				if err == nil || err.Error() != want {
					t.Errorf("got %v, want %q", err, want)
				}
				return
			}
			if err != nil || text(got) != c.want {
				t.Errorf("got %s, %v, want %s", text(got), err, c.want)
			}
		})
	}
}

func TestSelect(t *testing.T) {
	for _, c := range []struct {
		name           string
		least, most    int
		need           int
		candidates     string
		want           string
		wantedToRefuse string
	}{
		{"most room first", 1, 2, Anything, "ap 8, eu 4, us 12", "us ap", ""},
		{"by name where room is the same", 1, 2, Anything, "us 8, eu 8, ap 8", "ap eu", ""},
		{"where it is already goes first", 1, 2, Anything, "ap 8, eu 4/0, us 12", "eu us", ""},
		{"fewer than may be", 1, 5, Anything, "ap 8, eu 4", "ap eu", ""},
		{"too few", 3, 3, Anything, "ap 8, eu 4", "", "the number of feasible clusters is less than spreadConstraint.MinGroups"},
		{"the last makes way for room", 1, 2, 80, "a 0/40, b 0/30, c 60", "a c", ""},
		{"and the one before it", 1, 2, 110, "a 0/40, b 0/30, c 60, d 50", "d c", ""},
		{"not room enough anywhere", 1, 2, 111, "a 0/40, b 0/30, c 60, d 50", "", "no enough resource when selecting 2 clusters"},
		{"none may be", 0, 0, 0, "ap 8", "", "no enough resource when selecting 0 clusters"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Select(candidates(t, c.candidates), c.least, c.most, c.need)
			var names []string
			for _, k := range got {
				names = append(names, k.Name)
			}
			if refused := fmt.Sprint(err); c.wantedToRefuse != "" && refused != c.wantedToRefuse || c.wantedToRefuse == "" && err != nil {
				t.Fatalf("got %v, want %q", err, c.wantedToRefuse)
			}
			if strings.Join(names, " ") != c.want {
				t.Errorf("got %v, want %s", names, c.want)
			}
		})
	}
}

// The laws of a division by room, for either way and either order of ties.
func TestDynamicLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 6).Draw(t, "clusters")
		var all []Candidate
		free, has := 0, 0
		for i := range n {
			c := Candidate{Name: string(rune('a' + i)), Free: rapid.IntRange(0, 20).Draw(t, "free"), Has: rapid.IntRange(0, 10).Draw(t, "has")}
			if c.Has > 0 {
				c.Placed = i + 1
			}
			free, has = free+c.Free, has+c.Has
			all = append(all, c)
		}
		d := Dynamic{Aggregated: rapid.Bool().Draw(t, "aggregated"), Fresh: rapid.Bool().Draw(t, "fresh"), Descending: rapid.Bool().Draw(t, "descending")}
		replicas := rapid.IntRange(0, 40).Draw(t, "replicas")
		before := slices.Clone(all)
		got, err := d.Divide(replicas, all)
		if !slices.Equal(before, all) {
			t.Fatal("the candidates were changed")
		}
		if fits := replicas <= free+has; fits != (err == nil) {
			t.Fatalf("room for %d beside %d, %d wanted: %v", free, has, replicas, err)
		}
		if err != nil {
			return
		}
		sum := 0
		for _, s := range got {
			c := all[slices.IndexFunc(all, func(c Candidate) bool { return c.Name == s.Name })]
			switch {
			case s.Replicas <= 0:
				t.Fatalf("%s is listed with %d", s.Name, s.Replicas)
			case s.Replicas > c.Free+c.Has:
				t.Fatalf("%s gets %d, more than its room", s.Name, s.Replicas)
			case !d.Fresh && replicas >= has && s.Replicas < c.Has, !d.Fresh && replicas <= has && s.Replicas > c.Has:
				t.Fatalf("%s has %d and gets %d of %d, where %d were", s.Name, c.Has, s.Replicas, replicas, has)
			}
			sum += s.Replicas
		}
		if sum != replicas {
			t.Fatalf("the sum is %d, want %d: %v", sum, replicas, got)
		}
	})
}
