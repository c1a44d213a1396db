// The login_server: tells clients which msg_server to connect to.
package main

import (
	"context"
	"os"

	"teamtalk/internal/obs"
	"teamtalk/internal/rolemain"
	"teamtalk/login_server/loginserver"
)

func main() {
	os.Exit(rolemain.Main(rolemain.Role[loginserver.Config]{
		Name:       loginserver.Role,
		ConfigFile: loginserver.ConfigFile,
		Load:       loginserver.LoadConfig,
		New: func(_ context.Context, cfg loginserver.Config, o *obs.Obs) (rolemain.Runner, error) {
			s, err := loginserver.New(cfg, loginserver.Deps{Log: o.Log, Reg: o.Reg, Clock: o.Clock})
			if err != nil {
				return nil, err
			}
			o.AddCheck("listening", s.Ready)
			return s, nil
		},
	}))
}
