package placement

// Rule gives a weight to the clusters it matches.
type Rule struct {
	Matches func(cluster string) bool
	Weight  int64
}

// Weights returns the weight of each cluster of an affinity: of several rules
// that match, the greatest counts, and a cluster that none matches is left
// out. If no rule matches any cluster, or there are no rules, all are alike.
func Weights(clusters []string, rules []Rule) map[string]int64 {
	weights := make(map[string]int64, len(clusters))
	for _, c := range clusters {
		var w int64
		for _, r := range rules {
			if r.Matches(c) {
				w = max(w, r.Weight)
			}
		}
		if w > 0 {
			weights[c] = w
		}
	}
	if len(weights) == 0 {
		for _, c := range clusters {
			weights[c] = 1
		}
	}
	return weights
}

// Duplicated gives every cluster all the replicas.
func Duplicated(replicas int, clusters []string) map[string]int {
	result := make(map[string]int, len(clusters))
	for _, c := range clusters {
		result[c] = max(replicas, 0)
	}
	return result
}
