// The route_server: presence of all users, and relays between msg_servers.
package main

import (
	"context"
	"os"

	"teamtalk/internal/obs"
	"teamtalk/internal/rolemain"
	"teamtalk/route_server/routeserver"
)

func main() {
	os.Exit(rolemain.Main(rolemain.Role[routeserver.Config]{
		Name:       routeserver.Role,
		ConfigFile: routeserver.ConfigFile,
		Load:       routeserver.LoadConfig,
		New: func(_ context.Context, cfg routeserver.Config, o *obs.Obs) (rolemain.Runner, error) {
			s, err := routeserver.New(cfg, routeserver.Deps{
				Log: o.Log, Reg: o.Reg, Clock: o.Clock, Trace: o.Trace(cfg.TraceEvents, cfg.LinkSecret),
			})
			if err != nil {
				return nil, err
			}
			o.AddCheck("listening", s.Ready)
			return s, nil
		},
	}))
}
