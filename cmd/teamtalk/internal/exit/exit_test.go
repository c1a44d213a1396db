package exit_test

import (
	"errors"
	"fmt"
	"testing"

	"teamtalk/cmd/teamtalk/internal/exit"
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
		"wrapped": {fmt.Errorf("add: %w", exit.Existsf("x")), exit.Exists},
	}
	for name, test := range tests {
		if got := exit.Code(test.err); got != test.want {
			t.Errorf("%s: %d, want %d", name, got, test.want)
		}
	}
}
