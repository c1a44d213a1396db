package admin

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"teamtalk/cmd/teamtalk/internal/exit"
	"teamtalk/cmd/teamtalk/internal/timeline"
	"teamtalk/db_proxy/dbproxy"
	"teamtalk/internal/config"
	"teamtalk/internal/im"
	"teamtalk/internal/trace"
)

// AddrsFile is the name of the file with the addresses of running servers, one
// NAME=HOST:PORT a line; that of a health port has NAME.http. A cluster and
// "teamtalk serve" write it.
const AddrsFile = "addrs"

// Patience with the database and with each role.
const (
	databasePatience = 5 * time.Second
	searchPatience   = time.Minute // when it looks through all conversations
	rolePatience     = 3 * time.Second
)

// traceFlags are the flags of "trace".
type traceFlags struct {
	at     target
	addrs  string
	roles  []string
	asJSON bool
	whose  whose
}

// whose says which message of a client_msg_id is meant.
type whose struct{ from, to, group string }

// complete adds it to what was asked for.
func (w whose) complete(ref *dbproxy.MessageRef) error {
	switch {
	case w == whose{}:
		return nil
	case ref.Kind != "client":
		return exit.Usagef("trace: --from, --to and --group go with client:ID")
	case w.to != "" && (w.from == "" || w.group != ""):
		return exit.Usagef("trace: name the conversation by --from and --to, or by --group")
	}
	ref.A, ref.B, ref.Group = w.from, w.to, w.group
	return nil
}

