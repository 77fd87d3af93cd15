package reports

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/atoll-dev/atoll/suites"
)

// mapView is the picture of regions and links. All numbers are in the units
// of its view box.
type mapView struct {
	Width, Height float64
	Regions       []mapRegion
	Links         []mapLink
	Labels        bool // else there are too many links for them; the table has the numbers
}

type mapRegion struct {
	Name                string
	X, Y, W, H          float64 // the box
	CX, CY              float64 // its middle
	Clusters            []mapCluster
	fromWest, fromNorth float64 // where the region is, 0 to 1
}

type mapCluster struct {
	Name, Note string
	Label      string // the name, cut to what stands in the box before the note
	X, Y       float64
	Hub        bool
}

type mapLink struct {
	Path       string
	LX, LY     float64 // the label's middle
	LW         float64
	Configured string
	Measured   string
	Title      string
	Class      string // ok, off or unmeasured
	a, b       int
}

// LabelLeft is where the label begins, from its middle.
func (l mapLink) LabelLeft() float64 { return -l.LW / 2 }

// The geometry of the map.
const (
	mapWidth  = 960
	boxWidth  = 176
	boxHead   = 34
	boxRow    = 24
	boxFoot   = 8
	boxGap    = 40
	mapMargin = 12
	maxLabels = 15
)

// newMap draws the plan's regions, where the world has them if their names
// tell, else on an ellipse.
func newMap(r *suites.Result) *mapView {
	m := &mapView{Width: mapWidth}
	index := map[string]int{}
	at := func(region string) *mapRegion {
		i, ok := index[region]
		if !ok {
			i = len(m.Regions)
			index[region] = i
			m.Regions = append(m.Regions, mapRegion{Name: region, W: boxWidth})
		}
		return &m.Regions[i]
	}
	for _, c := range r.Plan.Clusters {
		hub := r.Plan.Hub != nil && r.Plan.Hub.Cluster == c.Name
		nodes := map[string]int{c.Region: 0}
		for _, n := range c.Nodes {
			nodes[n.Region]++
		}
		for _, region := range append([]string{c.Region}, sortedKeys(nodes)...) {
			n, left := nodes[region]
			if !left {
				continue // the cluster's own region came first
			}
			delete(nodes, region)
			box := at(region)
			box.Clusters = append(box.Clusters, mapCluster{Name: c.Name, Note: counted(n, "node"), Hub: hub})
		}
	}
	for i := range m.Regions {
		m.Regions[i].fit()
		m.Regions[i].H = boxHead + float64(len(m.Regions[i].Clusters))*boxRow + boxFoot
	}
	m.place()
	m.link(r, index)
	return m
}

// What a letter takes at most, of a cluster's name and of the note beside it,
// and what is beside the two.
const (
	nameLetter = 8.6
	noteLetter = 7.6
	boxAside   = 14 + 8 + 14
	boxWidest  = 280
)

// fit makes a box as wide as its names are long, up to a limit; a name beyond
// that is cut.
func (g *mapRegion) fit() {
	note := func(c *mapCluster) float64 {
		letters := len([]rune(c.Note))
		if c.Hub {
			letters += len([]rune("hub · "))
		}
		return noteLetter * float64(letters)
	}
	for i := range g.Clusters {
		c := &g.Clusters[i]
		g.W = max(g.W, min(boxWidest, boxAside+nameLetter*float64(len([]rune(c.Name)))+note(c)))
	}
	for i := range g.Clusters {
		c := &g.Clusters[i]
		c.Label = cut(c.Name, int((g.W-boxAside-note(c))/nameLetter))
	}
}

