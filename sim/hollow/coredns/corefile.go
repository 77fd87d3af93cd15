package coredns

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// block is one server block of a Corefile.
type block struct {
	zones []string
	port  string // "" where none is given
	lines []directive
}

// directive is a line of a server block; depth 0 is a plugin's, 1 an option of it.
type directive struct {
	number int
	depth  int
	fields []string
}

// readBlocks reads a Corefile's server blocks, one directive a line.
func readBlocks(text string) ([]block, error) {
	var blocks []block
	depth := 0
	for i, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		switch {
		case fields[0] == "}":
		case depth == 0:
			b := block{}
			for _, key := range fields {
				zone, port, given := strings.Cut(strings.TrimRight(key, "{,"), ":")
				if given {
					b.port = port
				}
				if zone != "" {
					b.zones = append(b.zones, strings.TrimPrefix(zone, "dns://"))
				} else if given {
					b.zones = append(b.zones, ".")
				}
			}
			blocks = append(blocks, b)
		case len(blocks) > 0:
			b := &blocks[len(blocks)-1]
			b.lines = append(b.lines, directive{number: i + 1, depth: depth - 1, fields: fields})
		}
		depth += strings.Count(line, "{") - strings.Count(line, "}")
		if depth < 0 {
			return nil, fmt.Errorf("corefile:%d: a closing brace too many", i+1)
		}
	}
	if depth != 0 {
		return nil, errors.New("corefile: a closing brace is missing")
	}
	return blocks, nil
}

// forwardAddress is where a server of the plugin forward listens.
func forwardAddress(server string) (string, error) {
	if ap, err := netip.ParseAddrPort(server); err == nil {
		return ap.String(), nil
	}
	if _, err := netip.ParseAddr(server); err != nil {
		return "", fmt.Errorf("%q is not an address", server)
	}
	return net.JoinHostPort(server, "53"), nil
}
