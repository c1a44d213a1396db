package admin

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"teamtalk/cmd/teamtalk/internal/exit"
	"teamtalk/db_proxy/dbproxy"
)

// RecountCommand returns "recount".
func RecountCommand() *cobra.Command {
	var (
		at            target
		spec          dbproxy.RecountSpec
		check, asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "recount --check | --repair | --new-epoch",
		Short: "Compare the unread counts in Redis with the read cursors",
		Long: `Recount compares the unread counts that Redis holds with what the read cursors in
the database say, while the servers run, and prints every difference: USER, the
conversation, what Redis says, what the messages say. What Redis does not hold is
none: it is counted when it is asked for.

--check exits with 1 if anything differs. --repair has what differs forgotten and
counted again, which disturbs nobody who is writing or reading, and exits with 1
only if something differs afterwards. 2 means that nothing could be compared.

--new-epoch is for a database that was restored, or replaced by a copy that lacks
messages: what the servers and Redis know of it is forgotten within a second, and
what is written from then on is delivered.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if ways(check, spec.Repair, spec.NewEpoch) != 1 {
				return exit.Usagef("recount: say --check, --repair or --new-epoch")
			}
			var report dbproxy.RecountReport
			err := at.with(cmd, false, func(b Backend) (err error) {
				report, err = b.Recount(cmd.Context(), spec)
				return err
			})
			if err == nil && asJSON {
				err = printJSON(cmd.OutOrStdout(), report)
			} else if err == nil {
				err = printRecount(cmd.OutOrStdout(), &report, spec.Repair)
			}
			if err != nil {
				return exit.CannotRunErr(err)
			}
			switch {
			case check && len(report.Differences) > 0:
				return errors.New("unread counts differ; recount --repair corrects them")
			case len(report.Left) > 0:
				return errors.New("unread counts differ again after the repair")
			}
			return nil
		},
	}
	at.flags(cmd)
	f := cmd.Flags()
	f.BoolVar(&check, "check", false, "only look; exit code 1 if anything differs")
	f.BoolVar(&spec.Repair, "repair", false, "correct what differs")
	f.BoolVar(&spec.NewEpoch, "new-epoch", false, "the database went back: forget what was known of it")
	f.StringVar(&spec.User, "user", "", "NAME of the only user to look at")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// ways counts the flags that are set.
func ways(flags ...bool) (n int) {
	for _, set := range flags {
		if set {
			n++
		}
	}
	return n
}

// printRecount prints what was found, and a line that sums it up.
func printRecount(out io.Writer, r *dbproxy.RecountReport, repaired bool) error {
	var b strings.Builder
	for _, d := range r.Differences {
		printDifference(&b, "", d)
	}
	for _, d := range r.Left {
		printDifference(&b, "still ", d)
	}
	switch {
	case r.Epoch != "":
		fmt.Fprintf(&b, "epoch %s begins\n", r.Epoch)
	case r.NoCache:
		b.WriteString("the server does not run, and its cache is inside it: nothing to compare\n")
	case len(r.Differences) == 0:
		fmt.Fprintf(&b, "%d unread counts of %d users compared: all right\n", r.Counts, r.Users)
	case !repaired:
		fmt.Fprintf(&b, "%d unread counts of %d users compared: %d differ\n", r.Counts, r.Users, len(r.Differences))
	default:
		fmt.Fprintf(&b, "%d unread counts of %d users compared: %d differed, %d repaired\n",
			r.Counts, r.Users, len(r.Differences), max(len(r.Differences)-len(r.Left), 0))
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func printDifference(b *strings.Builder, still string, d dbproxy.CountDifference) {
	cached := "no number"
	if d.Cached != nil {
		cached = strconv.FormatUint(uint64(*d.Cached), 10)
	}
	peer := fmt.Sprintf("%s %s (%d)", d.Kind, orUnknown(d.PeerName), d.Peer)
	if d.Peer == 0 {
		peer = "all single chats"
	}
	fmt.Fprintf(b, "%s%s (%d)\t%s\tredis %s\tmessages %d\n", still, orUnknown(d.Name), d.User, peer, cached, d.Counted)
}

// orUnknown stands for a name that does not exist.
func orUnknown(name string) string {
	if name == "" {
		return "?"
	}
	return name
}
