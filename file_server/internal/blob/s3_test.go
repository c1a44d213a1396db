package blob_test

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"teamtalk/file_server/internal/blob"

	"teamtalk/internal/secret"
)

// What a process that was killed had sent in parts is found, and given up;
// what others keep in the bucket is not touched.
func TestAbandoned(t *testing.T) {
	t.Parallel()
	memory := s3mem.New()
	server := httptest.NewServer(gofakes3.New(memory).Server())
	t.Cleanup(server.Close)
	ok(t, memory.CreateBucket("files"))
	b := must2(blob.NewS3(t.Context(), blob.S3Config{
		Endpoint: server.URL, Region: "us-east-1", Bucket: "files", Prefix: "tt/", Access: "key", Secret: secret.New("secret"),
	}))
	client := must2(minio.NewCore(strings.TrimPrefix(server.URL, "http://"), &minio.Options{
		Creds: credentials.NewStaticV4("key", "secret", ""), Region: "us-east-1",
	}))
	if n, err := b.Abandoned(t.Context(), time.Now(), false); n != 0 || err != nil {
		t.Errorf("of an empty bucket: %d, %v", n, err)
	}
	for _, key := range []string{"tt/blob/ab/abcd", "tt/blob/ef/efgh", "others/blob/x"} {
		must2(client.NewMultipartUpload(t.Context(), "files", key, minio.PutObjectOptions{}))
	}
	later := time.Now().Add(time.Hour)
	for i, c := range []struct {
		before time.Time
		dryRun bool
		want   int
	}{{time.Now().Add(-time.Hour), false, 0}, {later, true, 2}, {later, false, 2}, {later, false, 0}} {
		if n, err := b.Abandoned(t.Context(), c.before, c.dryRun); n != c.want || err != nil {
			t.Errorf("step %d: %d, %v, want %d", i, n, err, c.want)
		}
	}
	left := must2(client.ListMultipartUploads(t.Context(), "files", "", "", "", "", 10))
	if len(left.Uploads) != 1 || left.Uploads[0].Key != "others/blob/x" {
		t.Errorf("left: %v", left.Uploads)
	}
}
