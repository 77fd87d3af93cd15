package suites

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestUntilReportsWhatItSawLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		took, err := until(t.Context(), "three", time.Minute, func(context.Context) (string, bool) { n++; return "", n == 3 })
		if err != nil || took != 2*pollEvery {
			t.Errorf("took %v, %v", took, err)
		}

		_, err = until(t.Context(), "the moon", time.Second, func(context.Context) (string, bool) { return "clouds", false })
		const want = "the moon: not within 1s; last seen: clouds"
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}

		// A look that hangs is ended with the wait, and does not hide what was seen before it.
		first := true
		_, err = until(t.Context(), "the moon", time.Second, func(ctx context.Context) (string, bool) {
			if first {
				first = false
				return "clouds", false
			}
			<-ctx.Done()
			return ctx.Err().Error(), false
		})
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	})
}

func TestUntilTellsAnInterruptFromATimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop := errors.New("ctrl-C")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(stop) })
		_, err := until(ctx, "the moon", time.Minute, func(context.Context) (string, bool) { return "clouds", false })
		if !errors.Is(err, stop) || strings.Contains(err.Error(), "not within") {
			t.Errorf("got %v", err)
		}
	})
}

func TestFleetWaitsForAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fleet{clusters: []string{"eu", "us"}, state: map[string]held{}, changed: make(chan struct{}), onChange: func(map[string]held) {}}
		f.set("eu", held{there: true, replicas: 2, ready: 1})
		go func() {
			time.Sleep(3 * time.Second)
			f.set("us", held{there: true, replicas: 1, ready: 1})
		}()
		both := func(want, _ map[string]int) bool { return division(want) == "eu 2, us 1" }
		if took, err := f.wait(t.Context(), "both", time.Now(), time.Minute, both); err != nil || took != 3*time.Second {
			t.Errorf("took %v, %v", took, err)
		}
		f.set("us", held{})
		_, err := f.wait(t.Context(), "both", time.Now(), time.Second, both)
		const want = "both: not within 1s; last seen: eu 2 asked for, eu 1 ready"
		if err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	})
}
