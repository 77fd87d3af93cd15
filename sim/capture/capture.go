package capture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/atoll-dev/atoll/sim/wan"
)

// Options say what to capture, and how much. The zero value captures
// everything on every link, until told to stop.
type Options struct {
	// Link names two regions: what crosses their links, each direction an
	// interface. Twice the same region means the link between its clusters.
	Link []string `json:",omitempty"`
	// Between names two clusters: what they send each other, each direction an
	// interface; a packet is there once, stamped when it enters the WAN,
	// however many links it crosses, and also if it comes to none.
	Between []string      `json:",omitempty"`
	Count   int           `json:",omitempty"` // stop after so many packets; 0 is no limit
	For     time.Duration `json:",omitempty"` // stop after this time; 0 is no limit
	SnapLen int           `json:",omitempty"` // keep at most so many bytes of a packet; 0 keeps all
}

// Source is what can be captured from: a *wan.Engine.
type Source interface {
	Tap(see func(wan.Sighting)) (remove func())
	Counters() []wan.Counters
	Policy() wan.Policy
}

// Run captures into w until ctx is done or the options' limits are reached;
// neither is an error. The file's head is written once the tap is in place,
// packets as soon as w takes them, and statistics at the end: how many were
// seen, and how many missed because w was too slow.
func Run(ctx context.Context, src Source, w io.Writer, o Options) error {
	if err := o.check(src); err != nil {
		return fmt.Errorf("capture: %w", err)
	}
	if o.For > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.For)
		defer cancel()
	}
	q := newQueue(o.SnapLen)
	remove := src.Tap(func(s wan.Sighting) {
		if d, at, ok := o.wants(&s); ok {
			q.add(d, at, &s)
		}
	})
	defer remove()
	f, err := newFile(w, o.directions(src))
	if err != nil {
		return fmt.Errorf("capture: %w", err)
	}
	if err := f.fill(ctx, q, o.Count); err != nil {
		return fmt.Errorf("capture: %w", err)
	}
	return nil
}

// direction is one way between two regions or two clusters; the zero value is
// for packets that came to no link.
type direction struct{ from, to string }

func (d direction) String() string {
	if d == (direction{}) {
		return "no-link"
	}
	return d.from + ">" + d.to
}

func (o *Options) check(src Source) error {
	switch {
	case len(o.Link) > 0 && len(o.Between) > 0:
		return errors.New("a link or a pair of clusters, not both")
	case o.Count < 0 || o.For < 0 || o.SnapLen < 0:
		return errors.New("a limit is negative")
	case len(o.Link) > 0:
		return checkLink(o.Link, src.Counters())
	case len(o.Between) > 0:
		return checkClusters(o.Between, src.Policy().Sites)
	}
	return nil
}

func checkLink(names []string, links []wan.Counters) error {
	if len(names) != 2 || slices.Contains(names, "") {
		return errors.New("want two regions")
	}
	var there []string
	for _, l := range links {
		if joins(names, l.From, l.To) {
			return nil
		}
		there = append(there, l.From+","+l.To)
	}
	return fmt.Errorf("no link joins %s and %s; there are %s", names[0], names[1], strings.Join(there, " "))
}

func checkClusters(names []string, sites []wan.Site) error {
	if len(names) != 2 || names[0] == names[1] {
		return errors.New("want two clusters")
	}
	var there []string
	for _, s := range sites {
		if !slices.Contains(there, s.Cluster) {
			there = append(there, s.Cluster)
		}
	}
	for _, name := range names {
		if !slices.Contains(there, name) {
			return fmt.Errorf("no cluster %s; there are %s", name, strings.Join(there, ", "))
		}
	}
	return nil
}

// directions are the interfaces that are known before the first packet.
func (o *Options) directions(src Source) []direction {
	switch {
	case len(o.Between) > 0:
		a, b := o.Between[0], o.Between[1]
		return []direction{{a, b}, {b, a}}
	case len(o.Link) == 0:
		var all []direction
		for _, c := range src.Counters() {
			all = append(all, direction{c.From, c.To})
		}
		return append(all, direction{})
	case o.Link[0] == o.Link[1]:
		return []direction{{o.Link[0], o.Link[0]}}
	default:
		a, b := o.Link[0], o.Link[1]
		return []direction{{a, b}, {b, a}}
	}
}

