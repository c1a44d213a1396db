package cache

import (
	"maps"
	"testing"

	"teamtalk/db_proxy/internal/store"
	"teamtalk/internal/im"
)

func TestMembers(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		for _, members := range [][]store.Member{
			{{User: 1, Joined: 100}, {User: 2, Joined: 200}},
			{{User: 2, Joined: 200}, {User: 3, Joined: 300}},
			nil,
		} {
			if err := f.SetMembers(ctx, 9, members); err != nil {
				t.Fatal(err)
			}
			if n := f.raw.HLen(ctx, "group_member_9").Val(); int(n) != len(members) {
				t.Errorf("%d members, want %d", n, len(members))
			}
		}
		_ = f.SetMembers(ctx, 9, []store.Member{{User: 1, Joined: 100}})
		if got := f.raw.HGet(ctx, "group_member_9", "1").Val(); got != "100" {
			t.Errorf("join time %q", got)
		}
		if err := f.DropMembers(ctx, 9); err != nil || f.raw.Exists(ctx, "group_member_9").Val() != 0 {
			t.Errorf("members are left: %v", err)
		}
	})
}

func TestShield(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, f *fixture) {
		for value, muted := range map[string]bool{"0": false, "1": true} {
			if err := f.SetShield(t.Context(), 9, 3, muted); err != nil {
				t.Fatal(err)
			}
			if got := f.raw.HGet(t.Context(), "group_set_9", "3_1").Val(); got != value {
				t.Errorf("shield is %q, want %q", got, value)
			}
		}
	})
}

func TestToken(t *testing.T) {
	t.Parallel()
	type call struct {
		user   im.UserID
		client im.ClientType
		token  string
	}
	for name, tt := range map[string]struct {
		calls []call
		want  map[string]string
	}{
		"new":           {[]call{{1, im.IOS, "aa"}}, map[string]string{"device_1": "ios:aa", "device_aa": "1"}},
		"replaced":      {[]call{{1, im.IOS, "aa"}, {1, im.Android, "bb"}}, map[string]string{"device_1": "android:bb", "device_bb": "1"}},
		"again":         {[]call{{1, im.IOS, "aa"}, {1, im.IOS, "aa"}}, map[string]string{"device_1": "ios:aa", "device_aa": "1"}},
		"phone passed":  {[]call{{1, im.IOS, "aa"}, {2, im.IOS, "aa"}}, map[string]string{"device_2": "ios:aa", "device_aa": "2"}},
		"switched off":  {[]call{{1, im.IOS, "aa"}, {1, 0, ""}}, map[string]string{}},
		"never on":      {[]call{{1, 0, ""}}, map[string]string{}},
		"PC":            {[]call{{1, im.Windows, "aa"}}, map[string]string{}},
		"like a user":   {[]call{{1, im.IOS, "2"}, {2, im.IOS, "aa"}}, map[string]string{"device_2": "ios:aa", "device_aa": "2"}},
		"with a colon":  {[]call{{1, im.IOS, "a:b"}, {1, im.IOS, "cc"}}, map[string]string{"device_1": "ios:cc", "device_cc": "1"}},
		"back and over": {[]call{{1, im.IOS, "aa"}, {2, im.IOS, "aa"}, {1, im.IOS, "bb"}}, map[string]string{"device_1": "ios:bb", "device_bb": "1", "device_2": "ios:aa", "device_aa": "2"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			both(t, func(t *testing.T, f *fixture) {
				ctx := t.Context()
				for _, c := range tt.calls {
					if err := f.SetToken(ctx, c.user, c.client, c.token); err != nil {
						t.Fatal(err)
					}
				}
				got := map[string]string{}
				for _, key := range f.raw.Keys(ctx, "*").Val() {
					got[key] = f.raw.Get(ctx, key).Val()
				}
				if !maps.Equal(got, tt.want) {
					t.Errorf("got %v, want %v", got, tt.want)
				}
			})
		})
	}
}
