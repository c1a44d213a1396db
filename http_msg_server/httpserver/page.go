package httpserver

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
)

// Bounds of a page.
const (
	defaultLimit = 50
	maxLimit     = 100
)

// page is what a caller asked to see of a list.
type page struct {
	after uint32 // the last id of the page before; 0 = the first page
	limit uint32
}

// page reads cursor and limit. A cursor belongs to one list.
func (c *call) page(list string) (p page, err error) {
	query := c.r.URL.Query()
	p.limit = defaultLimit
	if text := query.Get("limit"); text != "" {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil || n < 1 || n > maxLimit {
			return p, wrong("limit", fmt.Sprintf("must be 1 to %d", maxLimit))
		}
		p.limit = uint32(n)
	}
	cursor := query.Get("cursor")
	if cursor == "" {
		return p, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(cursor)
	if id, found := strings.CutPrefix(string(raw), list+":"); err == nil && found {
		if n, err := strconv.ParseUint(id, 10, 32); err == nil && n > 0 {
			p.after = uint32(n)
			return p, nil
		}
	}
	return p, wrong("cursor", "is not the next_cursor of this list")
}

// next makes the cursor of the page behind an id; "" behind the last page.
func next(more bool, list string, last uint32) string {
	if !more {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%s:%d", list, last))
}
