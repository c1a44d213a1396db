package task

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestCleanName(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"a.txt":                      "a.txt",
		"报告.pdf":                     "报告.pdf",
		`C:\Users\bob\a b.txt`:       "a b.txt",
		"../../etc/passwd":           "passwd",
		`..\..\x`:                    "x",
		"/":                          "",
		"":                           "",
		".":                          "",
		"..":                         "",
		"a/..":                       "",
		"a\x00b":                     "",
		"a\nb":                       "",
		"\xff":                       "",
		strings.Repeat("a", 255):     strings.Repeat("a", 255),
		strings.Repeat("a", 256):     "",
		".hidden":                    ".hidden",
		"a/":                         "a",
		"con" + string(rune(0x202e)): "con" + string(rune(0x202e)),
	} {
		got, ok := CleanName(name)
		if got != want || ok != (want != "") {
			t.Errorf("CleanName(%q) = %q, %v, want %q", name, got, ok, want)
		}
	}
}

func FuzzCleanName(f *testing.F) {
	f.Add(`..\a/b`)
	f.Fuzz(func(t *testing.T, name string) {
		if clean, ok := CleanName(name); ok && (clean == "" || clean == ".." || strings.ContainsAny(clean, "/\\\x00")) {
			t.Errorf("%q is not clean", clean)
		}
	})
}

func TestValidID(t *testing.T) {
	t.Parallel()
	const good = "4b2d5f2e-9f63-4c0e-9b1a-1d2e3f405162"
	for id, want := range map[string]bool{
		good: true, "": false, strings.ToUpper(good): false, "{" + good + "}": false, "urn:uuid:" + good: false,
		strings.ReplaceAll(good, "-", ""): false, "../../../../etc/passwd-aaaaaaaaaaaaaa": false,
		"4b2d5f2e-9f63-1c0e-9b1a-1d2e3f405162": false, good[:35] + "/": false,
	} {
		if ValidID(id) != want {
			t.Errorf("ValidID(%q) is not %v", id, want)
		}
	}
}

// table returns a table and a way to let time pass.
func table() (t *Table, pass func(time.Duration)) {
	now := time.Unix(1_700_000_000, 0)
	t = NewTable(Limits{Tasks: 3, PerUser: 2, Idle: time.Minute}, func() time.Time { return now })
	return t, func(d time.Duration) { now = now.Add(d) }
}

func TestRoles(t *testing.T) {
	t.Parallel()
	const from, to, stranger = 1, 2, 3
	type step struct {
		role Role // 0: leave
		user uint32
		want error
		then State
	}
	for name, c := range map[string]struct {
		offline bool
		steps   []step
	}{
		"sender first":   {false, []step{{Sender, from, nil, WaitingReceiver}, {Receiver, to, nil, Transferring}}},
		"receiver first": {false, []step{{Receiver, to, nil, WaitingSender}, {Sender, from, nil, Transferring}}},
		"twice":          {false, []step{{Sender, from, nil, WaitingReceiver}, {Sender, from, ErrState, WaitingReceiver}}},
		"swapped":        {false, []step{{Sender, to, ErrUser, Over}, {Receiver, from, ErrUser, Over}}},
		"stranger":       {false, []step{{Sender, stranger, ErrUser, Over}, {Receiver, stranger, ErrUser, Over}, {Uploader, from, ErrUser, Over}}},
		"over": {false, []step{
			{Sender, from, nil, WaitingReceiver}, {Receiver, to, nil, Transferring}, {0, 0, nil, Over}, {Sender, from, ErrState, Over},
		}},
		"waited alone": {false, []step{{Sender, from, nil, WaitingReceiver}, {0, 0, nil, Ready}, {Sender, from, nil, WaitingReceiver}}},
		"upload": {true, []step{
			{Uploader, from, nil, Uploading}, {Uploader, from, ErrState, Uploading}, {0, 0, nil, WaitingUpload}, {Uploader, from, nil, Uploading},
		}},
		"upload of others": {true, []step{{Uploader, to, ErrUser, Over}, {Sender, from, ErrUser, Over}, {Downloader, to, ErrUser, Over}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			table, _ := table()
			task, err := table.New(from, to, "a", 1, c.offline, nil)
			if err != nil {
				t.Fatal(err)
			}
			for i, s := range c.steps {
				var state State
				var err error
				if s.role == 0 {
					state = task.Leave(time.Now())
				} else {
					state, err = task.Enter(s.role, s.user)
				}
				if state != s.then || !errors.Is(err, s.want) {
					t.Fatalf("step %d: %v, %v, want %v, %v", i, state, err, s.then, s.want)
				}
			}
		})
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	table, pass := table()
	released := 0
	add := func(from uint32) (*Task, error) { return table.New(from, 9, "a", 1, true, func() { released++ }) }
	first, err := add(1)
	if err != nil || !ValidID(first.ID) {
		t.Fatalf("%v, id %q", err, first.ID)
	}
	if found, err := table.Find(first.ID); found != first || err != nil {
		t.Errorf("found %v, %v", found, err)
	}
	if _, err := table.Find("x"); !errors.Is(err, ErrUnknown) {
		t.Errorf("an unknown id: %v", err)
	}
	_, _ = add(1)
	if _, err := add(1); !errors.Is(err, ErrLimit) {
		t.Errorf("over the limit of a user: %v", err)
	}
	_, _ = add(2)
	if _, err := add(3); !errors.Is(err, ErrLimit) {
		t.Errorf("over the limit of all: %v", err)
	}
	if _, err := first.Enter(Uploader, 1); err != nil {
		t.Fatal(err)
	}
	pass(2 * time.Minute)
	if over := table.Sweep(); len(over) != 2 || released != 2 || table.Len() != 1 {
		t.Errorf("%d over, %d released, %d left", len(over), released, table.Len())
	}
	table.Remove(first)
	table.Remove(first)
	if released != 3 || table.Len() != 0 {
		t.Errorf("%d released, %d left", released, table.Len())
	}
	if _, err := first.Enter(Uploader, 1); !errors.Is(err, ErrState) {
		t.Errorf("after the end: %v", err)
	}
}
