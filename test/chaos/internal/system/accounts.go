//go:build unix

package system

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"teamtalk/internal/im"
)

// Password is that of every account.
const Password = "12345"

// AddUsers makes the accounts u1 to uN and returns their ids in this order.
func (s *System) AddUsers(ctx context.Context, n int) ([]im.UserID, error) {
	out, err := s.teamtalk(ctx, "user", "add", "--prefix", "u", "--count", strconv.Itoa(n), "--password", Password)
	if err != nil {
		return nil, err
	}
	ids := make([]im.UserID, n)
	for line := range strings.Lines(out) {
		id, name, ok := strings.Cut(strings.TrimSpace(line), "\t")
		number, err1 := strconv.ParseUint(id, 10, 32)
		at, err2 := strconv.Atoi(strings.TrimPrefix(name, "u"))
		if !ok || err1 != nil || err2 != nil || at < 1 || at > n {
			return nil, fmt.Errorf("teamtalk user add printed %q", line)
		}
		ids[at-1] = im.UserID(number)
	}
	return ids, nil
}

// AddGroup makes a group of the users with these numbers.
func (s *System) AddGroup(ctx context.Context, name string, users []int) (im.GroupID, error) {
	members := make([]string, len(users))
	for i, u := range users {
		members[i] = fmt.Sprintf("u%d", u)
	}
	out, err := s.teamtalk(ctx, "group", "add", name, "--members", strings.Join(members, ","), "--type", "normal")
	if err != nil {
		return 0, err
	}
	text, _, _ := strings.Cut(strings.TrimSpace(out), "\t")
	id, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("teamtalk group add printed %q", out)
	}
	return im.GroupID(id), nil
}

// teamtalk runs the command line on this system's data.
func (s *System) teamtalk(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(s.cfg.Bin, "teamtalk"), append(args, s.admin...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("teamtalk %s: %w: %s", strings.Join(args, " "), err, stderr.String())
	}
	return stdout.String(), nil
}
