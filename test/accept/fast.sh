#!/usr/bin/env bash
# fast.sh measures every figure of docs/performance.md on a fresh cluster, some
# runs each, and prints them with median, spread and what is wanted. It exits 1
# when a figure is missed or a run found a violation.
#
#   ./build.sh accept fast [PART...]      all parts, or only some of them:
#     single rate one group50 group1000 idle servers stored embedded
#
# RUNS=5 runs of LENGTH=10s each; ports from BASE=24000; the cluster lives in
# DIR, the JSON and HTML of every run in OUT (both new folders by default).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

RUNS=${RUNS:-5} LENGTH=${LENGTH:-10s} IDLE=${IDLE:-60s} STORED=${STORED:-10000000} BASE=${BASE:-24000}
DIR=${DIR:-$(mktemp -d)} OUT=${OUT:-$(mktemp -d)}
PASSWORD=bench-12345
USERS=7500
T=bin/teamtalk
FAILED=0
PARTS=${*:-single rate one group50 group1000 idle servers stored embedded}

say() { printf '%s\n' "$*" >&2; }
miss() { say "$*"; FAILED=1; }

# ---- the cluster -----------------------------------------------------------

up() { ./build.sh cluster up --dir "$DIR" --base-port "$BASE" "$@" >/dev/null 2>>"$OUT/cluster.log" || {
	tail -n 30 "$OUT/cluster.log" >&2
	exit 2
}; }
down() { [ ! -d "$DIR" ] || ./build.sh cluster down --dir "$DIR" "$@" >/dev/null 2>>"$OUT/cluster.log"; }

# restart gives the servers fresh memory and caches; the data stays.
restart() { down; up "$@"; }

# fresh starts an empty cluster with users.
fresh() {
	down --purge
	up "$@"
	$T user add --prefix u --count $USERS --password $PASSWORD --config "$DIR/conf/dbproxyserver.conf" >/dev/null
}

pids() { paste -sd, "$DIR/pids"; }
addrs() { sed -n 's/^msg_server_[0-9]*=//p' "$DIR/addrs" | paste -sd,; }
sql() { mariadb --no-defaults -uroot -S "$DIR/mariadb.sock" teamtalk -e "$1"; }

SERVE=
finish() {
	[ -z "$SERVE" ] || { kill "$SERVE" 2>/dev/null && wait "$SERVE" || true; }
	down --purge || true
}
trap finish EXIT
trap 'exit 130' INT TERM

# ---- runs ------------------------------------------------------------------

# once FILE MODE FLAG... — one run; its results go to OUT/FILE.json and .html.
once() {
	local file=$OUT/$1 mode=$2
	shift 2
	$T bench "$mode" --password $PASSWORD --json "$file.json" --html "$file.html" --quiet "$@" 2>"$file.err" ||
		miss "$(cat "$file.err")"
	[ -s "$file.err" ] || rm -f "$file.err"
}

# runs NAME MODE FLAG... — RUNS runs against the cluster, NAME_1 and so on.
runs() {
	local name=$1 mode=$2 i
	shift 2
	say "$name"
	for i in $(seq "$RUNS"); do
		once "${name}_$i" "$mode" --addr "$(addrs)" --size 64 --duration "$LENGTH" --pids "$(pids)" \
			--ceiling "$OUT/ceiling.json" "$@"
	done
}

files() { ls "$OUT/$1"_*.json; }
comma() { files "$1" | paste -sd,; }

# judge TITLE NAME FLAG... — adds the rows of some runs to the table.
judge() {
	local title=$1 name=$2
	shift 2
	# shellcheck disable=SC2046 # the names have no spaces of their own
	$T bench check --title "$title" "$@" $(files "$name") >>"$OUT/table" 2>"$OUT/check.err" || {
		FAILED=1
		grep -v 'was missed' "$OUT/check.err" >&2 || true
	}
}

# ---- parts -----------------------------------------------------------------

