package wireguard

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"golang.org/x/crypto/curve25519"
)

// Key is a private or a public key; wg(8) writes it in base64.
type Key [32]byte

func (k Key) String() string { return base64.StdEncoding.EncodeToString(k[:]) }

func (k Key) hex() string { return hex.EncodeToString(k[:]) }

func parseHex(s string) (k Key, err error) {
	b, err := hex.DecodeString(s)
	if err == nil && len(b) != len(k) {
		err = fmt.Errorf("a key of %d bytes", len(b))
	}
	copy(k[:], b)
	return k, err
}

// derive makes a key from a seed and what it is for. It is no secret from
// whoever knows the seed: a lab's traffic is nobody's.
func derive(seed uint64, what string) (Key, error) {
	b, err := hkdf.Key(sha256.New, binary.BigEndian.AppendUint64(nil, seed), nil, "atoll overlay "+what, 32)
	if err != nil {
		return Key{}, err
	}
	k := Key(b)
	k[0] &= 248
	k[31] = k[31]&127 | 64
	return k, nil
}

// public is the public key of a private one.
func (k Key) public() (Key, error) {
	b, err := curve25519.X25519(k[:], curve25519.Basepoint)
	if err != nil {
		return Key{}, err
	}
	return Key(b), nil
}
