package main

import (
	"strings"

	"github.com/atoll-dev/atoll/sim/netem"
	"github.com/atoll-dev/atoll/sim/tun"
)

// examineDrivers says which drivers of the WAN this machine has. A lab needs
// one of them only, its provider's: none is a fault by itself.
func examineDrivers() []finding {
	optional := func(name, seen string, err error) finding {
		f := finding{What: "WAN driver " + name, OK: err == nil, Optional: true, Seen: seen}
		if err != nil {
			f.Seen = strings.TrimPrefix(err.Error(), netem.ErrMissing.Error()+": ")
		}
		return f
	}
	return []finding{
		optional("in-process", "joins in-process hosts, everywhere", nil),
		optional("tun", "/dev/net/tun and CAP_NET_ADMIN: joins network namespaces and containers", tun.Probe()),
		optional("netem", "sch_netem, HTB, TBF, IFB and nftables: the kernel's own (unproven)", netem.Probe()),
	}
}
