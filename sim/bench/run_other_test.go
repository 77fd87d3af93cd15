//go:build !linux

package bench

func runForTest() {}
