package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/gopacket/gopacket/pcapgo"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/atoll-dev/atoll/sim/capture"
)

func (a *app) captureCmd() *cobra.Command {
	var (
		o    capture.Options
		file string
	)
	cmd := &cobra.Command{
		Use:   "capture [LAB]",
		Short: "Show or record the packets on the WAN's links, the dropped ones too",
		Long: `Shows what crosses the WAN of a running lab, a line per packet; with -w it is
recorded as pcapng, which Wireshark opens. A packet is stamped when it enters a
link; what was dropped is there too, and says why.`,
		Example: `  atoll capture --between eu,us
  atoll capture --link eu-west,us-west -w links.pcapng --for 10s
  atoll capture -w - | wireshark -k -i -`,
		Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			b, _, err := open(cmd.Context(), args)
			if err != nil {
				return err
			}
			var out io.Writer
			switch file {
			case "":
			case "-":
				if f, ok := a.stdout.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
					return usageError(errors.New("-w -: stdout is a terminal; pipe it: | wireshark -k -i -"))
				}
				out = a.stdout
			default:
				f, err := os.Create(file)
				if err != nil {
					return usageError(err)
				}
				defer func() {
					if cerr := f.Close(); err == nil {
						err = cerr
					}
				}()
				out = f
			}
			return a.capture(cmd.Context(), b.Capture, o, out)
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&o.Link, "link", nil, "REGION,REGION: only the link between them, both directions")
	f.StringSliceVar(&o.Between, "between", nil, "CLUSTER,CLUSTER: only what they send each other, each packet once")
	f.StringVarP(&file, "write", "w", "", "record into this file as pcapng; - is stdout")
	f.IntVarP(&o.Count, "count", "c", 0, "stop after so many packets")
	f.DurationVar(&o.For, "for", 0, "stop after this time")
	f.IntVarP(&o.SnapLen, "snaplen", "s", 0, "keep at most so many bytes of each packet")
	return cmd
}

// capture shows what record writes, or passes it on to out.
func (a *app) capture(ctx context.Context, record func(context.Context, capture.Options, io.Writer) error, o capture.Options, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	pr, pw := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		pw.CloseWithError(record(ctx, o, pw))
	}()
	// A reader that leaves ends the capture.
	defer func() {
		cancel()
		pr.Close()
		<-done
	}()
	var in io.Reader = pr
	if out != nil {
		in = io.TeeReader(pr, out)
	}
	var missed uint64
	r, err := pcapgo.NewNgReader(in, pcapgo.NgReaderOptions{
		StatisticsCallback: func(_ int, s pcapgo.NgInterfaceStatistics) { missed += s.PacketsDropped },
	})
	if errors.Is(err, io.EOF) { // ended before it began
		return nil
	}
	if err != nil { // nothing was captured: what was asked for is not there
		return usageError(err)
	}
	if !a.quiet {
		fmt.Fprintln(a.stderr, "capturing; ctrl-C ends it")
	}
	packets := 0
	for ; ; packets++ {
		data, ci, po, err := r.ZeroCopyReadPacketDataWithOptions()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return invalidError(fmt.Errorf("capture: %w", err))
		}
		if out != nil {
			continue
		}
		i, err := r.Interface(ci.InterfaceIndex)
		if err != nil {
			return invalidError(fmt.Errorf("capture: %w", err))
		}
		l := capture.Summarize(data)
		l.At, l.Link, l.Length = ci.Timestamp, i.Name, ci.Length
		l.Dropped = capture.Dropped(po.Comments)
		if err := a.packet(&l); err != nil {
			return err
		}
	}
	if !a.quiet {
		fmt.Fprintf(a.stderr, "%d packets", packets)
		if missed > 0 {
			fmt.Fprintf(a.stderr, ", %d more missed: the output was too slow", missed)
		}
		fmt.Fprintln(a.stderr)
	}
	return nil
}

// packet prints one line: text, or JSON with -o json.
func (a *app) packet(l *capture.Summary) error {
	if a.output == "json" {
		return jsonLine(a.stdout, l)
	}
	dropped := ""
	if l.Dropped != "" {
		dropped = "  " + capture.DroppedPrefix + l.Dropped
	}
	return a.printf("%s  %s  %s → %s  %s, %d bytes%s\n",
		l.At.Local().Format("15:04:05.000000"), l.Link, l.Src, l.Dst, l.What, l.Length, dropped)
}
