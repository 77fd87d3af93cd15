package reports

import (
	"errors"
	"io"

	"github.com/atoll-dev/atoll/suites"
)

// WriteHTML writes a result as one self-contained HTML file.
func WriteHTML(w io.Writer, r *suites.Result, bundle string) error {
	return errors.New("not written yet")
}
