package command

import (
	"context"

	"google.golang.org/protobuf/proto"

	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
	"teamtalk/internal/wire"
	"teamtalk/pb/basedefine"
	"teamtalk/pb/file"
)

// offlineFileStore keeps which files wait for whom.
type offlineFileStore interface {
	AddOfflineFile(ctx context.Context, f store.OfflineFile) error
	// OfflineFiles returns the newest first, without those whose time is over.
	OfflineFiles(ctx context.Context, to im.UserID) ([]store.OfflineFile, error)
	DeleteOfflineFile(ctx context.Context, from, to im.UserID, task string) error
}

// offlineFiles answers 0509, 050B and 050C. That the users are who they say is
// the msg_server's to check; it has the log-in.
type offlineFiles struct {
	store offlineFileStore
}

func offlineFileCommands(o *offlineFiles) []Command {
	return []Command{
		{ID: wire.FileHasOfflineReq, Asker: ByUser, Reply: wire.FileHasOfflineRes, Query: o.list},
		{ID: wire.FileAddOfflineReq, Asker: ByUser, Query: o.add},
		{ID: wire.FileDelOfflineReq, Asker: ByReceiver, Query: o.remove},
	}
}

// list tells what waits for a user, 0509 to 050A. Without an answer from SQL
// there is none: an empty list would say that nothing waits.
//
// Source: docs/protocol/flows.md §16.5; docs/protocol/defects.md G9.
func (o *offlineFiles) list(ctx context.Context, r *Request) (proto.Message, error) {
	req := new(file.IMFileHasOfflineReq)
	if err := parse(r, req); err != nil {
		return nil, err
	}
	all, err := o.store.OfflineFiles(ctx, im.UserID(req.GetUserId()))
	if err != nil {
		return nil, err
	}
	res := &file.IMFileHasOfflineRsp{UserId: proto.Uint32(req.GetUserId()), AttachData: req.GetAttachData()}
	for _, f := range all {
		info := &basedefine.OfflineFileInfo{
			FromUserId: proto.Uint32(uint32(f.From)), TaskId: proto.String(f.Task),
			FileName: proto.String(f.Name), FileSize: proto.Uint32(f.Size),
		}
		if r.Capable && f.Server != "" {
			info.FileServer = proto.String(f.Server)
		}
		res.OfflineFileList = append(res.OfflineFileList, info)
	}
	return res, nil
}

// add enters a file that is completely uploaded, 050B.
//
// Source: docs/protocol/flows.md §16.4. Retry: safe; a task is entered once.
func (o *offlineFiles) add(ctx context.Context, r *Request) (proto.Message, error) {
	req := new(file.IMFileAddOfflineReq)
	if err := parse(r, req); err != nil {
		return nil, err
	}
	if req.GetFromUserId() == 0 || req.GetToUserId() == 0 || req.GetTaskId() == "" {
		return nil, im.Errorf(im.Invalid, "off-line file of nobody")
	}
	return nil, o.store.AddOfflineFile(ctx, store.OfflineFile{
		From: im.UserID(req.GetFromUserId()), To: im.UserID(req.GetToUserId()),
		Task: req.GetTaskId(), Name: req.GetFileName(), Size: req.GetFileSize(),
		Server: req.GetFileServer(), Expires: req.GetExpires(),
	})
}

// remove forgets a file, 050C.
//
// Source: docs/protocol/flows.md §16.5; docs/protocol/defects.md D5.
func (o *offlineFiles) remove(ctx context.Context, r *Request) (proto.Message, error) {
	req := new(file.IMFileDelOfflineReq)
	if err := parse(r, req); err != nil {
		return nil, err
	}
	return nil, o.store.DeleteOfflineFile(ctx,
		im.UserID(req.GetFromUserId()), im.UserID(req.GetToUserId()), req.GetTaskId())
}
