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
	"teamtalk/internal/rolemain"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run executes a command line and returns its exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	started := false
	root := &cobra.Command{
		Use:           "teamtalk",
		Short:         "TeamTalk, an instant-messaging server in one program",
		Version:       rolemain.Version(),
		SilenceErrors: true,
		SilenceUsage:  true,
		// Everything before is about the arguments.
		PersistentPreRun: func(*cobra.Command, []string) { started = true },
	}
	root.SetVersionTemplate("teamtalk {{.Version}}\n")
	root.AddCommand(
		serve.Command(), chat.Command(),
		files.SendCommand(), files.GetCommand(), files.CollectCommand(),
		admin.UserCommand(), admin.GroupCommand(), admin.TraceCommand(), admin.RecountCommand(), admin.APIKeyCommand(),
		bench.Command(), migrate.Command(), version(),
	)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	_, _ = fmt.Fprintln(stderr, "teamtalk:", err)
	if code := exit.Code(err); started || code != exit.Failed {
		return code
	}
	return exit.Usage
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
