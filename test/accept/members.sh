#!/usr/bin/env bash
# A group of 10,000 members is made in parts while others chat: how long that
# takes, and how much longer than on a quiet server everybody else waits for
# an acknowledgement. Called by build.sh accept members.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
BASE=${BASE:-20000}
RATE=${RATE:-500}             # messages a second of the others
SECONDS_EACH=${SECONDS_EACH:-20}
D=$(mktemp -d)
LOGIN=http://127.0.0.1:$((BASE + 80))/msg_server
API=http://127.0.0.1:$((BASE + 400))/api/v1
CONF=$D/conf/dbproxyserver.conf

finish() {
	./build.sh cluster down --purge --dir "$D" >/dev/null 2>&1 || true
	rm -rf "$D"
}
trap finish EXIT

# bench FILE chats and writes its report.
bench() {
	bin/teamtalk bench single --login "$LOGIN" --prefix u --count 100 --window 32 --rate "$RATE" \
		--duration "${SECONDS_EACH}s" --password secret --quiet --json "$1" >/dev/null
}

# p99 FILE — of the acknowledgements, in milliseconds.
p99() { tr -d '\n' <"$1" | sed 's/.*"ack_ms": *{\([^}]*\)}.*/\1/; s/.*"p99": *\([0-9.e+-]*\).*/\1/'; }

# ids FROM TO — the numbers as a JSON list.
ids() { printf '[%s]' "$(seq -s, "$1" "$2")"; }

# post PATH BODY
post() {
	curl -sf "$API/$1" -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" -d "@-" <<<"$2"
}

# crowd makes the group: 5,000 at once, and 5,000 more.
crowd() {
	local group
	group=$(post groups "{\"name\": \"everybody\", \"type\": \"temporary\", \"member_ids\": $(ids 101 5100)}" |
		sed 's/.*"group_id": *\([0-9]*\).*/\1/')
	post "groups/$group/members" "{\"user_ids\": $(ids 5101 10100)}" | sed 's/.*"member_ids"//' | tr -cd , | wc -c
}

./build.sh cluster up --dir "$D" --base-port "$BASE" --http 1
bin/teamtalk user add --prefix u --count 10100 --password secret --config "$CONF" >/dev/null
TOKEN=$(bin/teamtalk apikey add accept --scope all --rate 100 --config "$CONF" | cut -f2)
bench "$D/warm.json"
bench "$D/quiet.json"
(sleep 5 && start=$(date +%s%N) && crowd >"$D/members" && echo $((($(date +%s%N) - start) / 1000000)) >"$D/took") &
bench "$D/busy.json"
wait

quiet=$(p99 "$D/quiet.json") busy=$(p99 "$D/busy.json") took=$(cat "$D/took") members=$(($(cat "$D/members") + 1))
printf '%-52s %s\n' "members" "$members" "made in" "$took ms" \
	"p99 of an acknowledgement at $RATE/s, quiet" "$quiet ms" "the same while the group is made" "$busy ms"
awk -v q="$quiet" -v b="$busy" -v m="$members" -v t="$took" 'BEGIN { exit !(m == 10000 && t < 10000 && b <= 2 * q) }' ||
	{ echo "FAILED: 10,000 members within 10 s, and at most twice the quiet p99"; exit 1; }
