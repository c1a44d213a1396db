// Command teamtalk is everything a person runs: all servers in one process
// (serve), the terminal client (chat), accounts and groups (user, group), looks
// into a running system (trace, recount) and the load generator (bench).
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"teamtalk/cmd/teamtalk/internal/admin"
	"teamtalk/cmd/teamtalk/internal/bench"
	"teamtalk/cmd/teamtalk/internal/chat"
	"teamtalk/cmd/teamtalk/internal/exit"
	"teamtalk/cmd/teamtalk/internal/files"
	"teamtalk/cmd/teamtalk/internal/migrate"
	"teamtalk/cmd/teamtalk/internal/serve"
	"teamtalk/cmd/teamtalk/internal/usage"
	"teamtalk/cmd/teamtalk/internal/words"
	"teamtalk/internal/rolemain"
)

func main() {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // else it is to outlive its terminal, as nohup wants
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	ctx = words.With(ctx, words.FromEnv(os.Getenv))
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run executes a command line and returns its exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := root()
	usage.Check(root)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err != nil && !exit.WasTold(err) {
		_, _ = fmt.Fprintln(stderr, "teamtalk:", words.Of(ctx).Explain(err))
	}
	return exit.Code(err)
}

// root returns "teamtalk" with all its commands.
func root() *cobra.Command {
	root := &cobra.Command{
		Use:           "teamtalk",
		Short:         "TeamTalk, an instant-messaging server in one program",
		Version:       rolemain.Version(),
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		Args:          cobra.NoArgs,
	}
	root.SetVersionTemplate("teamtalk {{.Version}}\n")
	root.AddCommand(
		serve.Command(), chat.Command(),
		files.SendCommand(), files.GetCommand(), files.CollectCommand(),
		admin.UserCommand(), admin.GroupCommand(), admin.TraceCommand(), admin.RecountCommand(), admin.APIKeyCommand(),
		bench.Command(), migrate.Command(), version(),
	)
	return root
}

// version returns "version".
func version() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) {
			_, _ = fmt.Fprintln(cmd.OutOrStdout(), "teamtalk", rolemain.Version())
		},
	}
}