// place puts the boxes where they do not overlap: where the regions are on
// Earth, else on an ellipse, else in rows.
func (m *mapView) place() {
	n := len(m.Regions)
	m.Height = 380
	if n > 6 {
		m.Height += float64(n-6) * 60
	}
	onEarth := n > 0
	for i := range m.Regions {
		g := &m.Regions[i]
		var known bool
		g.fromWest, g.fromNorth, known = onMap(g.Name)
		onEarth = onEarth && known
	}
	if !onEarth || !m.spread() || !m.settle() {
		for i := range m.Regions {
			// From the left, clockwise: two regions are then beside each other.
			angle := math.Pi + 2*math.Pi*float64(i)/float64(n)
			m.Regions[i].fromWest = 0.5 + 0.5*math.Cos(angle)
			m.Regions[i].fromNorth = 0.5 + 0.5*math.Sin(angle)
		}
		if !m.settle() {
			m.inRows()
		}
	}
	for i := range m.Regions {
		g := &m.Regions[i]
		g.X, g.Y = g.CX-g.W/2, g.CY-g.H/2
		for j := range g.Clusters {
			g.Clusters[j].X = g.X + 14
			g.Clusters[j].Y = g.Y + boxHead + float64(j)*boxRow + boxRow/2
		}
	}
}

// settle puts the boxes where their fractions say and moves them apart, with
// room for labels between them if there is, and tells whether that was possible.
func (m *mapView) settle() bool {
	for _, gap := range []float64{150, 100, boxGap} {
		if m.settleWith(gap) {
			return true
		}
	}
	return false
}

func (m *mapView) settleWith(gap float64) bool {
	for i := range m.Regions {
		g := &m.Regions[i]
		g.CX = mapMargin + g.W/2 + g.fromWest*(m.Width-2*mapMargin-g.W)
		g.CY = mapMargin + g.H/2 + g.fromNorth*(m.Height-2*mapMargin-g.H)
	}
	for range 300 {
		if !m.pushApart(gap) {
			return true
		}
	}
	return false
}

// inRows is the last resort: it always fits, the picture grows.
func (m *mapView) inRows() {
	const perRow = 4
	y := float64(mapMargin)
	for i := 0; i < len(m.Regions); i += perRow {
		row := m.Regions[i:min(i+perRow, len(m.Regions))]
		tallest := 0.0
		for j := range row {
			row[j].CX = m.Width * (float64(j) + 0.5) / perRow
			row[j].CY = y + row[j].H/2
			tallest = max(tallest, row[j].H)
		}
		y += tallest + boxGap
	}
	m.Height = y - boxGap + mapMargin
}

// spread widens the part of the world that is used to the whole picture. It
// tells whether the regions are in different places at all.
func (m *mapView) spread() bool {
	west, east, north, south := 1.0, 0.0, 1.0, 0.0
	for _, g := range m.Regions {
		west, east = min(west, g.fromWest), max(east, g.fromWest)
		north, south = min(north, g.fromNorth), max(south, g.fromNorth)
	}
	for i := range m.Regions {
		g := &m.Regions[i]
		g.fromWest = rescale(g.fromWest, west, east)
		g.fromNorth = rescale(g.fromNorth, north, south)
	}
	return len(m.Regions) == 1 || east-west > 0.01 || south-north > 0.01
}

func rescale(v, low, high float64) float64 {
	if high-low < 0.01 {
		return 0.5
	}
	return (v - low) / (high - low)
}

// pushApart moves overlapping boxes a little, and tells whether any were.
func (m *mapView) pushApart(gap float64) bool {
	moved := false
	for i := range m.Regions {
		for j := range i {
			a, b := &m.Regions[j], &m.Regions[i]
			overlapX := (a.W+b.W)/2 + gap - math.Abs(a.CX-b.CX)
			overlapY := (a.H+b.H)/2 + gap/3 - math.Abs(a.CY-b.CY)
			if overlapX <= 0 || overlapY <= 0 {
				continue
			}
			moved = true
			if overlapX/m.Width < overlapY/m.Height {
				push(&a.CX, &b.CX, overlapX)
			} else {
				push(&a.CY, &b.CY, overlapY)
			}
		}
	}
	for i := range m.Regions {
		g := &m.Regions[i]
		g.CX = min(max(g.CX, mapMargin+g.W/2), m.Width-mapMargin-g.W/2)
		g.CY = min(max(g.CY, mapMargin+g.H/2), m.Height-mapMargin-g.H/2)
	}
	return moved
}

func push(a, b *float64, overlap float64) {
	step := overlap/2 + 0.5
	if *a > *b {
		step = -step
	}
	*a -= step
	*b += step
}

