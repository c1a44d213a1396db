// Command msg_server holds the connections of the clients.
package main

import (
	"context"
	"os"

	"teamtalk/internal/obs"
	"teamtalk/internal/rolemain"
	"teamtalk/msg_server/msgserver"
)

func main() {
	os.Exit(rolemain.Main(rolemain.Role[msgserver.Config]{
		Name:       "msg_server",
		ConfigFile: msgserver.ConfigFile,
		Load:       msgserver.LoadConfig,
		New:        open,
	}))
}

func open(_ context.Context, cfg msgserver.Config, o *obs.Obs) (rolemain.Runner, error) {
	s, err := msgserver.New(cfg, msgserver.Deps{
		Log: o.Log, Reg: o.Reg, Clock: o.Clock, Trace: o.Trace(cfg.TraceEvents, cfg.LinkSecret),
	})
	if err != nil {
		return nil, err
	}
	o.AddCheck("msg_server", s.Ready)
	return s, nil
}
