package admin

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"teamtalk/cmd/teamtalk/internal/exit"
	"teamtalk/db_proxy/dbproxy"
	"teamtalk/http_msg_server/httpserver"
	"teamtalk/internal/im"
)

// APIKeyCommand returns "apikey".
func APIKeyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "apikey",
		Short: "Add, list, revoke and rotate the keys of the HTTP API",
		Args:  cobra.NoArgs,
		RunE:  needsSubcommand,
	}
	cmd.AddCommand(apiKeyAdd(), apiKeyList(), apiKeyRevoke(), apiKeyRotate())
	return cmd
}

// apiKeyAdd returns "apikey add".
func apiKeyAdd() *cobra.Command {
	var (
		at     target
		spec   dbproxy.KeySpec
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "add NAME --scope SCOPE",
		Short: "Make a key",
		Long: "Add prints ID<TAB>TOKEN. The token is shown this once; only its hash is stored.\n" +
			"Scopes: " + strings.Join(httpserver.Scopes(), ", ") + ".",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			spec.Name = args[0]
			if err := checkScopes(spec.Scopes); err != nil {
				return err
			}
			return at.with(cmd, true, func(b Backend) error {
				k, err := b.AddAPIKey(cmd.Context(), spec)
				if err != nil {
					return err
				}
				return printToken(cmd.OutOrStdout(), k, asJSON)
			})
		},
	}
	at.flags(cmd)
	f := cmd.Flags()
	f.StringSliceVar(&spec.Scopes, "scope", nil, "what the key may do; several by comma, or all")
	f.Uint32Var(&spec.Rate, "rate", 100, "requests per second")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// checkScopes refuses a scope that means nothing, before anything is stored.
func checkScopes(scopes []string) error {
	known := append(httpserver.Scopes(), httpserver.ScopeAll)
	if len(scopes) == 0 {
		return exit.Usagef("apikey add: --scope is needed: %s", strings.Join(known, ", "))
	}
	for _, s := range scopes {
		if !slices.Contains(known, s) {
			return exit.Usagef("apikey add: there is no scope %q, but %s", s, strings.Join(known, ", "))
		}
	}
	return nil
}

func printToken(out io.Writer, k dbproxy.Key, asJSON bool) error {
	if asJSON {
		return printJSON(out, k)
	}
	_, err := fmt.Fprintf(out, "%s\t%s\n", k.ID, k.Token)
	return err
}

// apiKeyList returns "apikey list".
func apiKeyList() *cobra.Command {
	var (
		at     target
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Print all keys, without their tokens",
		Long:  `List prints ID, NAME, SCOPES, RATE and "active" or "revoked", separated by tabs.`,
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return at.with(cmd, false, func(b Backend) error {
				all, err := b.APIKeys(cmd.Context())
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(cmd.OutOrStdout(), slices.Concat([]dbproxy.Key{}, all)) // never null
				}
				var text strings.Builder
				for _, k := range all {
					state := "active"
					if k.Revoked {
						state = "revoked"
					}
					fmt.Fprintf(&text, "%s\t%s\t%s\t%d\t%s\n", k.ID, k.Name, strings.Join(k.Scopes, ","), k.Rate, state)
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

// apiKeyRevoke returns "apikey revoke".
func apiKeyRevoke() *cobra.Command {
	var at target
	cmd := &cobra.Command{
		Use:   "revoke ID",
		Short: "End a key; servers learn of it within five seconds",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return at.with(cmd, false, func(b Backend) error {
				return keyNamed(args[0], b.RevokeAPIKey(cmd.Context(), args[0]))
			})
		},
	}
	at.flags(cmd)
	return cmd
}

// apiKeyRotate returns "apikey rotate".
func apiKeyRotate() *cobra.Command {
	var (
		at     target
		grace  time.Duration
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "rotate ID",
		Short: "Make a new token for a key",
		Long:  "Rotate prints ID<TAB>TOKEN. The old token holds for --grace more.",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return at.with(cmd, false, func(b Backend) error {
				k, err := b.RotateAPIKey(cmd.Context(), args[0], grace)
				if err != nil {
					return keyNamed(args[0], err)
				}
				return printToken(cmd.OutOrStdout(), k, asJSON)
			})
		},
	}
	at.flags(cmd)
	f := cmd.Flags()
	f.DurationVar(&grace, "grace", time.Hour, "how long the old token still holds")
	f.BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// keyNamed says of a missing key which one is missing.
func keyNamed(id string, err error) error {
	if im.CodeOf(err) == im.NotFound {
		return fmt.Errorf("no active API key %q", id)
	}
	return err
}
