// Package bench holds the doors of the WAN against each other: kernel
// forwarding, the engine behind a TUN device, netem where the kernel has it,
// and Toxiproxy, in one run and interleaved, so that a busy minute hits all of
// them alike.
//
//	result, err := bench.Run(ctx, bench.Options{Rounds: 5})
//	result.Text(os.Stdout)
//
// # The bed
//
// Each driver has a bed of its own, three network namespaces in a row:
//
//	host a ── router ── host b
//	10.91.0.2           10.92.0.2
//
// joined by veth pairs of 1500 bytes with the kernel's usual offloads. The
// hosts are child processes of this binary (see [Child]) that make and count
// traffic; the driver works in the router, in a child of its own where it has
// a process at all. So the CPU and the memory of what forwards are its own.
//
// Namespaces have no name and no mount: threads and children hold them, and
// with the last of these they are gone, however the benchmark ended.
//
// # What is measured
//
//   - TCP throughput: bytes that arrived at b's readers, over a window that
//     begins after the streams had time to open their windows. At 50 ms round
//     trip there is no kernel baseline unless netem is there.
//   - CPU per GiB: of the forwarding process alone; and of everything the
//     benchmark runs (hosts, forwarder, the kernel's softirq threads), which
//     can be told for kernel forwarding too. Both are read from the processes'
//     own clocks: other load on the machine is not counted. How much of the
//     engine's is due to TUN, a thread shows that only reads from the device
//     and writes to it, in the same round: what it takes, everything takes that
//     forwards behind a TUN device.
//   - Small packets: UDP packets of 64 bytes (IP header included) sent as fast
//     as one thread can, without segmentation offload; counted where they
//     arrive. Per core: divided by the forwarder's CPU time in the window.
//   - Delay error: what a packet took beyond the configured one-way delay.
//     Stamped by the kernel when it leaves a's device and when it arrives at
//     b's, so the threads of the benchmark are not in the figure. What kernel
//     forwarding shows at 0 ms is the harness's own error and the wire's.
//     Toxiproxy forwards no packets; messages over one TCP connection are
//     timed for it, and for the kernel beside it.
//     Beside it stands what the machine takes to wake a thread at all, which a
//     driver in user space cannot be faster than; how late a thread is that
//     does nothing but sleep until its time, as the engine's does and with the
//     same privileges; and the time that the hypervisor meanwhile let virtual
//     processors wait for real ones, which nothing inside can take back.
//   - Memory: the largest resident set seen of the forwarding process while
//     5 Gbit/s in one direction stay 50 ms in flight.
//   - 10,000 links: the time to compile a policy and to put it in force while
//     the engine runs.
package bench
