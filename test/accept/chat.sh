#!/usr/bin/env bash
# The full sizes of the main promise, on one process per role: nothing
# acknowledged is lost, doubled or out of order, also when MariaDB is killed,
# and everybody gets back in after a restart. Called by build.sh accept chat.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
SECONDS_EACH=${SECONDS_EACH:-30}
BASE=${BASE:-20000}
D=$(mktemp -d)
LOGIN=http://127.0.0.1:$((BASE + 80))/msg_server
CONF=$D/conf/dbproxyserver.conf
failed=0

finish() {
	./build.sh cluster down --purge --dir "$D" >/dev/null 2>&1 || true
	rm -rf "$D"
}
trap finish EXIT

# row WHAT WANTED SEEN OK prints a line of the table.
row() {
	printf '%-58s %-22s %-30s %s\n' "$1" "$2" "$3" "$4"
	[ "$4" = ok ] || failed=1
}

# number FILE KEY — the first number of that name in a report.
number() { sed -n "s/.*\"$2\": *\\([0-9.e+]*\\).*/\\1/p" "$1" | head -n 1; }

verdict() { if "$@" >"$D/last.log" 2>&1; then echo ok; else cat "$D/last.log" >&2; echo FAILED; fi; }

at_least() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a >= b) }' && echo ok || echo FAILED; }

bench() { bin/teamtalk bench "$@" --password secret --quiet; }

seen() { echo "$(number "$1" acked) acked, $(number "$1" acked_per_s | cut -d. -f1)/s"; }

./build.sh cluster up --dir "$D" --base-port "$BASE"
bin/teamtalk user add --prefix u --count 15000 --password secret --config "$CONF" >/dev/null
printf '%-58s %-22s %-30s %s\n' figure wanted seen ''

ok=$(verdict bench single --login "$LOGIN" --prefix u --count 100 --window 32 \
	--duration "${SECONDS_EACH}s" --json "$D/single.json")
row "100 users on two servers, window 32, ${SECONDS_EACH} s" "nothing lost" "$(seen "$D/single.json")" "$ok"

ok=$(verdict bench group --login "$LOGIN" --prefix u --count 100 --senders 10 --window 4 \
	--duration "${SECONDS_EACH}s" --json "$D/group.json")
row "one group of 100, PC and phone each, on two servers" "increasing ids" "$(seen "$D/group.json")" "$ok"

(sleep 8 && ./build.sh cluster restart --dir "$D" --name mariadb --down 2) &
ok=$(verdict bench single --login "$LOGIN" --prefix u --count 100 --window 8 --rate 4000 \
	--duration "${SECONDS_EACH}s" --json "$D/killed.json")
wait
row "kill -9 of MariaDB under load" "no ack without row" "$(seen "$D/killed.json")" "$ok"

./build.sh cluster restart --dir "$D" --name msg_server_1
for _ in $(seq 100); do curl -fs -o /dev/null "http://127.0.0.1:$((BASE + 50))/readyz" && break; sleep 0.1; done
start=$(date +%s.%N)
ok=$(verdict bench login --addr "127.0.0.1:$BASE" --prefix u --count 15000 --window 1000 --warm-up 0s \
	--duration 1s --json "$D/storm.json")
rate=$(number "$D/storm.json" per_s)
took=$(awk -v r="$rate" 'BEGIN { printf "%.1f", 15000 / r }')
[ "$ok" = ok ] && ok=$(at_least 30 "$took")
row "15,000 log-ins after a restart of msg_server" "30 s" "$took s" "$ok"

for i in $(seq 200); do bin/teamtalk user add "h$i" --password secret --config "$CONF" >/dev/null; done
./build.sh cluster restart --dir "$D" --name db_proxy_1
for _ in $(seq 100); do curl -fs -o /dev/null "http://127.0.0.1:$((BASE + 50))/readyz" && break; sleep 0.1; done
ok=$(verdict bench login --addr "127.0.0.1:$BASE" --prefix h --count 200 --window 100 --warm-up 0s \
	--duration 1s --json "$D/hash.json")
rate=$(number "$D/hash.json" per_s)
[ "$ok" = ok ] && ok=$(at_least "$rate" 40)
row "first log-ins, each with a slow hash" "40/s" "$(printf '%.0f/s' "$rate")" "$ok"
exit $failed
