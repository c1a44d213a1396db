package files

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"teamtalk/client"
	"teamtalk/client/transfer"
	"teamtalk/cmd/teamtalk/internal/exit"
	"teamtalk/cmd/teamtalk/internal/password"
	"teamtalk/cmd/teamtalk/internal/words"
)

// defaultLogin is where "teamtalk serve" answers.
const defaultLogin = "http://127.0.0.1:8080/msg_server"

const about = `

Ctrl-Z pauses, and fg goes on; after Ctrl-C, a lost network or a restart of
either side, repeat the command: it goes on where it stood. The content is
compared by SHA-256 at the end.

The password is read from --password-file, from the environment variable
TEAMTALK_PASSWORD, or asked on the terminal. The log-in takes the place of
another one of the same user on a PC.
`

// flags are those of both commands.
type flags struct {
	options      client.Options
	passwordFile string
	user, group  string
	quiet        bool
	wait         bool // send only
}

func (f *flags) add(cmd *cobra.Command, user string) {
	set := cmd.Flags()
	set.StringVar(&f.options.User, "user", "", "log-in name")
	set.StringVar(&f.passwordFile, "password-file", "", "file whose first line is the password; - is standard input")
	set.StringVar(&f.options.LoginURL, "login", defaultLogin, "URL of the login_server")
	set.StringVar(&f.options.Addr, "addr", "", "address of a msg_server, instead of --login")
	set.StringVar(&f.user, user, "", "name or id of the other user")
	set.StringVar(&f.group, "group", "", "name or id of a group, instead")
	set.BoolVar(&f.quiet, "quiet", false, "no progress bar")
}

// CheckServer refuses what cannot name a server.
func CheckServer(loginURL, addr string) error {
	if addr != "" {
		if host, port, err := net.SplitHostPort(addr); err != nil || host == "" || port == "" {
			return exit.Bad(words.BadAddr, addr)
		}
		return nil
	}
	if !strings.Contains(loginURL, "://") {
		loginURL = "http://" + loginURL
	}
	u, err := url.Parse(loginURL)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
		return exit.Bad(words.BadLogin, loginURL)
	}
	return nil
}

// open logs in and finds the conversation.
func (f *flags) open(cmd *cobra.Command, peer string) (*line, Conversation, error) {
	switch {
	case f.options.User == "":
		return nil, Conversation{}, exit.Bad(words.UserMissing, cmd.Name())
	case (f.user == "") == (f.group == ""):
		return nil, Conversation{}, exit.Bad(words.EitherPeer, cmd.Name(), peer)
	}
	err := CheckServer(f.options.LoginURL, f.options.Addr)
	if err != nil {
		return nil, Conversation{}, err
	}
	f.options.Password, err = password.Read(password.Source{
		File: f.passwordFile, Env: "TEAMTALK_PASSWORD",
		Prompt: words.Of(cmd.Context()).Say(words.PasswordFor, f.options.User),
		Stdin:  os.Stdin, Stderr: cmd.ErrOrStderr(),
	})
	if err != nil {
		return nil, Conversation{}, err
	}
	l := newLine(f.options)
	c, err := l.connect(cmd.Context())
	if err != nil {
		return nil, Conversation{}, err
	}
	conv, err := find(cmd.Context(), c, f.user, f.group)
	if err != nil {
		l.close()
		return nil, Conversation{}, err
	}
	return l, conv, nil
}

// SendCommand returns "send".
func SendCommand() *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use:   "send FILE --user NAME --to USER|--group GROUP",
		Short: "Send a file to a user or a group",
		Long:  "Send sends a file, of any size. Its message is sent once all of it has arrived." + about,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return send(cmd, &f, args[0])
		},
	}
	f.add(cmd, "to")
	cmd.Flags().BoolVar(&f.wait, "wait", false, "stay until the receiver has fetched it, and show how far they are")
	return cmd
}

func send(cmd *cobra.Command, f *flags, path string) error {
	info, err := regular(path)
	if err != nil {
		return err
	}
	if f.wait && f.group != "" {
		return exit.Bad(words.WaitForGroup)
	}
	l, conv, err := f.open(cmd, "to")
	if err != nil {
		return err
	}
	defer l.close()
	bar := newBar(cmd.ErrOrStderr(), f.quiet, filepath.Base(path))
	sent, err := Send(cmd.Context(), f.options.User, conv, path,
		transfer.Options{Access: l.access(conv, false), Progress: bar.set})
	bar.end(err)
	if err != nil {
		return stopped(err)
	}
	_, _ = fmt.Fprintf(cmd.OutOrStdout(), "sent\t%s\t%d\t%s\t%d\n", sent.ID, info.Size(), sent.Sum, sent.Msg)
	if !f.wait {
		return nil
	}
	bar = newBar(cmd.ErrOrStderr(), f.quiet, f.user+" fetches "+filepath.Base(path))
	err = l.fetched(cmd.Context(), sent.ID, bar.set)
	bar.end(err)
	if errors.Is(err, context.Canceled) {
		return words.Errorf(words.NotFetchedYet, filepath.Base(path), f.user)
	}
	if err == nil {
		_, _ = fmt.Fprintf(cmd.OutOrStdout(), "fetched\t%s\n", sent.ID)
	}
	return err
}

// GetCommand returns "get".
func GetCommand() *cobra.Command {
	var f flags
	var out string
	cmd := &cobra.Command{
		Use:   "get [ID|NAME] --user NAME --from USER|--group GROUP [--out PATH]",
		Short: "Fetch a file from a user or a group",
		Long: "Get fetches a file of a conversation; without an id or a name, the last one among its newest hundred " +
			"messages. Nothing is overwritten." + about,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			what := ""
			if len(args) > 0 {
				what = args[0]
			}
			return get(cmd, &f, what, out)
		},
	}
	f.add(cmd, "from")
	cmd.Flags().StringVar(&out, "out", ".", "file or folder to write to")
	return cmd
}

func get(cmd *cobra.Command, f *flags, what, out string) error {
	l, conv, err := f.open(cmd, "from")
	if err != nil {
		return err
	}
	defer l.close()
	id, err := l.find(cmd.Context(), conv, what)
	if err != nil {
		return err
	}
	bar := newBar(cmd.ErrOrStderr(), f.quiet, id)
	coming := newBar(cmd.ErrOrStderr(), f.quiet, "waiting for the sender")
	named := func(name string) {
		coming.end(nil)
		bar.call(name)
	}
	path, err := transfer.Fetch(cmd.Context(), transfer.Download{ID: id, Path: out, Named: named, Coming: coming.set},
		transfer.Options{Access: l.access(conv, true), Progress: bar.set})
	bar.end(err)
	if err != nil {
		return stopped(err)
	}
	_, _ = fmt.Fprintf(cmd.OutOrStdout(), "got\t%s\n", path)
	return nil
}

// stopped says what to do after an end that was asked for.
func stopped(err error) error {
	if errors.Is(err, context.Canceled) {
		return words.Errorf(words.Stopped)
	}
	return err
}

// patience is for answers of the msg_server.
const patience = 15 * time.Second
