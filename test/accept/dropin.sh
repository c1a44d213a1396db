#!/usr/bin/env bash
# A database of the original with a million messages, and all the dirt of some
# years, becomes ours: everything is there, a client goes on, and the way back
# leads to the start; and every combination of our roles with originals works.
# Every schema that an installation may have, on a server with every setting, is
# taken over, used and brought back, row by row.
# Called by build.sh accept dropin.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
MESSAGES=${MESSAGES:-1000000}
go test -count=1 -timeout 60m -v -run '^TestDropIn$' ./test/dropin -args -messages "$MESSAGES" -bin "$PWD/bin"
go test -count=1 -timeout 60m -v -run '^TestMatrix$' ./db_proxy/internal/takeover -args -matrix
go test -race -count=1 -timeout 30m -run '^TestCombinations$' ./test/neighbours -args -all
