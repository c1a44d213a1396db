package fileserver

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"teamtalk/file_server/internal/catalog"
)

// collect removes what is over, at the start and then every CollectEvery.
func (s *Server) collect(ctx context.Context) {
	ticker := time.NewTicker(s.cfg.CollectEvery)
	defer ticker.Stop()
	for {
		if _, err := s.collectOnce(ctx, false); err != nil && ctx.Err() == nil {
			s.log.Error("collection failed", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// collectOnce removes what is over, or with dryRun counts it.
func (s *Server) collectOnce(ctx context.Context, dryRun bool) (catalog.Collected, error) {
	s.collecting.Lock()
	defer s.collecting.Unlock()
	done, err := s.catalog.Collect(ctx, dryRun)
	if dryRun {
		return done, err
	}
	s.metrics.collected.WithLabelValues("entry").Add(float64(done.Expired))
	s.metrics.collected.WithLabelValues("blob").Add(float64(done.Blobs))
	s.metrics.collected.WithLabelValues("upload").Add(float64(done.Uploads))
	if s.shares != nil {
		s.shares.forgetDropped()
	}
	if done != (catalog.Collected{}) {
		s.log.Info("collected", "entries", done.Expired, "blobs", done.Blobs, "bytes", done.Bytes, "uploads", done.Uploads)
	}
	return done, err
}

// CollectPath is where the health port takes the wish for a collection.
const CollectPath = "/collect"

// Collected is what a collection removed, or would remove.
type Collected struct {
	Entries int   `json:"entries"` // whose time is over
	Blobs   int   `json:"blobs"`   // that no entry names
	Bytes   int64 `json:"bytes"`   // of these
	Uploads int   `json:"uploads"` // that nobody goes on with
}

// CollectHandler has a collection made at once, for the health port: POST,
// with "dry-run=1" in the query it only counts.
func (s *Server) CollectHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		done, err := s.collectOnce(r.Context(), r.URL.Query().Get("dry-run") == "1")
		if err != nil {
			s.log.Error("collection failed", "error", err)
			http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(Collected{done.Expired, done.Blobs, done.Bytes, done.Uploads}) // he may be gone
	})
}
