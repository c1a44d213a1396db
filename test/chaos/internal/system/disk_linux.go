package system

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// disk is a file system in memory that can be made full and read-only. The
// caller has a mount namespace of its own, so that nothing is left mounted.
type disk struct {
	path string
	size int64
}

// mountDisk puts a file system of a size under a folder, with what is in it.
func mountDisk(path string, size int64) (*disk, error) {
	aside := path + ".seed"
	if _, err := os.Stat(path); err == nil {
		if err := os.Rename(path, aside); err != nil {
			return nil, fmt.Errorf("make room for a file system: %w", err)
		}
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	if err := syscall.Mount("tmpfs", path, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		return nil, fmt.Errorf("mount a file system on %s, which the faults of disks need: %w", path, err)
	}
	d := &disk{path: path, size: size}
	if _, err := os.Stat(aside); err == nil {
		if out, err := exec.CommandContext(context.Background(), "cp", "-a", aside+"/.", path).CombinedOutput(); err != nil {
			return nil, errors.Join(fmt.Errorf("fill %s: %w: %s", path, err, out), d.unmount())
		}
		if err := os.RemoveAll(aside); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// tries to catch the size of a file system that is being written to.
const tries = 100

// full makes the size what is used, or what it was.
func (d *disk) full(on bool) error {
	var err error
	for range tries {
		size := d.size
		if on {
			var st syscall.Statfs_t
			if err := syscall.Statfs(d.path, &st); err != nil {
				return fmt.Errorf("look at %s: %w", d.path, err)
			}
			size = max(int64(st.Blocks-st.Bfree)*st.Bsize, st.Bsize)
		}
		if err = d.remount(0, fmt.Sprintf("size=%d", size)); err == nil {
			return nil
		}
	}
	return err
}

// readOnly forbids writing; nobody may have a file open for it.
func (d *disk) readOnly(on bool) error {
	flags := uintptr(0)
	if on {
		flags = syscall.MS_RDONLY
	}
	var err error
	for range tries {
		if err = d.remount(flags, ""); !errors.Is(err, syscall.EBUSY) {
			return err
		}
	}
	return err
}

func (d *disk) remount(flags uintptr, options string) error {
	if err := syscall.Mount("tmpfs", d.path, "tmpfs", syscall.MS_REMOUNT|flags, options); err != nil {
		return fmt.Errorf("remount %s: %w", d.path, err)
	}
	return nil
}

// unmount gives it back; what is in it is gone.
func (d *disk) unmount() error {
	if err := syscall.Unmount(d.path, syscall.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount %s: %w", d.path, err)
	}
	return nil
}

// Isolate gives a command that is about to be started a mount namespace of its
// own. Whoever is not root becomes it in there, where the system allows that.
func Isolate(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if os.Getuid() != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
			Pdeathsig:   syscall.SIGKILL,
		}
	}
}
