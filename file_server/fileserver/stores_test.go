package fileserver

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

// each runs a test on every kind of store; store is what the configuration
// says of it.
func each(t *testing.T, test func(t *testing.T, store string)) {
	t.Helper()
	t.Run("local", func(t *testing.T) {
		t.Parallel()
		test(t, "")
	})
	t.Run("s3", func(t *testing.T) {
		t.Parallel()
		test(t, bucket(t, nil))
	})
}

// bucket starts an S3-compatible server with an empty bucket and returns the
// lines of configuration for it. What wrap returns, if it is not nil, stands
// between it and the file_server.
func bucket(t *testing.T, wrap func(http.Handler) http.Handler) string {
	t.Helper()
	memory := s3mem.New()
	handler := gofakes3.New(memory).Server()
	if wrap != nil {
		handler = wrap(handler)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	if err := memory.CreateBucket("files"); err != nil {
		t.Fatal(err)
	}
	return strings.Join([]string{
		"StoreDriver=s3", "S3Endpoint=" + server.URL, "S3Region=us-east-1", "S3Bucket=files", "S3Prefix=tt/",
		"S3AccessKey=key", "S3SecretKey=secret",
	}, "\n")
}
