package client

import (
	"context"

	"google.golang.org/protobuf/proto"

	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/extension"
)

// FileReady says that the file of a message is complete and can be fetched
// (0x0583). It comes only with CapFiles, also to the sender, and in rare cases
// twice.
type FileReady struct {
	ID   string
	From im.UserID
	Kind im.Kind
	To   uint32 // the receiver or the group
	Msg  im.MsgID
	Name string
	Size uint64
	Hash [32]byte // SHA-256 of the content
}

func (*FileReady) event() {}

func parseFileReady(b []byte) (Event, error) {
	var m extension.IMFileReady
	err := proto.Unmarshal(b, &m)
	e := &FileReady{
		ID: m.GetFileId(), From: im.UserID(m.GetFromUserId()), Kind: im.Kind(m.GetSessionType()),
		To: m.GetToSessionId(), Msg: im.MsgID(m.GetMsgId()), Name: m.GetFileName(), Size: m.GetFileSize(),
	}
	if err == nil && len(m.GetHash()) != len(e.Hash) {
		err = ErrWrongReply
	}
	copy(e.Hash[:], m.GetHash())
	return e, err
}

// FileMoved says how far a file of a message is (0x0587), now and then while it
// moves: to those who will get it while it is sent, and to its sender while it
// is fetched. It comes only with CapFiles.
type FileMoved struct {
	ID    string
	From  im.UserID
	Kind  im.Kind
	To    uint32    // the receiver or the group
	By    im.UserID // who fetches it; 0 while it is sent
	Name  string
	Size  uint64
	Moved uint64 // bytes
}

func (*FileMoved) event() {}

func parseFileMoved(b []byte) (Event, error) {
	var m extension.IMFileMoved
	err := proto.Unmarshal(b, &m)
	return &FileMoved{
		ID: m.GetFileId(), From: im.UserID(m.GetFromUserId()), Kind: im.Kind(m.GetSessionType()), To: m.GetToSessionId(),
		By: im.UserID(m.GetFetchedBy()), Name: m.GetFileName(), Size: m.GetFileSize(), Moved: m.GetMoved(),
	}, err
}

// FileAccess is what is needed to send or fetch a file over HTTP.
type FileAccess struct {
	ID    string // of the file
	URL   string // of the file_server; the id follows
	Token string // valid for some minutes
}

// FileUpload asks for the access to send a file to a peer or a group (0x0581):
// a new one, or with an id to go on with an upload.
func (c *Client) FileUpload(ctx context.Context, kind im.Kind, session uint32, id string) (FileAccess, error) {
	return c.fileAccess(ctx, kind, session, id, false)
}

// FileDownload asks for the access to fetch a file of a conversation (0x0581).
func (c *Client) FileDownload(ctx context.Context, kind im.Kind, session uint32, id string) (FileAccess, error) {
	return c.fileAccess(ctx, kind, session, id, true)
}

func (c *Client) fileAccess(
	ctx context.Context, kind im.Kind, session uint32, id string, download bool,
) (FileAccess, error) {
	if !c.Granted(CapFiles) {
		return FileAccess{}, ErrNoFiles
	}
	req := &extension.IMFileTokenReq{
		SessionType: sessionType(kind), SessionId: proto.Uint32(session), Download: proto.Bool(download),
	}
	if id != "" {
		req.FileId = proto.String(id)
	}
	var res extension.IMFileTokenRsp
	if err := c.Do(ctx, wire.FileTokenReq, req, wire.FileTokenRes, &res); err != nil {
		return FileAccess{}, err
	}
	if code := im.Code(res.GetResultCode()); code != im.OK {
		return FileAccess{}, &NackError{Code: code, Retryable: code.Retryable()}
	}
	return FileAccess{ID: res.GetFileId(), URL: res.GetUrl(), Token: res.GetToken()}, nil
}
