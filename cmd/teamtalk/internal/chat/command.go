package chat

import (
	"context"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"teamtalk/client"
	"teamtalk/cmd/teamtalk/internal/exit"
	"teamtalk/cmd/teamtalk/internal/files"
	"teamtalk/cmd/teamtalk/internal/password"
	"teamtalk/cmd/teamtalk/internal/words"
)

// defaultLogin is where "teamtalk serve" answers.
const defaultLogin = "http://127.0.0.1:8080/msg_server"

const chatHelp = `Chat opens a full-screen client in the terminal; F1 shows its keys.

The password is read from --password-file, from the environment variable
TEAMTALK_PASSWORD, or asked on the terminal.

`

// Command returns "chat".
func Command() *cobra.Command {
	var (
		o            client.Options
		passwordFile string
		plain        bool
	)
	cmd := &cobra.Command{
		Use:   "chat --user NAME",
		Short: "Chat in the terminal",
		Long:  chatHelp + plainHelp,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.User == "" {
				return exit.Bad(words.UserMissing, cmd.Name())
			}
			if err := files.CheckServer(o.LoginURL, o.Addr); err != nil {
				return err
			}
			if !plain && !onTerminal() {
				return exit.Bad(words.NoTerminal)
			}
			var err error
			o.Password, err = password.Read(password.Source{
				File: passwordFile, Env: "TEAMTALK_PASSWORD", Prompt: words.Of(cmd.Context()).Say(words.PasswordFor, o.User),
				Stdin: os.Stdin, Stderr: cmd.ErrOrStderr(),
			})
			if err != nil {
				return err
			}
			return run(cmd, o, plain)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.User, "user", "", "log-in name")
	f.StringVar(&passwordFile, "password-file", "", "file whose first line is the password; - is standard input")
	f.BoolVar(&plain, "plain", false, "lines instead of a full screen")
	f.StringVar(&o.LoginURL, "login", defaultLogin, "URL of the login_server")
	f.StringVar(&o.Addr, "addr", "", "address of a msg_server, instead of --login")
	return cmd
}

// run runs a view and the link beneath it until either ends.
func run(cmd *cobra.Command, o client.Options, plain bool) error {
	ctx, cancel := context.WithCancel(cmd.Context())
	defer cancel()
	link, err := NewLink(client.SessionOptions{Options: o})
	if err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = link.Run(ctx) // the view is told
	}()
	if plain {
		err = RunPlain(ctx, link, cmd.InOrStdin(), cmd.OutOrStdout())
	} else {
		err = RunScreen(ctx, link, o.User)
	}
	cancel()
	<-ended
	return err
}

// onTerminal reports whether there is a terminal to draw on and to read keys
// from.
func onTerminal() bool {
	if !term.IsTerminal(int(os.Stdout.Fd())) {
		return false
	}
	if term.IsTerminal(int(os.Stdin.Fd())) {
		return true
	}
	keys, err := os.Open("/dev/tty") // where the screen reads if standard input is something else
	if err != nil {
		return false
	}
	return keys.Close() == nil
}
