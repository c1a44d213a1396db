package bench

import "errors"

// writeHTML writes a report.
func (res *Result) writeHTML(string) error { return errors.New("--html is not available; use --json") }
