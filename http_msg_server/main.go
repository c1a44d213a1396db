// The http_msg_server: lets back ends manage accounts and groups and send
// messages over HTTP.
package main

import (
	"context"
	"os"

	"teamtalk/http_msg_server/httpserver"
	"teamtalk/internal/obs"
	"teamtalk/internal/rolemain"
)

func main() {
	os.Exit(rolemain.Main(rolemain.Role[httpserver.Config]{
		Name:       httpserver.Role,
		ConfigFile: httpserver.ConfigFile,
		Load:       httpserver.LoadConfig,
		New: func(_ context.Context, cfg httpserver.Config, o *obs.Obs) (rolemain.Runner, error) {
			s, err := httpserver.New(cfg, httpserver.Deps{
				Log: o.Log, Reg: o.Reg, Clock: o.Clock, Trace: o.Trace(cfg.TraceEvents, cfg.LinkSecret),
			})
			if err != nil {
				return nil, err
			}
			o.AddCheck("serving", s.Ready)
			return s, nil
		},
	}))
}
