package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"teamtalk/cmd/teamtalk/internal/exit"
	"teamtalk/cmd/teamtalk/internal/password"
	"teamtalk/cmd/teamtalk/internal/words"
	"teamtalk/db_proxy/dbproxy"
	"teamtalk/internal/im"
)

// maxBulk bounds "user add --count".
const maxBulk = 1_000_000

// UserCommand returns "user".
func UserCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "user",
		Short: "Add, list and change accounts",
		Args:  cobra.NoArgs,
		RunE:  needsSubcommand,
	}
	cmd.AddCommand(userAdd(), userList(), userPassword(),
		userEnabled("disable", "Forbid an account to log in", false),
		userEnabled("enable", "Allow a disabled account to log in again", true))
	return cmd
}

// GroupCommand returns "group".
func GroupCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "group",
		Short: "Add groups",
		Args:  cobra.NoArgs,
		RunE:  needsSubcommand,
	}
	cmd.AddCommand(groupAdd())
	return cmd
}

// needsSubcommand complains about a command that does nothing by itself.
func needsSubcommand(cmd *cobra.Command, _ []string) error {
	return exit.Bad(words.SayWhat, cmd.Name(), cmd.CommandPath())
}

// flags adds the flags that say which accounts a command is about.
func (t *target) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&t.data, "data", DefaultData, `data folder of "teamtalk serve"`)
	f.StringVar(&t.config, "config", "", "dbproxyserver.conf of a db_proxy, instead of --data")
}

// with runs do on the backend of the target.
func (t *target) with(cmd *cobra.Command, create bool, do func(Backend) error) error {
	if t.config != "" && cmd.Flags().Changed("data") {
		return exit.Bad(words.DataOrConfig)
	}
	b, closeBackend, err := t.open(cmd.Context(), create)
	if err == nil {
		err = do(b)
		err = errors.Join(err, closeBackend())
	}
	if code := im.CodeOf(err); code == im.Invalid || code == im.TooLarge {
		return exit.UsageErr(err)
	}
	return err
}

// passwordSource is where a command gets a password from.
type passwordSource struct{ literal, file string }

func (s *passwordSource) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.literal, "password", "", "the password; others on this machine may see it")
	cmd.Flags().StringVar(&s.file, "password-file", "", "file whose first line is the password; - is standard input")
}

func (s *passwordSource) read(cmd *cobra.Command, whose string) (string, error) {
	return password.Read(password.Source{
		Literal: s.literal, File: s.file, Prompt: words.Of(cmd.Context()).Say(words.PasswordFor, whose),
		Stdin: os.Stdin, Stderr: cmd.ErrOrStderr(),
	})
}

// userAdd returns "user add".
func userAdd() *cobra.Command {
	var (
		at     target
		pw     passwordSource
		nick   string
		prefix string
		count  int
		from   int
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "add NAME | add --prefix u --count N",
		Short: "Add an account, or many",
		Long: "Add prints ID<TAB>NAME for each account. An account that is there already is left\n" +
			"alone, printed all the same, and makes the exit code 3.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			names, err := accountNames(args, prefix, from, count)
			if err != nil {
				return err
			}
			if nick != "" && len(args) == 0 {
				return exit.Bad(words.NickNeedsName)
			}
			if utf8.RuneCountInString(nick) > maxName {
				return exit.Bad(words.NickTooLong, cmd.Name(), nick, maxName)
			}
			secret, err := pw.read(cmd, names[0])
			if err != nil {
				return err
			}
			specs := make([]dbproxy.AccountSpec, len(names))
			for i, name := range names {
				specs[i] = dbproxy.AccountSpec{Name: name, Nick: nick, Password: secret}
			}
			return at.with(cmd, true, func(b Backend) error {
				made, err := b.AddUsers(cmd.Context(), specs)
				if err != nil {
					return err
				}
				return printAdded(cmd.OutOrStdout(), made, asJSON)
			})
		},
	}
	at.flags(cmd)
	pw.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&nick, "nick", "", "name to show; default: NAME")
	f.StringVar(&prefix, "prefix", "", "add PREFIX1, PREFIX2 and so on")
	f.IntVar(&count, "count", 0, "how many, with --prefix")
	f.IntVar(&from, "from", 1, "number of the first, with --prefix")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// accountNames returns the names that a command line asks for.
func accountNames(args []string, prefix string, from, count int) ([]string, error) {
	switch {
	case len(args) == 1 && (prefix != "" || count != 0):
		return nil, exit.Bad(words.NameOrPrefix)
	case len(args) == 1:
		return args, checkName("user add", args[0], maxName)
	case prefix == "":
		return nil, exit.Bad(words.GiveName)
	case count < 1 || count > maxBulk || from < 0:
		return nil, exit.Bad(words.BadCount, maxBulk)
	}
	names := make([]string, count)
	for i := range names {
		names[i] = prefix + strconv.Itoa(from+i)
	}
	return names, checkName("user add", names[count-1], maxName) // the longest
}

// The longest names in characters.
const (
	maxName      = 32 // of an account, and a nick
	maxGroupName = 256
)

// checkName refuses a name that the database would not take.
func checkName(command, name string, limit int) error {
	switch {
	case strings.TrimSpace(name) == "":
		return exit.Bad(words.NameEmpty, command)
	case !utf8.ValidString(name):
		return exit.Bad(words.NotText, command, name)
	case name != strings.TrimSpace(name):
		return exit.Bad(words.NameBlanks, command, name)
	case utf8.RuneCountInString(name) > limit:
		return exit.Bad(words.NameTooLong, command, name, limit)
	}
	return nil
}

