// The file_server: moves files between clients, keeps them for those who are
// away, and serves images.
package main

import (
	"context"
	"os"

	"teamtalk/file_server/fileserver"
	"teamtalk/internal/obs"
	"teamtalk/internal/rolemain"
)

func main() {
	os.Exit(rolemain.Main(rolemain.Role[fileserver.Config]{
		Name:       fileserver.Role,
		ConfigFile: fileserver.ConfigFile,
		Load:       fileserver.LoadConfig,
		New: func(ctx context.Context, cfg fileserver.Config, o *obs.Obs) (rolemain.Runner, error) {
			s, err := fileserver.New(ctx, cfg, fileserver.Deps{Log: o.Log, Reg: o.Reg, Clock: o.Clock})
			if err != nil {
				return nil, err
			}
			o.Handle("POST "+fileserver.CollectPath, s.CollectHandler())
			o.AddCheck("listening", s.Ready)
			return s, nil
		},
	}))
}