// wants tells whether a sighting is asked for, and where and when it counts.
func (o *Options) wants(s *wan.Sighting) (d direction, at time.Time, ok bool) {
	switch {
	case len(o.Between) > 0:
		return direction{s.Src, s.Dst}, s.Sent, s.Last && joins(o.Between, s.Src, s.Dst)
	case len(o.Link) > 0:
		return direction{s.From, s.To}, s.Enters, joins(o.Link, s.From, s.To)
	default:
		return direction{s.From, s.To}, s.Enters, true
	}
}

// joins tells whether from and to are the two names, in either order.
func joins(names []string, from, to string) bool {
	return from == names[0] && to == names[1] || from == names[1] && to == names[0]
}

// file is a pcapng file that is being written.
type file struct {
	w          *pcapgo.NgWriter
	interfaces map[direction]int
	order      []direction
	start      time.Time
}

// application is who wrote the file, as its head says.
const application = "atoll"

// newFile writes the head: the section and the interfaces, one at least.
func newFile(w io.Writer, ds []direction) (*file, error) {
	f := &file{interfaces: map[direction]int{}, start: time.Now()}
	var err error
	if f.w, err = pcapgo.NewNgWriterInterface(w, describe(ds[0]), pcapgo.NgWriterOptions{
		SectionInfo: pcapgo.NgSectionInfo{Application: application},
	}); err != nil {
		return nil, err
	}
	f.interfaces[ds[0]], f.order = 0, ds[:1:1]
	for _, d := range ds[1:] {
		if _, err := f.at(d); err != nil {
			return nil, err
		}
	}
	return f, f.w.Flush()
}

func describe(d direction) pcapgo.NgInterface {
	i := pcapgo.NgInterface{Name: d.String(), LinkType: layers.LinkTypeRaw, TimestampResolution: 9}
	if d == (direction{}) {
		i.Description = "dropped before they came to a link"
	}
	return i
}

// at returns the interface of a direction; a link that a later policy brought
// gets one when its first packet comes.
func (f *file) at(d direction) (int, error) {
	if i, ok := f.interfaces[d]; ok {
		return i, nil
	}
	i, err := f.w.AddInterface(describe(d))
	if err == nil {
		f.interfaces[d] = i
		f.order = append(f.order, d)
	}
	return i, err
}

// fill writes what the queue brings, and the statistics at the end.
func (f *file) fill(ctx context.Context, q *queue, limit int) error {
	written := 0
	var batch []record
	for done := false; !done; {
		select {
		case <-ctx.Done():
			done = true // and once more, for what came meanwhile
		case <-q.more:
		}
		batch = q.take(batch[:0])
		for i := range batch {
			if limit > 0 && written == limit {
				done = true
				break
			}
			if err := f.packet(&batch[i]); err != nil {
				return err
			}
			written++
		}
		done = done || limit > 0 && written == limit
		clear(batch)
		if err := f.w.Flush(); err != nil {
			return err
		}
	}
	end := time.Now()
	for i, d := range f.order {
		seen, missed := q.totals(d)
		err := f.w.WriteInterfaceStats(i, pcapgo.NgInterfaceStatistics{
			LastUpdate: end, StartTime: f.start, EndTime: end, PacketsReceived: seen, PacketsDropped: missed,
		})
		if err != nil {
			return err
		}
	}
	return f.w.Flush()
}

func (f *file) packet(r *record) error {
	i, err := f.at(r.direction)
	if err != nil {
		return err
	}
	var o pcapgo.NgPacketOptions
	if r.cause != wan.Delivered {
		o.Comments = append(o.Comments, DroppedPrefix+r.cause.String())
	}
	if r.copy {
		o.Comments = append(o.Comments, "copy")
	}
	if r.corrupted {
		o.Comments = append(o.Comments, "corrupted on this link or before")
	}
	return f.w.WritePacketWithOptions(gopacket.CaptureInfo{
		Timestamp: r.at, CaptureLength: len(r.packet), Length: r.length, InterfaceIndex: i,
	}, r.packet, o)
}

// DroppedPrefix begins the comment of a dropped packet; the name of its
// [wan.Cause] follows.
const DroppedPrefix = "dropped: "
