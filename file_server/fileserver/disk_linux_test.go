package fileserver

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"teamtalk/internal/im"
	"teamtalk/internal/share"
)

// diskSize is the variable that has a file_server of a test mount a file
// system of so many bytes for its data, which only that process sees.
const diskSize = "DISK_OF_A_TEST"

func mountDisk(path string) error {
	size := os.Getenv(diskSize)
	if size == "" {
		return nil
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keep mounts to ourselves: %w", err)
	}
	if err := syscall.Mount("tmpfs", path, "tmpfs", 0, "size="+size); err != nil {
		return fmt.Errorf("mount a small disk: %w", err)
	}
	return nil
}

// onSmallDisk starts a file_server with a disk of its own. Whoever is not root
// becomes it in there; where the system forbids that, the test fails.
func onSmallDisk(t *testing.T, size int) *victim {
	t.Helper()
	v := aside(t, "")
	v.env = []string{fmt.Sprintf("%s=%d", diskSize, size)}
	v.attributes = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		v.attributes.Cloneflags |= syscall.CLONE_NEWUSER
		v.attributes.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		v.attributes.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	v.start()
	return v
}

// fill writes to the disk of a file_server until nothing more fits, and
// returns what makes room again.
func (v *victim) fill() (free func()) {
	v.t.Helper()
	path := filepath.Join(fmt.Sprintf("/proc/%d/root", v.process.Process.Pid), v.cfg.DataDir, "filler")
	f, err := os.Create(path)
	if err != nil {
		v.t.Fatal(err)
	}
	defer f.Close()
	page := make([]byte, os.Getpagesize())
	for err == nil {
		_, err = f.Write(page)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		v.t.Fatal(err)
	}
	return func() {
		v.t.Helper()
		if err := os.Remove(path); err != nil {
			v.t.Fatal(err)
		}
	}
}

// A disk that fills up in the middle of everything: clear refusals, nothing
// incomplete is served, others go on, and all of it goes on when there is
// room. What is kept for a small file fits on the page that it began.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	v := onSmallDisk(t, 24<<20)
	data := content(4 << 20)
	const came = 1<<20 + 100
	there, token := v.begin(1000, "")
	v.want(v.patch(there, token, 0, data[:1000]), 204)
	v.announced(im.OK)
	offlineThere := v.upload(data[:40_000])
	half, halfToken := v.begin(len(data), hexSum(data))
	v.want(v.patch(half, halfToken, 0, data[:came]), 204)
	last, lastToken := v.begin(came, "")
	v.want(v.patch(last, lastToken, 0, data[:came-1]), 204)
	task := v.task(1<<20, offline)
	up := v.enter(alice, task, uploader)
	req := up.wantPull()
	bobs := func(id string) reply {
		return v.do("GET", "/files/"+id, v.token(share.Download, bob, toBob(), id), nil)
	}

	free := v.fill()
	v.want(v.patch(half, halfToken, came, data[came:]), 507)
	v.want(v.patch(last, lastToken, came-1, data[came-1:came]), 507)
	for _, size := range []int{0, 1, 1 << 20} {
		id := share.NewID(v.shares.name)
		v.want(v.do("POST", "/files/", v.token(share.Upload, alice, toBob(), id), nil, tusHeader,
			fmt.Sprintf("Upload-Length: %d", size), metadata("a.txt", "")), 507)
	}
	if code, text, _ := v.post("/", formType, form("a.bin", data[:1000])); code != int(codeNoSpace) || text != textFailed {
		t.Errorf("an image: code %d, %s", code, text)
	}
	if res := v.ask("a.bin", 1000, offline); res.GetResultCode() != 1 {
		t.Errorf("an off-line file: %v", res)
	}
	for _, id := range []string{half, last} {
		v.want(bobs(id), 409) // it is coming
	}
	up.block(int(req.GetOffset()), data[:req.GetDataSize()])
	up.wantState(stateCancel, alice)
	up.wantClosed()

	// Others do not notice.
	equal(t, v.want(bobs(there), 200).body, data[:1000])
	equal(t, v.enter(bob, offlineThere, downloader).download(40_000), data[:40_000])
	from, to := v.pair(1000)
	to.pull(online, 1, 0, 1000)
	from.wantPull()
	from.block(0, data[:1000])
	equal(t, to.wantBlock(1).GetFileData(), data[:1000])

	free()
	for id, token := range map[string]string{half: halfToken, last: lastToken} {
		size := map[string]int{half: len(data), last: came}[id]
		var at int
		if _, err := fmt.Sscan(v.offset(id, token), &at); err != nil || at < came-1 {
			t.Fatalf("after the disk was full it stands at %d, %v", at, err)
		}
		if at < size {
			v.want(v.patch(id, token, at, data[at:size]), 204)
		}
		if m := v.announced(im.OK); m.GetFileId() != id || !bytes.Equal(v.want(bobs(id), 200).body, data[:size]) {
			t.Errorf("announced %v", m)
		}
	}
	_, image := v.get(v.uploadImage("a.bin", data[:1000]))
	equal(t, image, data[:1000])
	equal(t, v.enter(bob, v.upload(data[:50_000]), downloader).download(50_000), data[:50_000])
}
