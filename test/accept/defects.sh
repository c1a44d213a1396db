#!/usr/bin/env bash
# Puts the original's defects back into our code, one at a time, and checks
# that a test notices each: docs/compatibility.md names them. -v prints what
# the tests print. Called by build.sh accept defects [-v] [ID...].
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
exec go run ./test/planted "$@"