// TraceCommand returns "trace".
func TraceCommand() *cobra.Command {
	var flags traceFlags
	cmd := &cobra.Command{
		Use:   "trace single:A-B:ID | group:G:ID | client:ID",
		Short: "Show what became of one message",
		Long: `Trace shows the way of one message through all servers: received, committed,
acknowledged, relayed, delivered to which terminals, confirmed by which, read. A, B
and G are names or numbers; ID is the number of the message in its conversation, or
the client_msg_id that its sender gave it. A sender may use one client_msg_id in
several conversations: --from and --to, or --group, say which message is meant.
Without them all conversations are searched, and listed if there are several.

Each server remembers its last events in memory (TraceEvents in its configuration);
the rest comes from the database. What no server remembers any more is called
unknown.

--data is the folder of a running "teamtalk serve". With --config, the addresses of
the servers' health ports are read from a file with lines NAME.http=HOST:PORT, such
as msg_server_1.http=10.0.0.5:8050: --addrs, or the file "addrs" beside the
configuration or one folder up, where "build.sh cluster" keeps it. --role adds one.
Servers on other machines answer to those who know their LinkSecret, which is taken
from the configuration.

The exit code is 1 if nothing at all is known of the message.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ref, err := parseMessage(args[0])
			if err == nil {
				err = flags.whose.complete(&ref)
			}
			if err != nil {
				return err
			}
			if flags.at.config != "" && cmd.Flags().Changed("data") {
				return exit.Usagef("--data and --config exclude each other")
			}
			t, err := flags.trace(cmd.Context(), ref)
			if err == nil && flags.asJSON {
				err = printJSON(cmd.OutOrStdout(), t)
			} else if err == nil {
				err = t.Print(cmd.OutOrStdout())
			}
			if err != nil {
				if exit.Code(err) == exit.Failed {
					return exit.CannotRunErr(errors.New("trace: " + Explain(err)))
				}
				return err
			}
			if !t.Found() {
				return errors.New("nothing is known of this message")
			}
			return nil
		},
	}
	flags.at.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&flags.addrs, "addrs", "", "file with the addresses of the servers' health ports")
	f.StringArrayVar(&flags.roles, "role", nil, "NAME=HOST:PORT of one more health port: msg_server_3=10.0.0.7:8050")
	f.StringVar(&flags.whose.from, "from", "", "with client:ID, who sent it: a name or number")
	f.StringVar(&flags.whose.to, "to", "", "with client:ID and --from, the user it was sent to")
	f.StringVar(&flags.whose.group, "group", "", "with client:ID, the group it was sent to")
	f.BoolVar(&flags.asJSON, "json", false, "print JSON")
	return cmd
}

// trace asks the database and then every role.
func (f *traceFlags) trace(ctx context.Context, ref dbproxy.MessageRef) (*timeline.Timeline, error) {
	roles, secret, err := f.servers()
	if err != nil {
		return nil, err
	}
	facts, dbErr := f.facts(ctx, ref)
	query, err := queryOf(ref, &facts, dbErr)
	if err != nil {
		return nil, err
	}
	if dbErr != nil {
		dbErr = errors.New(Explain(dbErr))
	}
	return timeline.Build(facts, dbErr, askAll(ctx, roles, query, secret)), nil
}

// facts asks the database.
func (f *traceFlags) facts(ctx context.Context, ref dbproxy.MessageRef) (facts dbproxy.MessageFacts, err error) {
	patience := databasePatience
	if ref.Kind == "client" {
		patience = searchPatience
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	b, closeBackend, err := f.at.open(ctx, false)
	if err != nil {
		return facts, err
	}
	facts, err = b.Message(ctx, ref)
	return facts, errors.Join(err, closeBackend())
}

// queryOf is what the roles are asked. Without the database a message can be
// named by numbers, or by its client's id.
func queryOf(ref dbproxy.MessageRef, facts *dbproxy.MessageFacts, dbErr error) (q trace.Query, err error) {
	code := im.CodeOf(dbErr)
	if dbErr != nil && (code == im.NotFound || code == im.Invalid || exit.Code(dbErr) == exit.Usage) {
		return q, dbErr
	}
	if dbErr != nil {
		*facts = dbproxy.MessageFacts{ID: ref.ID, Conversation: ref.Kind + ":" + ref.Group}
		if ref.Kind == "single" {
			facts.Conversation = fmt.Sprintf("single:%s-%s", ref.A, ref.B)
		}
	}
	if ref.Kind == "client" {
		if dbErr != nil {
			*facts = dbproxy.MessageFacts{}
		}
		if facts.OperationID == "" {
			q.Client = ref.ClientID
		}
	}
	if facts.OperationID != "" {
		if q.Op, err = trace.ParseOperation(facts.OperationID); err != nil {
			return q, err
		}
	}
	if facts.Conversation == "" {
		return q, nil
	}
	q.Msg = im.MsgID(facts.ID)
	if q.Conv, err = trace.ParseConversation(facts.Conversation); err != nil && dbErr != nil {
		err = fmt.Errorf("names cannot be looked up, use numbers: %w", dbErr)
	}
	return q, err
}

// server is the health port of a role.
type server struct{ name, addr string }

// askAll asks all roles at the same time. A role that keeps no events, and is
// none that messages pass, is left out.
func askAll(ctx context.Context, servers []server, q trace.Query, secret []byte) []timeline.Source {
	ctx, cancel := context.WithTimeout(ctx, rolePatience)
	defer cancel()
	all := make([]timeline.Source, len(servers))
	var asking sync.WaitGroup
	for i, s := range servers {
		asking.Go(func() {
			answer, err := trace.Ask(ctx, s.addr, q, secret)
			all[i] = timeline.Source{Name: s.name, Answer: answer, Err: err}
		})
	}
	asking.Wait()
	kept := all[:0]
	for _, s := range all {
		if im.CodeOf(s.Err) == im.NotFound && s.Err != nil && !passes(s.Name) {
			continue
		}
		kept = append(kept, s)
	}
	return kept
}

// passes reports whether messages pass a role of that name.
func passes(name string) bool {
	for _, role := range []string{"msg_server", "http_msg_server", "route_server", "db_proxy"} {
		if strings.HasPrefix(name, role) {
			return true
		}
	}
	return false
}

// servers finds the health ports, and the secret to ask them with.
func (f *traceFlags) servers() (all []server, secret []byte, err error) {
	file := f.addrs
	guesses := []string{filepath.Join(f.at.data, AddrsFile)}
	if f.at.config != "" {
		cfg, err := dbproxy.LoadConfig(f.at.config, config.Lenient(true))
		if err != nil {
			return nil, nil, exit.Usagef("%w", err)
		}
		secret = []byte(cfg.LinkSecret.Reveal())
		folder := filepath.Dir(f.at.config)
		guesses = []string{filepath.Join(folder, AddrsFile), filepath.Join(folder, "..", AddrsFile)}
		all = append(all, server{"db_proxy", cfg.HealthListen})
	}
	for _, guess := range guesses {
		if _, err := os.Stat(guess); file == "" && err == nil {
			file = guess
		}
	}
	if len(f.roles) > 0 {
		all = nil
	}
	if file != "" {
		if all, err = readAddrs(file); err != nil {
			return nil, nil, err
		}
	}
	for _, role := range f.roles {
		name, addr, ok := strings.Cut(role, "=")
		if !ok || name == "" || addr == "" {
			return nil, nil, exit.Usagef("trace: --role takes NAME=HOST:PORT, not %q", role)
		}
		all = append(all, server{name, addr})
	}
	return all, secret, nil
}

// readAddrs reads the health ports of a file of addresses.
func readAddrs(path string) (all []server, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, exit.Usagef("trace: %w", err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		key, addr, _ := strings.Cut(strings.TrimSpace(lines.Text()), "=")
		if name, ok := strings.CutSuffix(key, ".http"); ok {
			all = append(all, server{name, addr})
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if len(all) == 0 {
		return nil, exit.Usagef("trace: %s has no line NAME.http=HOST:PORT", path)
	}
	return all, nil
}

// parseMessage reads what "trace" is given.
func parseMessage(arg string) (ref dbproxy.MessageRef, err error) {
	bad := exit.Usagef("trace: %q is none of single:A-B:ID, group:G:ID, client:ID", arg)
	kind, rest, _ := strings.Cut(arg, ":")
	ref.Kind = kind
	if kind == "client" {
		if ref.ClientID = rest; rest == "" {
			return ref, bad
		}
		return ref, nil
	}
	colon := strings.LastIndexByte(rest, ':')
	if colon <= 0 {
		return ref, bad
	}
	id, err := strconv.ParseUint(rest[colon+1:], 10, 32)
	if err != nil || id == 0 || id > uint64(im.MaxMsgID) {
		return ref, bad
	}
	ref.ID = uint32(id)
	names := rest[:colon]
	switch kind {
	case "group":
		ref.Group = names
		return ref, nil
	case "single":
		ref.A, ref.B, _ = strings.Cut(names, "-")
		if strings.Contains(ref.B, "-") {
			return ref, exit.Usagef("trace: a name in %q has a -: use the number of that user (teamtalk user list)", names)
		}
		if ref.A != "" && ref.B != "" {
			return ref, nil
		}
	}
	return ref, bad
}
