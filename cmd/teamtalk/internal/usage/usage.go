// Package usage gives every command of a tree the same manners: what is wrong
// with a command line is said in the user's language and ends with exit.Usage,
// and --version is understood everywhere.
package usage

import (
	"errors"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"teamtalk/cmd/teamtalk/internal/exit"
	"teamtalk/cmd/teamtalk/internal/words"
	"teamtalk/internal/nearest"
)

// Check applies the rules to a command and all below it. It is called once,
// when the tree is complete.
func Check(root *cobra.Command) {
	root.SetHelpCommand(help(root))
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	each(root, func(cmd *cobra.Command) {
		cmd.Version = root.Version
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		cmd.SetFlagErrorFunc(flagError)
		if !cmd.Runnable() {
			cmd.RunE = func(cmd *cobra.Command, _ []string) error {
				return exit.Bad(words.SayWhat, cmd.Name(), cmd.CommandPath())
			}
			cmd.Args = cobra.NoArgs
		}
		cmd.Args = arguments(cmd, cmd.Args)
		checkGroups(cmd)
	})
}

// each calls do for a command and all below it.
func each(cmd *cobra.Command, do func(*cobra.Command)) {
	do(cmd)
	for _, below := range cmd.Commands() {
		each(below, do)
	}
}

// arguments wraps the check of a command's arguments; nil allows none.
func arguments(cmd *cobra.Command, check cobra.PositionalArgs) cobra.PositionalArgs {
	if check == nil {
		check = cobra.NoArgs
	}
	return func(_ *cobra.Command, args []string) error {
		if check(cmd, args) == nil {
			return nil
		}
		if len(args) == 0 || !cmd.HasAvailableSubCommands() {
			return exit.Bad(words.BadArguments, cmd.CommandPath(), cmd.UseLine())
		}
		var names []string
		for _, c := range cmd.Commands() {
			names = append(names, c.Name())
		}
		if meant := nearest.Of(args[0], names); meant != "" {
			return exit.Bad(words.UnknownCommandMeant, args[0], cmd.CommandPath(), meant)
		}
		return exit.Bad(words.UnknownCommand, args[0], cmd.CommandPath())
	}
}

// checkGroups gives the flags that exclude each other, or are required, our
// exit code: they are looked at after the arguments.
func checkGroups(cmd *cobra.Command) {
	before := cmd.PreRunE
	cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
		err := errors.Join(cmd.ValidateRequiredFlags(), cmd.ValidateFlagGroups())
		if err == nil && before != nil {
			return before(cmd, args)
		}
		return exit.UsageErr(err)
	}
}

// flagError says what is wrong with a flag.
func flagError(cmd *cobra.Command, err error) error {
	path := cmd.CommandPath()
	if none, ok := errors.AsType[*pflag.NotExistError](err); ok {
		return unknownFlag(cmd, none)
	}
	if missing, ok := errors.AsType[*pflag.ValueRequiredError](err); ok {
		return exit.Bad(words.FlagNeedsValue, "--"+missing.GetSpecifiedName(), path)
	}
	if bad, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		return exit.Bad(words.BadFlagValue, "--"+bad.GetFlag().Name, bad.GetValue(), path)
	}
	return exit.UsageErr(err)
}

// unknownFlag names the flag that was meant, if it is near.
func unknownFlag(cmd *cobra.Command, err *pflag.NotExistError) error {
	if err.GetSpecifiedShortnames() != "" {
		return exit.Bad(words.UnknownFlag, "-"+err.GetSpecifiedName(), cmd.CommandPath())
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	if meant := nearest.Of(err.GetSpecifiedName(), names); meant != "" {
		return exit.Bad(words.UnknownFlagMeant, "--"+err.GetSpecifiedName(), "--"+meant)
	}
	return exit.Bad(words.UnknownFlag, "--"+err.GetSpecifiedName(), cmd.CommandPath())
}

// help returns "help", which refuses topics that are no commands.
func help(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Help about any command",
		Args: func(_ *cobra.Command, args []string) error {
			_, rest, err := root.Find(args)
			return errors.Join(err, cobra.NoArgs(root, rest))
		},
		RunE: func(_ *cobra.Command, args []string) error {
			about, _, err := root.Find(args)
			if err != nil {
				return err
			}
			about.InitDefaultHelpFlag()
			return about.Help()
		},
	}
}
