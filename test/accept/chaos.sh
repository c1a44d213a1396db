#!/usr/bin/env bash
# Half an hour in which everything fails that can fail, under a load of some
# thousand messages a second: a cluster first, then the server in one process.
# Called by build.sh accept chaos.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
MINUTES=${MINUTES:-30}
RATE=${RATE:-5000}
SEED=${SEED:-0}
BASE=${BASE:-12000}
FAULTS=${FAULTS:-200}
ACKED=${ACKED:-3000000}
BETWEEN=${BETWEEN:-3000}
D=${DIR:-$(mktemp -d)}
mkdir -p "$D"
failed=0

# row WHAT WANTED SEEN OK prints a line of the table.
row() {
	printf '%-44s %-14s %-14s %s\n' "$1" "$2" "$3" "$4"
	[ "$4" = ok ] || failed=1
}

# number KEY — the first number of that name in the report.
number() { sed -n "s/.*\"$1\": *\([0-9]*\).*/\1/p" "$D/run/report.json" | head -n 1; }

at_least() { [ "$1" -ge "$2" ] && echo ok || echo FAILED; }

status=0
./build.sh chaos --minutes "$MINUTES" --seed "$SEED" --rate "$RATE" --users 60 --every 7s \
	--base-port "$BASE" --dir "$D/run" >"$D/output" || status=$?
if [ ! -f "$D/run/report.json" ]; then
	cat "$D/output"
	echo "chaos did not come to an end; what there is stands in $D"
	exit 1
fi
cat "$D/output"

faults=$(sed -n '/"faults_by_kind"/,/}/s/.*: *\([0-9]*\).*/\1/p' "$D/run/report.json" | awk '{ n += $1 } END { print n + 0 }')
kinds=$(sed -n '/"faults_by_kind"/,/}/p' "$D/run/report.json" | grep -c '": [0-9]')
violations=$(sed -n '1s/.* \([0-9]*\) violations.*/\1/p' "$D/output")
echo
printf '%-44s %-14s %-14s %s\n' figure wanted seen ''
row "faults" ">= $FAULTS" "$faults" "$(at_least "$faults" "$FAULTS")"
row "kinds of faults" "18" "$kinds" "$(at_least "$kinds" 18)"
row "messages acknowledged" ">= $ACKED" "$(number acked)" "$(at_least "$(number acked)" "$ACKED")"
row "acknowledged per second between faults" ">= $BETWEEN" "$(number acked_per_s_between_faults)" \
	"$(at_least "$(number acked_per_s_between_faults)" "$BETWEEN")"
row "violations" "0" "$violations" "$([ "$violations" = 0 ] && echo ok || echo FAILED)"
row "exit code: faults hit, processes ended well" "0" "$status" "$([ $status = 0 ] && echo ok || echo FAILED)"
echo
DIR=$D test/accept/overload.sh || failed=1
if [ $failed = 0 ] && [ -z "${DIR:-}" ]; then
	rm -rf "$D"
else
	echo "report and logs: $D/run"
fi
exit $failed
