// The push_server: notifies phones through Apple and Google.
package main

import (
	"context"
	"os"

	"teamtalk/internal/obs"
	"teamtalk/internal/rolemain"
	"teamtalk/push_server/pushserver"
)

func main() {
	os.Exit(rolemain.Main(rolemain.Role[pushserver.Config]{
		Name:       pushserver.Role,
		ConfigFile: pushserver.ConfigFile,
		Load:       pushserver.LoadConfig,
		New: func(_ context.Context, cfg pushserver.Config, o *obs.Obs) (rolemain.Runner, error) {
			s, err := pushserver.New(cfg, pushserver.Deps{Log: o.Log, Reg: o.Reg, Clock: o.Clock})
			if err != nil {
				return nil, err
			}
			o.AddCheck("listening", s.Ready)
			return s, nil
		},
	}))
}