// link draws one curve per pair of regions that links join.
func (m *mapView) link(r *suites.Result, index map[string]int) {
	oneWay := map[[2]string]time.Duration{}
	var pairs [][2]string
	for _, l := range r.Plan.WAN.Links {
		if l.From == l.To {
			continue
		}
		if _, ok := oneWay[[2]string{l.To, l.From}]; !ok {
			pairs = append(pairs, [2]string{l.From, l.To})
		}
		oneWay[[2]string{l.From, l.To}] = l.OneWay
	}
	m.Labels = len(pairs) <= maxLabels
	var middleX, middleY float64
	for _, g := range m.Regions {
		middleX += g.CX / float64(len(m.Regions))
		middleY += g.CY / float64(len(m.Regions))
	}
	for _, p := range pairs {
		i, okI := index[p[0]]
		j, okJ := index[p[1]]
		if !okI || !okJ {
			continue
		}
		there, back := oneWay[p], oneWay[[2]string{p[1], p[0]}]
		l := mapLink{a: i, b: j, Class: "unmeasured", Measured: "not measured", Configured: trimmed(there+back) + " ms"}
		if there != back {
			l.Configured = fmt.Sprintf("%s + %s ms", trimmed(there), trimmed(back))
		}
		l.Title = fmt.Sprintf("%s ↔ %s: configured %s ms round trip (%s there, %s back)", p[0], p[1], millis(there+back), millis(there), millis(back))
		if c := measured(r, p[0], p[1]); c != nil {
			l.Measured = millis(c.Measured) + " ms measured"
			l.Title += fmt.Sprintf(", measured %s ms %s the suites", millis(c.Measured), c.When)
			l.Class = "ok"
			if !c.OK {
				l.Class = "off"
			}
		}
		m.curve(&l, middleX, middleY)
		m.Links = append(m.Links, l)
	}
}

// trimmed writes milliseconds without a zero that says nothing.
func trimmed(d time.Duration) string { return strings.TrimSuffix(millis(d), ".0") }

// measured returns the last measurement between two regions, the first one
// out of tolerance going before.
func measured(r *suites.Result, a, b string) *suites.Calibration {
	var found *suites.Calibration
	for i := range r.Calibration {
		c := &r.Calibration[i]
		from, to := r.Plan.Cluster(c.From), r.Plan.Cluster(c.To)
		if from == nil || to == nil {
			continue
		}
		if from.Region == a && to.Region == b || from.Region == b && to.Region == a {
			if !c.OK {
				return c
			}
			found = c
		}
	}
	return found
}

// curve bends a link away from the middle of the map, so that it does not
// hide behind a box between its ends, and finds a free place for its label.
func (m *mapView) curve(l *mapLink, middleX, middleY float64) {
	a, b := m.Regions[l.a], m.Regions[l.b]
	dx, dy := b.CX-a.CX, b.CY-a.CY
	length := math.Hypot(dx, dy)
	if length == 0 {
		length = 1
	}
	nx, ny := -dy/length, dx/length
	mx, my := (a.CX+b.CX)/2, (a.CY+b.CY)/2
	bend := 0.12 * length
	if (mx-middleX)*nx+(my-middleY)*ny < 0 {
		bend = -bend
	}
	cx := min(max(mx+nx*bend, mapMargin), m.Width-mapMargin)
	cy := min(max(my+ny*bend, mapMargin), m.Height-mapMargin)
	l.Path = fmt.Sprintf("M%.1f %.1fQ%.1f %.1f %.1f %.1f", a.CX, a.CY, cx, cy, b.CX, b.CY)
	l.LW = 7.4*float64(max(len([]rune(l.Configured)), len([]rune(l.Measured)))) + 18
	for _, t := range []float64{0.5, 0.42, 0.58, 0.34, 0.66, 0.27, 0.73, 0.5} {
		l.LX = (1-t)*(1-t)*a.CX + 2*(1-t)*t*cx + t*t*b.CX
		l.LY = (1-t)*(1-t)*a.CY + 2*(1-t)*t*cy + t*t*b.CY
		l.LX = min(max(l.LX, mapMargin+l.LW/2), m.Width-mapMargin-l.LW/2)
		l.LY = min(max(l.LY, mapMargin+22), m.Height-mapMargin-22)
		if m.roomFor(l) {
			return
		}
	}
}