part_single() {
	runs window32 single --window 32
	judge "100 senders, window 32" window32 --want 'acked_per_s >= 20000' --want 'cpu_us_per_op.total <= 60' \
		--show ceiling.rate --show ceiling.cpu
	runs window1 single --window 1
	judge "100 senders, window 1" window1 --want 'acked_per_s >= 8000' --want 'cpu_us_per_op.total <= 150' \
		--want 'ack_ms.p99 <= 30'
}

# half the rate of the runs with window 32, in messages per second.
half() { $T bench figure acked_per_s $(files window32) | awk '{ printf "%d", $1 / 2 }'; }

part_rate() {
	[ -e "$OUT/window32_1.json" ] || runs window32 single --window 32
	runs half single --window 32 --rate "$(half)" --commits "$DIR/conf/dbproxyserver.conf"
	judge "half of that rate" half --want 'ack_ms.p99 <= 10 or 3*commit_ms.p99' --show ack_ms.p50 --show commit_ms.p99 \
		--show acked_per_s --show cpu_us_per_op.total
}

part_one() {
	runs one single --count 2 --senders 1
	judge "one sender, idle system" one --want 'ack_ms.p50 <= 2 or ceiling.commit_p50_ms+1' --show cpu_us_per_op.total
}

part_group50() {
	runs group50 group --count 50 --senders 10 --window 4
	judge "group of 50 online" group50 --want 'acked_per_s >= 2500' --show delivered_per_s --show cpu_us_per_op.total
}

part_group1000() {
	runs group1000 group --count 1000 --senders 10 --window 8
	judge "group of 1,000 online" group1000 --want 'delivered_per_s >= 150000' --want 'cpu_us_per_delivery <= 6' \
		--show acked_per_s
}

# Every run has a msg_server that has held no connections yet.
part_idle() {
	local i
	say idle
	for i in $(seq "$RUNS"); do
		restart
		once "idle_$i" idle --addr "127.0.0.1:$BASE" --count $((15000 / 2)) --duration "$IDLE" --warm-up 5s --pids "$(pids)"
	done
	restart
	judge "15,000 idle on one msg_server" idle --want 'idle.bytes_per_connection.msg_server_1 <= 2048' \
		--show idle.cpu_cores.msg_server_1
}

part_servers() {
	[ -e "$OUT/half_1.json" ] || part_rate
	restart --msg 8
	runs servers8 single --window 32 --rate "$(half)" --commits "$DIR/conf/dbproxyserver.conf"
	restart
	judge "8 msg_servers by 2, same rate" servers8 --base "$(comma half)" --want 'cpu_us_per_op.total <= 1.15'
}

# stored NAME — what a page, unread counts and a message cost now. Sending is
# last and short: it adds to what is stored.
stored() {
	runs "$1_page" history --unread 0 --depth 1
	runs "$1_unread" history --unread 1 --depth 1
	runs "$1_send" single --window 32 --warm-up 1s --duration 4s
}

part_stored() {
	local kind
	fresh
	once prepare single --addr "$(addrs)" --rate 1000 --duration 1s
	fill 100000
	stored few
	fill "$STORED"
	stored many
	for kind in send page unread; do
		judge "$STORED messages by 100000: $kind" "many_$kind" --base "$(comma "few_$kind")" --want 'cpu_us_per_op.total <= 1.2'
	done
}

