package sim

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/atoll-dev/atoll/sim/wan"
	"github.com/atoll-dev/atoll/topologies"
)

// links writes what each link is, and then what changes.
func (d *description) links() {
	links := d.p.WAN.Links
	if len(links) == 0 {
		return
	}
	d.title("LINKS")
	titles := []any{"  link", "one way", "jitter", "loss", "rate", "queue"}
	others := slices.ContainsFunc(links, func(l wan.Link) bool { return len(otherTexts(l.LinkModel)) > 0 })
	if others {
		titles = append(titles, "other")
	}
	d.row(titles...)
	for _, l := range links {
		cells := []any{
			"  " + pairName(l.From, l.To), l.OneWay, jitterText(l.LinkModel), lossText(l.Loss), rateText(l.RateBps), queueText(l.LinkModel),
		}
		if others {
			cells = append(cells, dash(strings.Join(otherTexts(l.LinkModel), ", ")))
		}
		d.row(cells...)
	}
	if !slices.ContainsFunc(links, func(l wan.Link) bool { return len(l.Schedule) > 0 }) {
		return
	}
	d.title("SCHEDULE (from when the lab is up)")
	d.row("  link", "at", "from then on")
	for _, l := range links {
		before := l.LinkModel
		for _, c := range l.Schedule {
			d.row("  "+pairName(l.From, l.To), c.At, ChangeText(before, c.LinkModel))
			before = c.LinkModel
		}
	}
}

// LinkText is what a link is, in the plan's words; "-" for what it has not.
type LinkText struct{ Jitter, Loss, Rate, Queue, Other string }

// TextOf says what a link is.
func TextOf(m wan.LinkModel) LinkText {
	return LinkText{
		Jitter: jitterText(m), Loss: lossText(m.Loss), Rate: rateText(m.RateBps), Queue: queueText(m),
		Other: dash(strings.Join(otherTexts(m), ", ")),
	}
}

// ChangeText says what a change by a link's schedule changes.
func ChangeText(before, after wan.LinkModel) string {
	return cmp.Or(strings.Join(changeTexts(before, after), ", "), "as before")
}

func jitterText(m wan.LinkModel) string {
	if m.Jitter == 0 {
		return "-"
	}
	text := m.Jitter.String()
	if m.Shape != wan.Normal {
		text += " " + m.Shape.String()
	}
	if m.Reorder {
		text += ", reorders"
	}
	return text
}

func lossText(l wan.LossModel) string {
	switch {
	case l == wan.LossModel{}:
		return "-"
	case l.Enter == 0:
		return topologies.Ratio(l.Good).String()
	}
	return fmt.Sprintf("%.3g%% in bursts (enter %s, leave %s, bad %s, good %s)", 100*l.Ratio(),
		topologies.Ratio(l.Enter), topologies.Ratio(l.Leave), topologies.Ratio(l.Bad), topologies.Ratio(l.Good))
}

func rateText(bps uint64) string {
	if bps == 0 {
		return "-"
	}
	return topologies.Rate(bps).String()
}

func queueText(m wan.LinkModel) string {
	if m.RateBps == 0 {
		return "-" // nothing ever waits
	}
	return topologies.Queue{Time: cmp.Or(m.Queue, wan.DefaultQueue), Bytes: m.QueueBytes}.String()
}

// otherTexts are the properties that few links have.
func otherTexts(m wan.LinkModel) []string {
	var texts []string
	if m.Duplicate > 0 {
		texts = append(texts, "duplicates "+topologies.Ratio(m.Duplicate).String())
	}
	if m.Corrupt > 0 {
		texts = append(texts, "corrupts "+topologies.Ratio(m.Corrupt).String())
	}
	if m.Down {
		texts = append(texts, downText(m))
	}
	return texts
}

func downText(m wan.LinkModel) string {
	switch {
	case !m.Down:
		return "up"
	case m.Reject:
		return "down, rejecting"
	}
	return "down"
}

// changeTexts says what is different.
func changeTexts(before, after wan.LinkModel) []string {
	var texts []string
	for _, p := range []struct {
		name string
		text func(wan.LinkModel) string
	}{
		{"", downText},
		{"one way ", func(m wan.LinkModel) string { return m.OneWay.String() }},
		{"jitter ", jitterText},
		{"loss ", func(m wan.LinkModel) string { return lossText(m.Loss) }},
		{"duplicates ", func(m wan.LinkModel) string { return topologies.Ratio(m.Duplicate).String() }},
		{"corrupts ", func(m wan.LinkModel) string { return topologies.Ratio(m.Corrupt).String() }},
		{"rate ", func(m wan.LinkModel) string { return rateText(m.RateBps) }},
		{"queue ", queueText},
	} {
		now := p.text(after)
		switch {
		case now == p.text(before) || p.name == "queue " && after.RateBps == 0:
			continue
		case now == "-" && p.name == "rate ":
			now = "unlimited"
		case now == "-":
			now = "none"
		}
		texts = append(texts, p.name+now)
	}
	return texts
}
