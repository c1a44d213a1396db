package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/login"
)

// maxLocate is the longest answer of a login_server in bytes that is read.
const maxLocate = 64 << 10

// Location is a login_server's answer. Source: docs/protocol/flows.md §1.1.
type Location struct {
	Addr       string // host:port of the msg_server to use
	Backup     string // host:port by its other address; may equal Addr
	MSFS       string // base URL for pictures
	MSFSBackup string
	Discovery  string // URL of the discovery page
}

// LocateError is a login_server that has no msg_server to offer.
type LocateError struct {
	Code int // 1: none registered, 2: all full
	Msg  string
}

func (e *LocateError) Error() string {
	return fmt.Sprintf("client: no msg_server: %d %s", e.Code, e.Msg)
}

// locateAnswer is the JSON of GET /msg_server.
type locateAnswer struct {
	Code       int      `json:"code"`
	Msg        string   `json:"msg"`
	PriorIP    string   `json:"priorIP"`
	BackupIP   string   `json:"backupIP"`
	Port       anyDigit `json:"port"`
	MsfsPrior  string   `json:"msfsPrior"`
	MsfsBackup string   `json:"msfsBackup"`
	Discovery  string   `json:"discovery"`
}

// anyDigit is a number that may come as a JSON string. The port does, but old
// clients other than Windows accept both, and so do we.
type anyDigit uint16

// UnmarshalJSON implements json.Unmarshaler.
func (d *anyDigit) UnmarshalJSON(data []byte) error {
	text := strings.Trim(string(data), `"`)
	if text == "" {
		return nil
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return fmt.Errorf("port %q: %w", text, err)
	}
	*d = anyDigit(n)
	return nil
}

// Locate asks a login_server over HTTP which msg_server to use. loginURL may
// be "http://host:8080/msg_server", "http://host:8080" or "host:8080".
// A login_server without a free msg_server gives a *LocateError.
func Locate(ctx context.Context, loginURL string) (Location, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, locateURL(loginURL), http.NoBody)
	if err != nil {
		return Location{}, fmt.Errorf("client: locate: %w", err)
	}
	// The server closes after one answer; a transport of its own leaves
	// nothing behind.
	hc := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	resp, err := hc.Do(req)
	if err != nil {
		return Location{}, fmt.Errorf("client: locate: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return Location{}, fmt.Errorf("%w: %s", ErrNoLogin, resp.Status)
	}
	var a locateAnswer
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxLocate)).Decode(&a); err != nil {
		return Location{}, fmt.Errorf("%w: %w", ErrNoLogin, err)
	}
	if a.Code != 0 {
		return Location{}, &LocateError{Code: a.Code, Msg: a.Msg}
	}
	if a.PriorIP == "" || a.Port == 0 {
		return Location{}, fmt.Errorf("%w: it names no server", ErrNoLogin)
	}
	port := strconv.Itoa(int(a.Port))
	loc := Location{
		Addr: net.JoinHostPort(a.PriorIP, port),
		MSFS: a.MsfsPrior, MSFSBackup: a.MsfsBackup, Discovery: a.Discovery,
	}
	if a.BackupIP != "" {
		loc.Backup = net.JoinHostPort(a.BackupIP, port)
	}
	return loc, nil
}

// locateURL completes a short form of the login_server's URL.
func locateURL(s string) string {
	if !strings.Contains(s, "://") {
		s = "http://" + s
	}
	if _, rest, _ := strings.Cut(s, "://"); !strings.Contains(strings.TrimSuffix(rest, "/"), "/") {
		s = strings.TrimSuffix(s, "/") + "/msg_server"
	}
	return s
}

// LocateTCP asks a login_server with 0x0101 over TCP.
// Source: docs/protocol/flows.md §1.2; only Addr and Backup are set.
func LocateTCP(ctx context.Context, addr string) (Location, error) {
	c, err := DialRaw(ctx, addr, "")
	if err != nil {
		return Location{}, err
	}
	defer c.Close()
	if err := c.Send(wire.MsgServerReq, 1, &login.IMMsgServReq{}); err != nil {
		return Location{}, err
	}
	var a login.IMMsgServRsp
	if err := c.Expect(ctx, wire.MsgServerRes, &a); err != nil {
		return Location{}, err
	}
	if a.GetResultCode() != basedefine.ResultType_REFUSE_REASON_NONE {
		return Location{}, &LocateError{Code: int(a.GetResultCode()), Msg: a.GetResultCode().String()}
	}
	port := strconv.FormatUint(uint64(a.GetPort()), 10)
	loc := Location{Addr: net.JoinHostPort(a.GetPriorIp(), port)}
	if a.GetBackipIp() != "" {
		loc.Backup = net.JoinHostPort(a.GetBackipIp(), port)
	}
	return loc, nil
}
