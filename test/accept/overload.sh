#!/usr/bin/env bash
# MariaDB is throttled to some 3,000 messages a second and offered five times as
# many for a minute, open-loop: what is stored meanwhile, how the servers grow,
# who is answered, and how soon everything is as before. Called by build.sh
# accept overload.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
D=${DIR:-$(mktemp -d)}
status=0
./build.sh chaos overload --limit "${LIMIT:-3000}" --times 5 --for "${FOR:-60s}" \
	--base-port "${BASE:-12000}" --dir "$D/overload" || status=$?
if [ $status = 0 ] && [ -z "${DIR:-}" ]; then
	rm -rf "$D"
else
	echo "report and logs: $D/overload"
fi
exit $status
