package files

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"

	"github.com/spf13/cobra"

	"teamtalk/cmd/teamtalk/internal/exit"
	"teamtalk/file_server/fileserver"
	"teamtalk/internal/share"
)

// CollectCommand returns "collect".
func CollectCommand() *cobra.Command {
	var server string
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "collect [--server ADDR] [--dry-run]",
		Short: "Have a file_server remove what belongs to nobody",
		Long: `Collect has a running file_server look at once, and not at its next time, for
files whose time is over, contents that no file has and uploads that nobody goes
on with. With --dry-run it only counts them.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, _, err := net.SplitHostPort(server); err != nil {
				return exit.Usagef("collect: --server is no HOST:PORT: %s", server)
			}
			url := "http://" + server + fileserver.CollectPath
			if dryRun {
				url += "?dry-run=1"
			}
			req, err := http.NewRequestWithContext(cmd.Context(), http.MethodPost, url, http.NoBody)
			if err != nil {
				return err
			}
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				return fmt.Errorf("collect: %w", err)
			}
			defer res.Body.Close()
			if res.StatusCode != http.StatusOK {
				return fmt.Errorf("collect: %s is not the health port of a file_server: %s", server, res.Status)
			}
			var done fileserver.Collected
			if err := json.NewDecoder(res.Body).Decode(&done); err != nil {
				return fmt.Errorf("collect: %w", err)
			}
			what := "removed"
			if dryRun {
				what = "to be removed"
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: %s whose time is over, %s that no file has (%s), %s given up\n",
				what, count(done.Entries, "file"), count(done.Blobs, "content"), share.Bytes(uint64(done.Bytes)),
				count(done.Uploads, "upload"))
			return err
		},
	}
	cmd.Flags().StringVar(&server, "server", "127.0.0.1:8650", "health port of the file_server")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "only count")
	return cmd
}

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}
