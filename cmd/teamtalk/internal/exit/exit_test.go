package exit_test

import (
	"errors"
	"fmt"
	"testing"

	"teamtalk/cmd/teamtalk/internal/exit"
	"teamtalk/cmd/teamtalk/internal/words"
)

func TestCode(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		err  error
		want int
	}{
		"nil":     {nil, 0},
		"foreign": {errors.New("x"), exit.Failed},
		"usage":   {exit.Usagef("x"), exit.Usage},
		"no run":  {exit.CannotRunErr(errors.New("x")), exit.CannotRun},
		"exists":  {exit.CannotRunErr(exit.Existsf("x")), exit.Exists},
		"ran":     {exit.CannotRunErr(nil), 0},
		"bad":     {exit.Bad(words.PasswordEmpty), exit.Usage},
		"there":   {exit.There(words.UserExists, "x"), exit.Exists},
		"used":    {exit.UsageErr(errors.New("x")), exit.Usage},
		"kept":    {exit.UsageErr(exit.Existsf("x")), exit.Exists},
		"no use":  {exit.UsageErr(nil), 0},
		"told":    {exit.Told(exit.Usagef("x")), exit.Usage},
		"wrapped": {fmt.Errorf("add: %w", exit.Existsf("x")), exit.Exists},
	}
	for name, test := range tests {
		if got := exit.Code(test.err); got != test.want {
			t.Errorf("%s: %d, want %d", name, got, test.want)
		}
	}
	if err := exit.Told(errors.New("x")); !exit.WasTold(fmt.Errorf("run: %w", err)) || exit.WasTold(errors.New("x")) || exit.Told(nil) != nil {
		t.Error("what was told and what was not is mixed up")
	}
}
