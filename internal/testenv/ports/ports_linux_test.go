package ports

import (
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// asked makes this binary another process that takes ports and holds them until
// its standard input ends.
const asked = "TAKES_PORTS"

func TestMain(m *testing.M) {
	if os.Getenv(asked) == "" {
		os.Exit(m.Run())
	}
	for range 300 {
		base, err := Take(0, 7, 3000)
		if err != nil {
			panic(err)
		}
		_, _ = os.Stdout.WriteString(strconv.Itoa(base) + "\n")
	}
	_ = os.Stdout.Close()
	_, _ = os.Stdin.Read(make([]byte, 1))
}

// Processes that take ranges at the same time are given different ports.
func TestProcesses(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	owners := map[int]int{}
	var reading sync.WaitGroup
	for process := range 4 {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), asked+"=1")
		hold, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = hold.Close(); _ = cmd.Wait() })
		reading.Go(func() {
			var text strings.Builder
			buf := make([]byte, 4096)
			for {
				n, err := out.Read(buf)
				text.Write(buf[:n])
				if err != nil {
					break
				}
			}
			mu.Lock()
			defer mu.Unlock()
			for line := range strings.Lines(text.String()) {
				base, err := strconv.Atoi(strings.TrimSpace(line))
				if err != nil || base < lowest || base+3000 >= highest {
					t.Errorf("base %q, %v", line, err)
				}
				for _, d := range []int{0, 7, 3000} {
					if other, taken := owners[base+d]; taken {
						t.Errorf("port %d is given to %d and %d", base+d, other, process)
					}
					owners[base+d] = process
				}
			}
		})
	}
	reading.Wait()
	if len(owners) != 4*300*3 {
		t.Errorf("%d ports", len(owners))
	}
}

// A base of which one port is in use is not given, and nothing of it is kept.
func TestAllOrNone(t *testing.T) { //nolint:paralleltest // a process that begins holds what others give back, for a moment
	base, err := Take(0, 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	given.mu.Lock()
	defer given.mu.Unlock()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	foreign := l.Addr().(*net.TCPAddr).Port
	if take(base-5, []int{0, 5}) || take(foreign-1, []int{0, 1}) {
		t.Error("a port that is taken is given")
	}
	for _, port := range []int{base - 5, foreign - 1, foreign} {
		if r, kept := reserve(port); !kept {
			t.Errorf("port %d stays reserved", port)
		} else {
			_ = r.Close()
		}
	}
}