func (m *mapView) roomFor(l *mapLink) bool {
	const half = 22
	for _, g := range m.Regions {
		if math.Abs(l.LX-g.CX) < (l.LW+g.W)/2 && math.Abs(l.LY-g.CY) < half+g.H/2 {
			return false
		}
	}
	for _, o := range m.Links {
		if math.Abs(l.LX-o.LX) < (l.LW+o.LW)/2 && math.Abs(l.LY-o.LY) < 2*half {
			return false
		}
	}
	return true
}

// onMap tells where on Earth a region is, from its name: as a fraction of the
// way from west to east, and from north to south.
func onMap(region string) (fromWest, fromNorth float64, ok bool) {
	name, longest := strings.ToLower(region), 0
	for _, p := range places {
		if len(p.name) > longest && (name == p.name || strings.HasPrefix(name, p.name+"-") ||
			strings.HasPrefix(name, p.name) && strings.ContainsAny(name[len(p.name):len(p.name)+1], "0123456789")) {
			fromWest, fromNorth, ok, longest = p.x, p.y, true, len(p.name)
		}
	}
	return fromWest, fromNorth, ok
}

// places are the names that clouds give their regions, and airports' codes.
var places = []struct {
	name string
	x, y float64
}{
	{"us", .22, .34}, {"us-west", .12, .36}, {"us-central", .20, .35}, {"us-south", .21, .42}, {"us-east", .28, .36},
	{"na", .20, .30}, {"ca", .24, .26}, {"ca-west", .15, .24}, {"canada", .24, .26}, {"mx", .19, .48}, {"mexico", .19, .48},
	{"sa", .34, .70}, {"sa-east", .36, .70}, {"sa-west", .29, .76}, {"southamerica", .34, .70}, {"brazil", .36, .68},
	{"eu", .52, .26}, {"eu-west", .48, .25}, {"eu-central", .53, .25}, {"eu-north", .54, .16}, {"eu-south", .54, .33}, {"eu-east", .58, .25}, {"europe", .52, .26},
	{"uk", .48, .23}, {"de", .53, .25}, {"fr", .50, .28}, {"af", .55, .66}, {"af-south", .56, .78}, {"africa", .55, .62},
	{"me", .62, .42}, {"me-south", .63, .44}, {"me-central", .64, .43}, {"il", .59, .38}, {"in", .70, .46}, {"asia", .76, .40},
	{"ap", .78, .44}, {"ap-south", .70, .47}, {"ap-southeast", .80, .60}, {"ap-northeast", .88, .34}, {"ap-east", .82, .44}, {"ap-central", .78, .36},
	{"jp", .88, .34}, {"japan", .88, .34}, {"kr", .85, .33}, {"cn", .80, .36}, {"cn-north", .81, .32}, {"cn-south", .80, .43}, {"sg", .78, .57},
	{"au", .90, .78}, {"australia", .90, .78}, {"nz", .97, .84},
	{"sfo", .12, .36}, {"sjc", .12, .37}, {"lax", .13, .39}, {"sea", .12, .29}, {"pdx", .12, .31}, {"den", .18, .35}, {"dfw", .21, .41}, {"ord", .24, .33},
	{"iad", .28, .36}, {"nyc", .29, .34}, {"ewr", .29, .34}, {"mia", .27, .45}, {"yyz", .27, .31}, {"gru", .36, .70}, {"scl", .29, .76},
	{"lhr", .48, .23}, {"lon", .48, .23}, {"dub", .47, .22}, {"mad", .48, .33}, {"par", .50, .27}, {"cdg", .50, .27}, {"ams", .51, .23}, {"fra", .53, .25},
	{"zrh", .52, .28}, {"arn", .55, .17}, {"waw", .56, .24}, {"jnb", .57, .74}, {"cpt", .55, .79}, {"dxb", .64, .43}, {"bom", .69, .47}, {"maa", .71, .50},
	{"sin", .78, .57}, {"hkg", .82, .44}, {"nrt", .89, .35}, {"hnd", .88, .35}, {"tyo", .88, .35}, {"icn", .85, .33}, {"syd", .92, .78}, {"mel", .90, .81},
}