# fill N — brings the single messages to N with rows like those of the bench:
# the pairs that it uses get a tenth, up to 20,000 each, other pairs the rest.
fill() {
	local total=$1 have pairs each shard content
	say "filling up to $1 messages"
	sql "INSERT IGNORE INTO IMRelationShip (smallId, bigId, status, created, updated)
		SELECT a.id, b.id, 0, 1, 1 FROM IMUser a JOIN IMUser b ON b.id = a.id + 1
		WHERE a.name LIKE 'u%' AND b.name = CONCAT('u', SUBSTRING(a.name, 2) + 1) AND SUBSTRING(a.name, 2) % 2 = 1;
		INSERT IGNORE INTO IMRecentSession (userId, peerId, type, status, created, updated)
		SELECT smallId, bigId, 1, 0, 1, 1 FROM IMRelationShip UNION ALL SELECT bigId, smallId, 1, 0, 1, 1 FROM IMRelationShip"
	each=$((total / 10 / 50)) have=0
	content=$(sql "SELECT content FROM IMMessage_0 LIMIT 1" | tail -n 1)
	for pairs in "<= 50" "> 50"; do
		[ "$pairs" = "<= 50" ] || each=$(((total - have) / (USERS / 2 - 50)))
		for shard in 0 1 2 3 4 5 6 7; do
			sql "SET SESSION unique_checks = 0;
			INSERT INTO IMMessage_$shard (relateId, fromId, toId, msgId, type, created, updated, opId, content)
			SELECT r.id, IF(s.seq % 2, r.smallId, r.bigId), IF(s.seq % 2, r.bigId, r.smallId), r.last + s.seq,
				1, 1700000000, 1700000000, RANDOM_BYTES(16), '$content'
			FROM (SELECT r.id, r.smallId, r.bigId, COALESCE(MAX(m.msgId), 0) AS last
				FROM (SELECT id, smallId, bigId, ROW_NUMBER() OVER (ORDER BY id) AS place FROM IMRelationShip) r
				LEFT JOIN IMMessage_$shard m ON m.relateId = r.id
				WHERE r.id % 8 = $shard AND r.place $pairs GROUP BY r.id, r.smallId, r.bigId) r
			JOIN seq_1_to_$each s ON s.seq <= $each - r.last"
		done
		have=$((each * 50))
	done
	redis-cli -p $((BASE + 3379)) FLUSHALL >/dev/null # a cache of what was before
	restart
	sql "SELECT COUNT(*) AS stored FROM (SELECT 1 FROM IMMessage_0 UNION ALL SELECT 1 FROM IMMessage_1
		UNION ALL SELECT 1 FROM IMMessage_2 UNION ALL SELECT 1 FROM IMMessage_3 UNION ALL SELECT 1 FROM IMMessage_4
		UNION ALL SELECT 1 FROM IMMessage_5 UNION ALL SELECT 1 FROM IMMessage_6 UNION ALL SELECT 1 FROM IMMessage_7) m" |
		paste -sd' ' >&2
}

part_embedded() {
	local i
	say embedded
	down
	$T serve --data "$DIR/serve" --base-port "$BASE" --no-demo >"$OUT/serve.log" 2>&1 &
	SERVE=$!
	for i in $(seq 300); do
		grep -q '^ready' "$OUT/serve.log" && break
		sleep 0.1
	done
	$T user add --prefix u --count 100 --password $PASSWORD --data "$DIR/serve" >/dev/null
	for i in $(seq "$RUNS"); do
		once "embedded_$i" single --addr "127.0.0.1:$BASE" --size 64 --duration "$LENGTH" --window 32 --pids "serve=$SERVE"
	done
	kill "$SERVE"
	wait "$SERVE" || miss "serve did not stop cleanly"
	SERVE=
	judge "teamtalk serve, window 32" embedded --want 'acked_per_s >= 15000' --show cpu_us_per_op.total --show ack_ms.p99
}

# ---- all -------------------------------------------------------------------

: >"$OUT/table"
say "results go to $OUT"
fresh
say ceiling
$T bench ceiling --size 64 --config "$DIR/conf/dbproxyserver.conf" --pids "$(pids)" --json "$OUT/ceiling.json" >"$OUT/ceiling.txt"
for part in $PARTS; do
	[ "$part" = embedded ] || [ -f "$DIR/pids" ] || up
	"part_$part"
done

printf '\n%s runs of %s, median (lowest – highest)\n\n' "$RUNS" "$LENGTH"
printf '%-36s  %-40s  %-28s  %-12s\n' load figure measured wanted
cat "$OUT/table"
printf '\nThe databases alone:\n\n'
cat "$OUT/ceiling.txt"
exit $FAILED
