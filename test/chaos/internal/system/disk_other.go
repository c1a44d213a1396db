//go:build unix && !linux

package system

import (
	"errors"
	"os/exec"
)

// disk is only there on Linux: elsewhere the faults of disks fail.
type disk struct{}

func mountDisk(string, int64) (*disk, error) {
	return nil, errors.New("the faults of disks need Linux")
}

func (d *disk) full(bool) error     { return errNoDisk }
func (d *disk) readOnly(bool) error { return errNoDisk }
func (d *disk) unmount() error      { return nil }

// Isolate does nothing here.
func Isolate(*exec.Cmd) {}
