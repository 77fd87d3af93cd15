package tun

import (
	"encoding/binary"
	"errors"
)

// vnetSize is the length of the header that the kernel puts before every
// packet of a TUN device with IFF_VNET_HDR: struct virtio_net_hdr.
const vnetSize = 10

// What a vnetHeader may say (include/uapi/linux/virtio_net.h).
const (
	needsChecksum = 1 // flag: the checksum covers the pseudo header only

	gsoNone = 0
	gsoTCP4 = 1
	gsoTCP6 = 4
	gsoUDP  = 5
	gsoECN  = 0x80 // with gsoTCP4 and gsoTCP6: the super-packet has CWR
)

// vnetHeader tells what the kernel has left undone: the checksum, and the
// cutting of a super-packet into packets.
type vnetHeader struct {
	flags      uint8
	gso        uint8
	headers    uint16 // a hint: the length of all headers
	segment    uint16 // payload of each packet
	checkStart uint16 // where the checksummed part begins
	checkField uint16 // where the checksum is, from checkStart
}

// readVnet reads the header of b, which is vnetSize long at least. The kernel
// writes it in the machine's byte order.
func readVnet(b []byte) vnetHeader {
	return vnetHeader{
		flags: b[0], gso: b[1],
		headers:    binary.NativeEndian.Uint16(b[2:]),
		segment:    binary.NativeEndian.Uint16(b[4:]),
		checkStart: binary.NativeEndian.Uint16(b[6:]),
		checkField: binary.NativeEndian.Uint16(b[8:]),
	}
}

func (h vnetHeader) write(b []byte) {
	b[0], b[1] = h.flags, h.gso
	binary.NativeEndian.PutUint16(b[2:], h.headers)
	binary.NativeEndian.PutUint16(b[4:], h.segment)
	binary.NativeEndian.PutUint16(b[6:], h.checkStart)
	binary.NativeEndian.PutUint16(b[8:], h.checkField)
}

func (h vnetHeader) super() bool { return h.gso != gsoNone }

var errChecksumPlace = errors.New("tun: the checksum is outside the packet")

// complete does what the kernel has left undone about the checksum of a
// packet that is not a super-packet, in place, and returns the header that
// says so. A packet must be whole before it is damaged on purpose: the kernel
// would else put the right checksum on wrong bytes.
func (h vnetHeader) complete(packet []byte) (vnetHeader, error) {
	if h.flags&needsChecksum == 0 {
		return h, nil
	}
	at := int(h.checkStart) + int(h.checkField)
	if at+2 > len(packet) {
		return h, errChecksumPlace
	}
	sum := ^fold(add(0, packet[h.checkStart:]))
	if sum == 0 {
		sum = 0xffff // what UDP means by 0 is "no checksum"; to TCP it is the same number
	}
	binary.BigEndian.PutUint16(packet[at:], sum)
	h.flags &^= needsChecksum
	h.checkStart, h.checkField = 0, 0
	return h, nil
}

// add sums b as the Internet checksum does (RFC 1071), an odd last byte being
// padded with zero.
func add(sum uint64, b []byte) uint64 {
	// 32 bits at a time into 64 cannot overflow below 16 GiB.
	for len(b) >= 4 {
		sum += uint64(binary.BigEndian.Uint32(b))
		b = b[4:]
	}
	if len(b) >= 2 {
		sum += uint64(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		sum += uint64(b[0]) << 8
	}
	return sum
}

// fold makes a sum 16 bits wide by adding the carries.
func fold(sum uint64) uint16 {
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return uint16(sum)
}
