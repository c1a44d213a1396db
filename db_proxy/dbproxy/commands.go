package dbproxy

import (
	"fmt"
	"maps"
	"slices"

	"teamtalk/client/textcrypt"
	"teamtalk/db_proxy/internal/auth"
	"teamtalk/db_proxy/internal/command"
	"teamtalk/db_proxy/internal/voice"
	"teamtalk/internal/im"
	"teamtalk/internal/wire"
)

// table builds the one table of what db_proxy answers.
func (s *Server) table(deps Deps) error {
	var err error
	s.auth, err = auth.New(auth.Config{KeepLegacy: s.cfg.KeepLegacyPasswords, Hashers: s.cfg.HashWorkers}, auth.Deps{
		Users: s.store, Background: s.slow.Submit, Log: s.log, Clock: deps.Clock, Reg: deps.Reg,
	})
	if err != nil {
		return err
	}
	texts, err := textcrypt.New([]byte(s.cfg.AESKey.Reveal()))
	if err != nil {
		return fmt.Errorf("aesKey: %w", err)
	}
	sounds := voice.New(s.cfg.MsfsSite, s.store, s.log)
	rows := command.Operations(command.OperationDeps{
		Store: s.store, Groups: s.directory, Accounts: s.directory, Mirror: s.behind, Lanes: s.lanes, Turns: s.turns.Submit,
		Voice:  sounds,
		Behind: s.behind, Log: s.log,
	})
	rows = append(rows, command.Queries(command.QueryDeps{
		Store: s.store, Cache: s.cache, Directory: s.directory, Lanes: s.lanes, Behind: s.behind,
		Auth: s.auth, Slow: s.slow.Submit, Voice: sounds, Clock: deps.Clock,
		Night:     command.Night{Begins: s.cfg.NightBegins, Ends: s.cfg.NightEnds},
		VoiceText: string(texts.Encrypt("[语音]")),
	})...)
	s.commands = make(map[wire.Command]*row, len(rows))
	for _, c := range rows {
		if s.commands[c.ID] != nil {
			return fmt.Errorf("command %v is in the table twice", c.ID)
		}
		if c.Asker == 0 {
			return fmt.Errorf("command %v does not say whose account must be active", c.ID)
		}
		s.commands[c.ID] = &row{Command: c, succeeded: s.metrics.commands.WithLabelValues(c.ID.String(), im.OK.String())}
	}
	return nil
}

// Commands returns what this server handles, by who sends it, for
// docs/protocol.md.
func (s *Server) Commands() map[string][]wire.Command {
	return map[string][]wire.Command{"msg_server": slices.Collect(maps.Keys(s.commands))}
}
