#!/usr/bin/env bash
# turns.sh compares this version with another checkout of the project: a
# cluster of each, measured in turns within one run, so that a machine which
# is shared and changes its speed harms both alike. A third cluster, of the
# other version again, shows what is noise: its ratio to the first should be 1,
# and how far it strays is how far a ratio means nothing.
#
#   OTHER=CHECKOUT ./build.sh accept turns [MODE...]    modes: window32 window1 group50 rate
#
# ROUNDS=10 rounds of LENGTH=8s for each mode; ports from BASE=24000 on, 300
# for each cluster; RATE=15000 messages a second for the mode rate. Figures of
# all rounds stay in OUT. Every run checks what it read back and fails the
# comparison if anything is missing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

OTHER=${OTHER:?the checkout to compare with}
ROUNDS=${ROUNDS:-10} LENGTH=${LENGTH:-8s} BASE=${BASE:-24000} RATE=${RATE:-15000}
DIR=${DIR:-$(mktemp -d)} OUT=${OUT:-$(mktemp -d)}
PASSWORD=bench-12345
FAILED=0
MODES=${*:-window32 window1 group50 rate}
SIDES="old again new"

say() { printf '%s\n' "$*" >&2; }

# checkout SIDE, port SIDE: which version a side is of, and where it listens.
checkout() { if [ "$1" = new ]; then echo .; else echo "$OTHER"; fi; }
port() { case $1 in old) echo "$BASE" ;; again) echo $((BASE + 300)) ;; new) echo $((BASE + 600)) ;; esac; }

finish() {
	local side
	for side in $SIDES; do
		[ ! -d "$DIR/$side" ] || (cd "$(checkout "$side")" && ./build.sh cluster down --dir "$DIR/$side" --purge >/dev/null 2>&1) || true
	done
}
trap finish EXIT
trap 'exit 130' INT TERM

start() { # side
	local here=$PWD
	cd "$(checkout "$1")"
	./build.sh cluster up --dir "$DIR/$1" --base-port "$(port "$1")" >/dev/null 2>"$OUT/$1.log" || {
		tail -n 30 "$OUT/$1.log" >&2
		exit 2
	}
	bin/teamtalk user add --prefix u --count 100 --password $PASSWORD --config "$DIR/$1/conf/dbproxyserver.conf" >/dev/null
	cd "$here"
}

# once SIDE MODE ROUND — one run. Both sides are loaded by this version's bench.
once() {
	local side=$1 file=$OUT/$2_$3_$1 flags
	case $2 in
	window32) flags="single --window 32" ;;
	window1) flags="single --window 1" ;;
	group50) flags="group --count 50 --senders 10 --window 4" ;;
	rate) flags="single --window 32 --rate $RATE" ;;
	*) say "no mode $2"; exit 2 ;;
	esac
	# shellcheck disable=SC2086 # flags are words
	bin/teamtalk bench $flags --addr "$(sed -n 's/^msg_server_[0-9]*=//p' "$DIR/$side/addrs" | paste -sd,)" \
		--password $PASSWORD --size 64 --warm-up 1s --duration "$LENGTH" --pids "$(paste -sd, "$DIR/$side/pids")" \
		--json "$file.json" --quiet >/dev/null 2>"$file.err" || { say "$(cat "$file.err")"; FAILED=1; }
}

figure() { bin/teamtalk bench figure "$1" "$2"; }

# ratios KEY MODE SIDE — a line with the median and the spread of SIDE by old.
ratios() {
	local round
	for round in $(seq "$ROUNDS"); do
		echo "$(figure "$1" "$OUT/$2_${round}_$3.json") $(figure "$1" "$OUT/$2_${round}_old.json")"
	done | awk '$2 > 0 { print $1 / $2 }' | sort -n | awk '{ a[NR] = $1 }
		END { printf "%.3f (%.3f – %.3f)", (a[int((NR + 1) / 2)] + a[int(NR / 2) + 1]) / 2, a[1], a[NR] }'
}

say "results go to $OUT"
for side in $SIDES; do start "$side"; done
for mode in $MODES; do
	for round in $(seq "$ROUNDS"); do
		# Whoever comes first in a round is another one in the next.
		case $((round % 3)) in 0) order="old new again" ;; 1) order="new again old" ;; *) order="again old new" ;; esac
		for side in $order; do once "$side" "$mode" "$round"; done
		say "$mode round $round"
	done
done
printf '%-10s %-22s %-28s %-28s\n' mode figure 'new by old' 'old by old'
for mode in $MODES; do
	for key in cpu_us_per_op.total acked_per_s ack_ms.p50 ack_ms.p99; do
		printf '%-10s %-22s %-28s %-28s\n' "$mode" "$key" "$(ratios $key "$mode" new)" "$(ratios $key "$mode" again)"
	done
done
exit $FAILED
