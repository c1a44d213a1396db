package phones

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// What the credentials name.
const (
	keyID, teamID = "KEYIDKEYID", "TEAMIDTEAM"
	projectID     = "teamtalk-test"
	account       = "push@teamtalk-test.example"
	keyPassword   = "the password of the key"
)

// credentials are those of a push_server, and what the services check them by.
type credentials struct {
	dir       string
	appleKey  *ecdsa.PrivateKey
	googleKey *rsa.PrivateKey
	authority *x509.Certificate
	signer    *ecdsa.PrivateKey // the authority's
}

// ByKey returns the keys of pushserver.conf with which Apple is asked by token,
// and Google by its account.
func (s *Services) ByKey() map[string]string {
	return s.with(map[string]string{
		"ApnsKeyFile": s.file("apple.p8"), "ApnsKeyID": keyID, "ApnsTeamID": teamID, "ApnsTopic": Topic,
		"ApnsUrl": s.apple.URL,
	})
}

// ByCertificate returns those with which Apple is asked with a client
// certificate, at an address that no one without it can connect to.
func (s *Services) ByCertificate() map[string]string {
	return s.with(map[string]string{
		"CertPath": s.file("client.pem"), "KeyPath": s.file("client.key"), "KeyPassword": keyPassword,
		"ApnsUrl": s.appleByCert.URL,
	})
}

func (s *Services) with(keys map[string]string) map[string]string {
	keys["FcmAccountFile"], keys["FcmUrl"] = s.file("account.json"), s.google.URL
	keys["ProviderCAFile"] = s.file("ca.pem")
	return keys
}

func (s *Services) file(name string) string { return filepath.Join(s.credentials.dir, name) }

// make makes all keys and certificates; s takes what its servers need.
func (c *credentials) make(t testing.TB, s *Services) {
	t.Helper()
	c.dir = t.TempDir()
	c.appleKey, c.signer = ecKey(t), ecKey(t)
	var err error
	if c.googleKey, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		t.Fatal(err)
	}
	c.authority = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority of the tests"}, IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: time.Now().Add(-maxAge), NotAfter: time.Now().Add(maxAge),
	}
	root := c.sign(t, c.authority, c.signer)
	c.write(t, "ca.pem", "CERTIFICATE", root)
	trusted := x509.NewCertPool()
	own, err := x509.ParseCertificate(root)
	if err != nil {
		t.Fatal(err)
	}
	trusted.AddCert(own)

	serverKey := ecKey(t)
	server := c.sign(t, c.leaf(2, x509.ExtKeyUsageServerAuth), serverKey)
	secure := func() *tls.Config {
		return &tls.Config{
			MinVersion:   tls.VersionTLS12,
			Certificates: []tls.Certificate{{Certificate: [][]byte{server}, PrivateKey: serverKey}},
		}
	}
	s.apple.TLS, s.appleByCert.TLS, s.google.TLS = secure(), secure(), secure()
	s.appleByCert.TLS.ClientAuth, s.appleByCert.TLS.ClientCAs = tls.RequireAndVerifyClientCert, trusted

	c.write(t, "apple.p8", "PRIVATE KEY", pkcs8(t, c.appleKey))
	clientKey := ecKey(t)
	c.write(t, "client.pem", "CERTIFICATE", c.sign(t, c.leaf(3, x509.ExtKeyUsageClientAuth), clientKey))
	der, err := x509.MarshalECPrivateKey(clientKey)
	if err != nil {
		t.Fatal(err)
	}
	//nolint:staticcheck // the form of the original's key files
	locked, err := x509.EncryptPEMBlock(rand.Reader, "EC PRIVATE KEY", der, []byte(keyPassword), x509.PEMCipherAES256)
	if err != nil {
		t.Fatal(err)
	}
	c.writeText(t, "client.key", pem.EncodeToMemory(locked))
}

// writeAccount writes the file of Google's service account.
func (c *credentials) writeAccount(t testing.TB, url string) {
	t.Helper()
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8(t, c.googleKey)})
	text, err := json.Marshal(map[string]string{
		"type": "service_account", "project_id": projectID, "client_email": account, "private_key_id": "1",
		"private_key": string(key), "token_uri": url + "/token",
	})
	if err != nil {
		t.Fatal(err)
	}
	c.writeText(t, "account.json", text)
}

func (c *credentials) leaf(serial int64, usage x509.ExtKeyUsage) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: Topic},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:    x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{usage},
		NotBefore: c.authority.NotBefore, NotAfter: c.authority.NotAfter,
	}
}

// sign returns a certificate of the authority.
func (c *credentials) sign(t testing.TB, cert *x509.Certificate, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, cert, c.authority, &key.PublicKey, c.signer)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func (c *credentials) write(t testing.TB, name, kind string, der []byte) {
	t.Helper()
	c.writeText(t, name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func (c *credentials) writeText(t testing.TB, name string, text []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(c.dir, name), text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func ecKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func pkcs8(t testing.TB, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}