// printAdded prints accounts that were asked for.
func printAdded(out io.Writer, made []dbproxy.Account, asJSON bool) error {
	existed := 0
	for _, a := range made {
		if a.Existed {
			existed++
		}
	}
	var err error
	if asJSON {
		err = printJSON(out, views(made))
	} else {
		var text strings.Builder
		for _, a := range made {
			fmt.Fprintf(&text, "%d\t%s\n", a.ID, a.Name)
		}
		_, err = io.WriteString(out, text.String())
	}
	switch {
	case err != nil:
		return fmt.Errorf("print: %w", err)
	case existed == 1 && len(made) == 1:
		return exit.There(words.UserExists, made[0].Name)
	case existed > 0:
		return exit.There(words.UsersExist, existed, len(made))
	}
	return nil
}

// printJSON prints a value and a line break.
func printJSON(out io.Writer, v any) error {
	return json.NewEncoder(out).Encode(v)
}

// userList returns "user list".
func userList() *cobra.Command {
	var (
		at     target
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Print all accounts",
		Long:  "List prints ID, NAME, NICK and \"active\" or \"disabled\", separated by tabs.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return at.with(cmd, false, func(b Backend) error {
				all, err := b.ListUsers(cmd.Context())
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(cmd.OutOrStdout(), views(all))
				}
				var text strings.Builder
				for _, a := range all {
					fmt.Fprintf(&text, "%d\t%s\t%s\t%s\n", a.ID, a.Name, a.Nick, statusName(a.Status))
				}
				_, err = io.WriteString(cmd.OutOrStdout(), text.String())
				return err
			})
		},
	}
	at.flags(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// view is an account as --json prints it, in the words of the table and of the
// HTTP API.
type view struct {
	ID       uint32 `json:"id"`
	Name     string `json:"name"`
	Nick     string `json:"nick"`
	Status   string `json:"status"`
	Disabled bool   `json:"disabled"`
	Existed  bool   `json:"existed,omitempty"`
}

// views returns a list that is never null.
func views(accounts []dbproxy.Account) []view {
	all := make([]view, 0, len(accounts))
	for _, a := range accounts {
		all = append(all, view{a.ID, a.Name, a.Nick, statusName(a.Status), a.Status != dbproxy.StatusActive, a.Existed})
	}
	return all
}

// statusName returns the word for the status of an account.
func statusName(status uint8) string {
	if status == dbproxy.StatusActive {
		return "active"
	}
	return "disabled"
}

// userPassword returns "user passwd".
func userPassword() *cobra.Command {
	var (
		at target
		pw passwordSource
	)
	cmd := &cobra.Command{
		Use:   "passwd NAME",
		Short: "Set the password of an account",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			secret, err := pw.read(cmd, args[0])
			if err != nil {
				return err
			}
			return at.with(cmd, false, func(b Backend) error {
				return named(args[0], b.SetPassword(cmd.Context(), args[0], secret))
			})
		},
	}
	at.flags(cmd)
	pw.flags(cmd)
	return cmd
}

// named says of a missing account who is missing.
func named(name string, err error) error {
	if im.CodeOf(err) == im.NotFound {
		return words.Errorf(words.NoUser, name)
	}
	return err
}

// userEnabled returns "user enable" or "user disable".
func userEnabled(name, short string, enabled bool) *cobra.Command {
	var at target
	cmd := &cobra.Command{
		Use:   name + " NAME",
		Short: short,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return at.with(cmd, false, func(b Backend) error {
				return named(args[0], b.SetEnabled(cmd.Context(), args[0], enabled))
			})
		},
	}
	at.flags(cmd)
	return cmd
}

// groupAdd returns "group add".
func groupAdd() *cobra.Command {
	var (
		at     target
		spec   dbproxy.GroupSpec
		kind   string
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "add NAME --members a,b",
		Short: "Add a group of accounts",
		Long: "Add prints ID<TAB>NAME. A group of that name that is there already is left alone,\n" +
			"printed all the same, and makes the exit code 3.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if kind != "normal" && kind != "tmp" {
				return exit.Bad(words.GroupType)
			}
			spec.Name, spec.Normal = args[0], kind == "normal"
			if strings.TrimSpace(spec.Name) == "" || len(spec.Members) == 0 {
				return exit.Bad(words.GroupNeeds)
			}
			if err := checkName("group add", spec.Name, maxGroupName); err != nil {
				return err
			}
			return at.with(cmd, false, func(b Backend) error {
				id, existed, err := b.AddGroup(cmd.Context(), spec)
				if err != nil {
					return err
				}
				return printGroup(cmd.OutOrStdout(), id, spec.Name, existed, asJSON)
			})
		},
	}
	at.flags(cmd)
	f := cmd.Flags()
	f.StringSliceVar(&spec.Members, "members", nil, "names of the members, comma-separated")
	f.StringVar(&kind, "type", "normal", "normal: listed by every client; tmp: found by its messages")
	f.StringVar(&spec.Creator, "creator", "", "who may change the members; default: nobody")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// printGroup prints a group that was asked for.
func printGroup(out io.Writer, id uint32, name string, existed, asJSON bool) error {
	var err error
	if asJSON {
		err = printJSON(out, struct {
			ID      uint32 `json:"id"`
			Name    string `json:"name"`
			Existed bool   `json:"existed,omitempty"`
		}{id, name, existed})
	} else {
		_, err = fmt.Fprintf(out, "%d\t%s\n", id, name)
	}
	if err == nil && existed {
		return exit.There(words.GroupExists, name)
	}
	return err
}
