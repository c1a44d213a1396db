package blob

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"teamtalk/internal/secret"
)

// S3Config says where a bucket is. The bucket must exist.
type S3Config struct {
	Endpoint string // http or https URL, without a path
	Region   string // "" lets the store decide
	Bucket   string
	Prefix   string // of every key: "" or one that ends with /
	Access   string // access key
	Secret   secret.Value
}

// S3 is a Backend in a bucket of an S3-compatible store.
type S3 struct {
	client *minio.Client
	bucket string
	prefix string
}

// How a large object is sent: at most these bytes are in memory for each.
const (
	s3Part    = 16 << 20
	s3Threads = 2
)

// s3Key signs with the secret as it is now. Its caller holds a lock.
type s3Key struct {
	access string
	secret secret.Value
	signs  string // the secret that was handed out
}

// Retrieve is credentials.Provider's.
func (k *s3Key) Retrieve() (credentials.Value, error) {
	k.signs = k.secret.Reveal()
	return credentials.Value{AccessKeyID: k.access, SecretAccessKey: k.signs, SignerType: credentials.SignatureV4}, nil
}

// RetrieveWithCredContext is credentials.Provider's.
func (k *s3Key) RetrieveWithCredContext(*credentials.CredContext) (credentials.Value, error) {
	return k.Retrieve()
}

// IsExpired is credentials.Provider's.
func (k *s3Key) IsExpired() bool { return k.signs != k.secret.Reveal() }

// NewS3 checks that the bucket can be reached.
func NewS3(ctx context.Context, cfg S3Config) (*S3, error) {
	endpoint, err := url.Parse(cfg.Endpoint)
	if err != nil || endpoint.Host == "" {
		return nil, fmt.Errorf("S3 endpoint %q is no URL", cfg.Endpoint)
	}
	client, err := minio.New(endpoint.Host, &minio.Options{
		Creds:        credentials.New(&s3Key{access: cfg.Access, secret: cfg.Secret}),
		Secure:       endpoint.Scheme == "https",
		Region:       cfg.Region,
		BucketLookup: minio.BucketLookupPath,
	})
	if err != nil {
		return nil, fmt.Errorf("open S3 store: %w", err)
	}
	found, err := client.BucketExists(ctx, cfg.Bucket)
	switch {
	case err != nil:
		return nil, fmt.Errorf("open S3 bucket %s: %w", cfg.Bucket, err)
	case !found:
		return nil, fmt.Errorf("S3 bucket %s does not exist", cfg.Bucket)
	}
	return &S3{client: client, bucket: cfg.Bucket, prefix: cfg.Prefix}, nil
}

// Put is Backend's: an object is visible when the store has all of it. Bodies
// are sent as they are: not every store takes signed pieces.
func (s *S3) Put(ctx context.Context, key, path string) error {
	_, err := s.client.FPutObject(ctx, s.bucket, s.prefix+key, path, minio.PutObjectOptions{
		ContentType: "application/octet-stream", PartSize: s3Part, NumThreads: s3Threads,
		DisableContentSha256: true,
	})
	return err
}

// Open is Backend's. The object is fetched as it is read.
func (s *S3) Open(ctx context.Context, key string) (Reader, Object, error) {
	o, err := s.client.GetObject(ctx, s.bucket, s.prefix+key, minio.GetObjectOptions{})
	if err != nil {
		return nil, Object{}, absentS3(err)
	}
	info, err := o.Stat()
	if err != nil {
		return nil, Object{}, errors.Join(absentS3(err), o.Close())
	}
	return o, Object{Key: key, Size: info.Size, Modified: info.LastModified}, nil
}

// Stat is Backend's.
func (s *S3) Stat(ctx context.Context, key string) (Object, error) {
	info, err := s.client.StatObject(ctx, s.bucket, s.prefix+key, minio.StatObjectOptions{})
	if err != nil {
		return Object{}, absentS3(err)
	}
	return Object{Key: key, Size: info.Size, Modified: info.LastModified}, nil
}

// Delete is Backend's.
func (s *S3) Delete(ctx context.Context, key string) error {
	err := s.client.RemoveObject(ctx, s.bucket, s.prefix+key, minio.RemoveObjectOptions{})
	if err = absentS3(err); errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// List is Backend's.
func (s *S3) List(ctx context.Context, prefix string, f func(Object) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the listing
	for o := range s.client.ListObjects(ctx, s.bucket, minio.ListObjectsOptions{
		Prefix: s.prefix + prefix, Recursive: true,
	}) {
		if o.Err != nil {
			return fmt.Errorf("list objects: %w", o.Err)
		}
		err := f(Object{Key: strings.TrimPrefix(o.Key, s.prefix), Size: o.Size, Modified: o.LastModified})
		if err != nil {
			return err
		}
	}
	return nil
}

// Abandoned is Backend's: large objects are sent in parts, which take space
// until they are put together or given up.
func (s *S3) Abandoned(ctx context.Context, before time.Time, dryRun bool) (n int, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the listing
	for u := range s.client.ListIncompleteUploads(ctx, s.bucket, s.prefix+"blob/", true) {
		switch {
		case minio.ToErrorResponse(u.Err).Code == minio.NoSuchUpload:
			continue // some stores say so when there is none
		case u.Err != nil:
			return n, fmt.Errorf("list uploads in parts: %w", u.Err)
		case !u.Initiated.Before(before):
			continue
		}
		if !dryRun {
			if err := (minio.Core{Client: s.client}).AbortMultipartUpload(ctx, s.bucket, u.Key, u.UploadID); err != nil {
				return n, fmt.Errorf("give up upload in parts: %w", err)
			}
		}
		n++
	}
	return n, nil
}

func absentS3(err error) error {
	if err == nil {
		return nil
	}
	r := minio.ToErrorResponse(err)
	if r.StatusCode == http.StatusNotFound || r.Code == minio.NoSuchKey {
		return ErrNotFound
	}
	return err
}
