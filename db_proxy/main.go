// Command db_proxy stores and reads for the msg_servers.
package main

import (
	"context"
	"os"

	"teamtalk/db_proxy/dbproxy"
	"teamtalk/internal/obs"
	"teamtalk/internal/rolemain"
)

func main() {
	os.Exit(rolemain.Main(rolemain.Role[dbproxy.Config]{
		Name:       "db_proxy",
		ConfigFile: dbproxy.ConfigFile,
		Load:       dbproxy.LoadConfig,
		New:        open,
	}))
}

func open(ctx context.Context, cfg dbproxy.Config, o *obs.Obs) (rolemain.Runner, error) {
	s, err := dbproxy.New(ctx, cfg, dbproxy.Deps{
		Log: o.Log, Reg: o.Reg, Clock: o.Clock, Trace: o.Trace(cfg.TraceEvents, cfg.LinkSecret),
	})
	if err != nil {
		return nil, err
	}
	o.AddCheck("db_proxy", s.Ready)
	return s, nil
}
