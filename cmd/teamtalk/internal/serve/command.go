package serve

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"teamtalk/cmd/teamtalk/internal/admin"
	"teamtalk/cmd/teamtalk/internal/exit"
)

// defaultPort is where clients expect a msg_server.
const defaultPort = 8000

const help = `Serve runs a complete TeamTalk server in one process, without MySQL or Redis: all
data is in the data folder, safe against a crash of the process or the machine.

With the base port N, clients use N (msg_server) and N+80 (login_server over
HTTP), N+8 (over TCP). On loopback, N+100, N+200, N+2600 and N+3379 connect the
roles, and N+50, N+130, N+250 and N+2650 have /healthz, /readyz and /metrics.

The first start makes the demo accounts alice, bob and carol with the password
12345, unless --no-demo. They are for this machine: serve refuses to listen
beyond loopback while the demo password stands.

When clients are welcome, the last line printed is
  ready msg=IP:PORT login=URL`

// Command returns "serve".
func Command() *cobra.Command {
	cfg := Config{Program: filepath.Base(os.Args[0])}
	var (
		noDemo bool
		level  string
	)
	if strings.ContainsRune(os.Args[0], filepath.Separator) {
		cfg.Program = os.Args[0]
	}
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a complete server in this process",
		Long:  help,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cfg.LogLevel.UnmarshalText([]byte(level)); err != nil {
				return exit.Usagef("serve: --log-level is debug, info, warn or error")
			}
			cfg.Demo = !noDemo
			err := Run(cmd.Context(), cfg, cmd.OutOrStdout())
			if err != nil && exit.Code(err) == exit.Failed {
				return errors.New("serve: " + admin.Explain(err))
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&cfg.Data, "data", admin.DefaultData, "folder for everything that is stored")
	f.IntVar(&cfg.BasePort, "base-port", defaultPort, "port for clients; the others follow from it")
	f.StringVar(&cfg.Listen, "listen", loopback, "address for clients; 0.0.0.0 is every address of this machine")
	f.StringVar(&cfg.Advertise, "advertise", "",
		"IP address or host name told to clients; default: the address of --listen")
	f.BoolVar(&noDemo, "no-demo", false, "make no demo accounts")
	f.StringVar(&level, "log-level", "info", "least important line in the log: debug, info, warn, error")
	return cmd
}

// welcome prints how to log in and the line scripts wait for.
func welcome(out io.Writer, cfg Config, demo bool) error {
	var b strings.Builder
	fmt.Fprintf(&b, "TeamTalk is running. Data and log: %s\n", cfg.Data)
	chat := cfg.Program + " chat --user "
	where := ""
	if cfg.BasePort != defaultPort || cfg.Advertise != loopback {
		where = " --login " + cfg.loginURL()
	}
	if demo {
		fmt.Fprintf(&b, "\nThe accounts %s have the password %s. In two other terminals:\n\n",
			strings.Join(demoNames, ", "), demoPassword)
		fmt.Fprintf(&b, "  %s%s%s\n  %s%s%s\n\n", chat, demoNames[0], where, chat, demoNames[1], where)
	} else {
		fmt.Fprintf(&b, "\nTo chat, in another terminal:\n\n  %sNAME%s\n\n", chat, where)
	}
	fmt.Fprintf(&b, "Ctrl-C stops the server.\n")
	fmt.Fprintf(&b, "ready msg=%s login=%s\n", join(cfg.Advertise, cfg.BasePort), cfg.loginURL())
	_, err := io.WriteString(out, b.String())
	return err
}
