#!/usr/bin/env bash
# The full sizes of what docs/files.md promises: a file of 2 GiB up and down
# with cuts and kills, memory under 50 transfers, and the same transfers by
# nginx. SIZE=256M for a quick run. Called by build.sh accept files.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
SIZE=$(numfmt --from=iec "${SIZE:-2G}")
BASE=${BASE:-20000}
D=$(mktemp -d)
failed=0

finish() {
	[ ! -s "$D/nginx.pid" ] || kill "$(cat "$D/nginx.pid")" 2>/dev/null || true
	./build.sh cluster down --purge --dir "$D" >/dev/null 2>&1 || true
	rm -rf "$D"
}
trap finish EXIT

if ! command -v nginx >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
	DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends nginx-light >/dev/null 2>&1 || true
fi
command -v nginx >/dev/null || { echo "needs nginx" >&2; exit 2; }

./build.sh cluster up --dir "$D" --base-port "$BASE" --msg 2 --file 1
# As many copies of the large file as the comparison makes.
echo "UserQuota=0" >>"$D/conf/file_server_1/fileserver.conf"
./build.sh cluster restart --dir "$D" --name file_server_1
bin/teamtalk user add --prefix u --count 2 --password secret --config "$D/conf/dbproxyserver.conf" >/dev/null

mkdir -p "$D/www" "$D/temp"
[ "$(id -u)" != 0 ] || user="user root;"
cat >"$D/nginx.conf" <<CONF
${user:-}
daemon on; pid $D/nginx.pid; error_log $D/nginx.log; worker_processes 1;
events { worker_connections 128; }
http {
	access_log off; sendfile on;
	client_body_temp_path $D/temp; client_max_body_size 0; client_body_buffer_size 128k;
	server { listen 127.0.0.1:$((BASE + 790)); root $D/www; location / { dav_methods PUT; } }
}
CONF
nginx -c "$D/nginx.conf" -e "$D/nginx.log"
worker=$(ps -o pid= --ppid "$(cat "$D/nginx.pid")" | head -n 1 | tr -d ' ')

printf '%-62s %-24s %-34s %s\n' figure wanted seen ''
go run ./test/accept/files --dir "$D" --addr "127.0.0.1:$BASE,127.0.0.1:$((BASE + 1))" --size "$SIZE" \
	--files "127.0.0.1:$((BASE + 700))" --nginx "127.0.0.1:$((BASE + 790))" --nginx-pid "$worker" || failed=$?
exit "$failed"
