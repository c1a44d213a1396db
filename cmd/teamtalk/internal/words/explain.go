package words

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"strings"
	"syscall"

	"teamtalk/client"
	"teamtalk/client/transfer"
	"teamtalk/db_proxy/dbproxy"
	"teamtalk/internal/im"
	"teamtalk/pb/basedefine"
)

// plainly are the errors that always mean the same, the more special ones
// first.
var plainly = []struct {
	err error
	id  ID
}{
	{transfer.ErrDenied, FileDenied},
	{transfer.ErrGone, FileGone},
	{transfer.ErrQuota, FileQuota},
	{transfer.ErrTooLarge, FileTooLarge},
	{transfer.ErrUndeliverable, FileUndeliverable},
	{transfer.ErrChanged, FileChanged},
	{transfer.ErrDamaged, FileDamaged},
	{transfer.ErrContent, FileDamaged},
	{transfer.ErrNoFile, NoFileFound},
	{syscall.ENOSPC, DiskFull},
	{transfer.ErrNoSpace, ServerDiskFull},
	{client.ErrNoFiles, NoFileServer},
	{client.ErrNoLogin, NotALoginServer},
	{client.ErrAckTimeout, NoAnswer},
	{client.ErrOffline, NotConnected},
	{client.ErrTooLong, TextTooLong},
	{client.ErrDead, ConnectionLost},
	{client.ErrQueueFull, QueueFull},
	{client.ErrWrongReply, WrongReply},
	{client.ErrClosed, NotConnected},
	{context.Canceled, Stopped},
}

// Explain says in one line, in words for people, why something did not work.
// What nobody foresaw keeps its own words.
func (l Lang) Explain(err error) string {
	if err == nil {
		return l.Say(NotConnected)
	}
	if own, ok := errors.AsType[*Error](err); ok {
		around, _ := strings.CutSuffix(err.Error(), own.Error()) // of those who wrapped it
		return strings.TrimSuffix(around, err.Error()) + l.Say(own.ID, own.Args...)
	}
	for _, p := range plainly {
		if errors.Is(err, p.err) {
			return l.Say(p.id)
		}
	}
	for _, explain := range []func(Lang, error) string{ofServer, ofNetwork, ofFiles, ofDatabase} {
		if text := explain(l, err); text != "" {
			return text
		}
	}
	return own(err)
}

// own returns the words of an error itself on one line, without the names of
// our packages.
func own(err error) string {
	text := strings.Join(strings.Fields(err.Error()), " ")
	for _, prefix := range []string{"client: ", "transfer: ", "store: "} {
		text = strings.TrimPrefix(text, prefix)
	}
	return text
}

// ofServer explains what a server says.
func ofServer(l Lang, err error) string {
	if refused, ok := errors.AsType[*client.LoginError](err); ok {
		return l.login(refused.Code)
	}
	if none, ok := errors.AsType[*client.LocateError](err); ok {
		return l.login(basedefine.ResultType(none.Code))
	}
	if kick, ok := errors.AsType[*client.KickedError](err); ok {
		if id, ok := ofKick[kick.Reason]; ok {
			return l.Say(id)
		}
		return l.Say(Kicked)
	}
	if silence, ok := errors.AsType[*transfer.SilenceError](err); ok {
		return l.Say(FileSilence, silence.After.String(), silence.Err)
	}
	if exists, ok := errors.AsType[*transfer.ExistsError](err); ok {
		return l.Say(FileExists, exists.Path)
	}
	if nack, ok := errors.AsType[*client.NackError](err); ok {
		return l.Say(MessageRefused, l.code(nack.Code))
	}
	if result, ok := errors.AsType[*client.ResultError](err); ok {
		return l.Say(RefusedCode, result.Code)
	}
	if _, ok := errors.AsType[*client.MovedError](err); ok {
		return l.Say(ServerMoved)
	}
	return ""
}

// ofNetwork explains what the network does.
func ofNetwork(l Lang, err error) string {
	if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
		return l.Say(NoSuchHost, dns.Name)
	}
	where := ""
	if request, ok := errors.AsType[*url.Error](err); ok {
		where = request.URL
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Addr != nil {
		where = op.Addr.String()
	}
	timeout := net.Error(nil)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED) && where != "":
		return l.Say(ConnectionRefused, where)
	case (errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENETUNREACH)) && where != "":
		return l.Say(HostUnreachable, where)
	case (errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)) && where != "":
		return l.Say(ConnectionReset, where)
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return l.Say(NoAnswer)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return l.Say(ConnectionClosed)
	}
	return ""
}

// ofFiles explains what the file system of this machine does.
func ofFiles(l Lang, err error) string {
	file, ok := errors.AsType[*fs.PathError](err)
	switch {
	case ok && errors.Is(err, fs.ErrNotExist):
		return l.Say(NoSuchFile, file.Path)
	case ok && errors.Is(err, fs.ErrPermission):
		return l.Say(NoPermission, file.Path)
	case ok && errors.Is(err, syscall.EISDIR):
		return l.Say(IsFolder, file.Path)
	case ok:
		return l.Say(FileTrouble, file.Path, file.Err.Error())
	}
	if link, ok := errors.AsType[*os.LinkError](err); ok {
		return l.Say(FileTrouble, link.New, link.Err.Error())
	}
	if errors.Is(err, transfer.ErrRefused) {
		reason := strings.TrimPrefix(own(err), strings.TrimPrefix(transfer.ErrRefused.Error(), "transfer: ")+": ")
		return l.Say(FileRefused, reason)
	}
	return ""
}

// ofDatabase explains what our own tools say: in English their own words, which
// name everything.
func ofDatabase(l Lang, err error) string {
	if missing, ok := errors.AsType[*dbproxy.MissingUserError](err); ok {
		return l.Say(NoUser, missing.Name)
	}
	if _, ok := errors.AsType[*im.Error](err); !ok {
		return ""
	}
	return l.Say(DatabaseSays, l.code(im.CodeOf(err)), details(err))
}

// details joins the words along a chain of errors: no codes, no package names.
func details(err error) string {
	var parts []string
	for err != nil {
		e, ok := errors.AsType[*im.Error](err)
		if !ok {
			parts = append(parts, err.Error())
			break
		}
		if prefix, _, found := strings.Cut(err.Error(), e.Error()); found && prefix != "" {
			parts = append(parts, strings.TrimSuffix(prefix, ": "))
		}
		parts = append(parts, strings.TrimPrefix(e.Msg, "store: "))
		err = e.Cause
	}
	return strings.Join(strings.Fields(strings.Join(parts, ": ")), " ")
}
