#!/usr/bin/env bash
# build.sh builds, runs and tests everything; without an argument it builds
# bin/*. "build.sh help" lists the commands. Only Go is needed to build and to
# run; the tests install what else they need where that is possible.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
ROOT=$PWD
ROLES="login_server msg_server route_server db_proxy file_server http_msg_server push_server"

usage() {
	cat <<'TEXT'
./build.sh                 build bin/teamtalk and one binary per role
./build.sh run [FLAGS]     build, then run the whole system in one process (teamtalk serve)
./build.sh test            every test, with what it needs installed first (apt) or named
./build.sh lint            formatting, vet and golangci-lint
./build.sh bench [PKG…]    Go benchmarks, ten runs each, for benchstat
./build.sh cluster up --dir D --base-port N [--msg 2 --db 1 --route 1 --http 0 --file 0 --push 0]
                           one process per role, on a MariaDB and a Redis of its own; on ports N to N+3379
./build.sh cluster status|down|down --purge --dir D
./build.sh cluster restart --dir D --name mariadb [--down SECONDS]
                           kill -9 one process and start it again
./build.sh chaos [--minutes M] [--seed S] [--faults kill,term,…] [--rate R] [--dir D]
                           real servers under load while everything fails that can fail
./build.sh chaos overload [--limit N] [--times X] [--for D] [--dir D]
                           offer much more than a throttled MariaDB can take
./build.sh chaos check --events FILE… [--sql FILE]
                           only compare what clients logged with what SQL holds
./build.sh accept NAME     the full sizes of an acceptance run; test/accept has the names. BASE=PORT
                           and DIR=FOLDER in the environment say where
./build.sh accept defects [-v] [ID…]
                           put the original's defects back one at a time: a test must notice each
./build.sh fuzz [SECONDS]  the fuzz targets, 60 seconds each
TEXT
}

say() { printf '%s\n' "$*" >&2; }
die() { say "build.sh: $*"; exit 1; }

build() {
	mkdir -p bin
	CGO_ENABLED=0 go build -buildvcs=auto -trimpath -ldflags '-s -w' -o bin/ $(printf './%s ' $ROLES cmd/teamtalk)
}

# install_needs gets the servers and the C compiler that the tests use.
install_needs() {
	local missing=()
	command -v mariadbd >/dev/null || [ -x /usr/sbin/mariadbd ] || missing+=(mariadb-server)
	command -v redis-server >/dev/null || missing+=(redis-server)
	command -v cc >/dev/null || missing+=(gcc libc6-dev)
	command -v curl >/dev/null || missing+=(curl)
	[ ${#missing[@]} -eq 0 ] && return
	if ! command -v apt-get >/dev/null || [ "$(id -u)" -ne 0 ]; then
		say "the tests need, and this script can install only as root on Debian and Ubuntu: ${missing[*]}"
		exit 2
	fi
	say "installing ${missing[*]}"
	apt-get update -qq >/dev/null
	# The packages must not start servers of their own: the tests start theirs.
	local policy=/usr/sbin/policy-rc.d
	if [ ! -e $policy ]; then
		printf '#!/bin/sh\nexit 101\n' >$policy
		chmod +x $policy
		trap 'rm -f /usr/sbin/policy-rc.d' EXIT
	fi
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

format_check() {
	local unformatted
	unformatted=$(gofmt -l $(git ls-files '*.go' | grep -v '\.pb\.go$'))
	[ -z "$unformatted" ] || die "not formatted: $unformatted"
	go vet ./...
	go run ./tools/pbgen -check
}

run_tests() {
	install_needs
	format_check
	build
	go test -race -shuffle=on -timeout 14m "$@" $(go list ./... | grep -v '/test/')
	# Those that run whole clusters come one after the other, when nothing else
	# takes their time.
	go test -race -shuffle=on -timeout 14m -p 1 "$@" ./test/...
}

lint() {
	format_check
	go tool -modfile=tools/lint/go.mod golangci-lint run ./...
}

fuzz() {
	local seconds=${1:-60} file target
	grep -rl --include='*_test.go' '^func Fuzz' . | sort | while read -r file; do
		sed -n 's/^func \(Fuzz[A-Za-z]*\)(.*/\1/p' "$file" | while read -r target; do
			go test -run '^$' -fuzz "^$target\$" -fuzztime "${seconds}s" "./$(dirname "$file")"
		done
	done
}

# ---- cluster ---------------------------------------------------------------

# parse_cluster sets the arguments of the cluster commands, which are local to
# cluster: outside, these names belong to the caller's environment.
parse_cluster() {
	while [ $# -gt 0 ]; do
		case $1 in
		--dir) DIR=$2; shift ;;
		--base-port) BASE=$2; shift ;;
		--msg) MSG=$2; shift ;;
		--db) DB=$2; shift ;;
		--route) ROUTE=$2; shift ;;
		--http) HTTP=$2; shift ;;
		--file) FILE=$2; shift ;;
		--push) PUSH=$2; shift ;;
		--purge) PURGE=1 ;;
		--name) NAME=$2; shift ;;
		--down) DOWN=$2; shift ;;
		*) say "build.sh cluster: unknown argument $1"; exit 2 ;;
		esac
		shift
	done
	[ -n "$DIR" ] || { say "build.sh cluster: --dir is needed"; exit 2; }
}

# alive PID — as long as it is not a zombie that nobody has waited for.
# alive PID — of a process whose first thread is over, others may still finish
# a write, and hold its files.
alive() { grep -qs '^State:.[^Z]' "/proc/$1"/task/*/status; }

running_pids() { [ -f "$DIR/pids" ] && while IFS='=' read -r name pid; do
	if alive "$pid"; then echo "$name $pid"; fi
done <"$DIR/pids" || true; }

note() { # name address [health address]
	echo "$1=$2" >>"$DIR/addrs"
	if [ -n "${3:-}" ]; then echo "$1.http=$3" >>"$DIR/addrs"; fi
}

# launch NAME FOLDER COMMAND… starts a process and keeps how, for restart.
launch() {
	local name=$1 folder=$2
	shift 2
	{
		printf 'cd %q && exec' "$folder"
		printf ' %q' "$@"
		printf ' >>%q 2>&1\n' "$DIR/log/$name.log"
	} >"$DIR/conf/$name.cmd"
	start_again "$name"
}

# start_again NAME starts a process by the command it was launched with.
start_again() {
	bash "$DIR/conf/$1.cmd" </dev/null &
	local pid=$!
	disown "$pid"
	sed -i "/^$1=/d" "$DIR/pids"
	echo "$1=$pid" >>"$DIR/pids"
}

start_mariadb() {
	local port=$((BASE + 3306)) data=$DIR/data/mariadb daemon
	daemon=$(command -v mariadbd || echo /usr/sbin/mariadbd)
	[ -x "$daemon" ] || die "mariadbd is not installed (apt-get install mariadb-server)"
	local user=()
	[ "$(id -u)" -ne 0 ] || user=(--user=root)
	if [ ! -d "$data/mysql" ]; then
		mkdir -p "$data"
		mariadb-install-db --no-defaults "${user[@]}" --datadir="$data" --auth-root-authentication-method=normal \
			--skip-test-db >"$DIR/log/mariadb-install.log" 2>&1 || die "mariadb-install-db failed, see $DIR/log/mariadb-install.log"
	fi
	launch mariadb "$DIR" "$daemon" --no-defaults "${user[@]}" --datadir="$data" --socket="$DIR/mariadb.sock" \
		--pid-file="$DIR/mariadb.pid" --bind-address=127.0.0.1 --port="$port" --max-connections=500 \
		--innodb-buffer-pool-size=512M --innodb-log-file-size=256M --character-set-server=utf8mb4
	note mariadb "127.0.0.1:$port"
	for _ in $(seq 300); do
		if mariadb --no-defaults -uroot -S "$DIR/mariadb.sock" -e "
			CREATE DATABASE IF NOT EXISTS teamtalk CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
			CREATE USER IF NOT EXISTS teamtalk@127.0.0.1 IDENTIFIED BY 'teamtalk';
			CREATE USER IF NOT EXISTS teamtalk@localhost IDENTIFIED BY 'teamtalk';
			GRANT ALL ON teamtalk.* TO teamtalk@127.0.0.1;
			GRANT ALL ON teamtalk.* TO teamtalk@localhost;" 2>/dev/null; then return; fi
		sleep 0.1
	done
	tail -n 20 "$DIR/log/mariadb.log" >&2
	die "MariaDB did not start"
}

start_redis() {
	local port=$((BASE + 3379))
	command -v redis-server >/dev/null || die "redis-server is not installed (apt-get install redis-server)"
	mkdir -p "$DIR/data/redis"
	launch redis "$DIR" redis-server --bind 127.0.0.1 --port "$port" --dir "$DIR/data/redis" --appendonly yes \
		--save '' --daemonize no
	note redis "127.0.0.1:$port"
}

# start_role ROLE INSTANCE PORT CONFFILE — the configuration is on stdin.
start_role() {
	local role=$1 name=$1_$2 port=$3 file=$4 home=$DIR/conf/$1_$2
	mkdir -p "$home"
	cat >"$home/$file"
	launch "$name" "$home" "$ROOT/bin/$role" --config "$file"
	note "$name" "127.0.0.1:$port" "127.0.0.1:$((port + 50))"
}

# numbered PREFIX COUNT PORT [STEP] — the numbered server keys of a configuration.
numbered() {
	local i
	for i in $(seq "$2"); do printf '%sIP%d=127.0.0.1\n%sPort%d=%d\n' "$1" "$i" "$1" "$i" $(($3 + (i - 1) * ${4:-1})); done
}

db_proxy_conf() { # port
	cat <<CONF
ListenIP=127.0.0.1
ListenPort=$1
ThreadNum=48
MsfsSite=http://127.0.0.1:$((BASE + 700))
DBInstances=teamtalk_master,teamtalk_slave
CacheInstances=unread,group_set,token,sync,group_member
aesKey=12345678901234567890123456789012
CONF
	local name db=1
	for name in teamtalk_master teamtalk_slave; do
		cat <<CONF
${name}_host=127.0.0.1
${name}_port=$((BASE + 3306))
${name}_dbname=teamtalk
${name}_username=teamtalk
${name}_password=teamtalk
${name}_maxconncnt=16
CONF
	done
	for name in unread group_set token sync group_member; do
		cat <<CONF
${name}_host=127.0.0.1
${name}_port=$((BASE + 3379))
${name}_db=$db
${name}_maxconncnt=16
CONF
		db=$((db + 1))
	done
}

cluster_up() {
	[ -z "$(running_pids)" ] || die "a cluster is running in $DIR (build.sh cluster down --dir $DIR)"
	build
	mkdir -p "$DIR/log" "$DIR/conf" "$DIR/data"
	DIR=$(cd "$DIR" && pwd)
	: >"$DIR/pids"
	: >"$DIR/addrs"
	start_mariadb
	start_redis
	local i port
	for i in $(seq "$DB"); do
		port=$((BASE + 2600 + i - 1))
		[ "$i" -ne 1 ] || db_proxy_conf "$port" >"$DIR/conf/dbproxyserver.conf"
		db_proxy_conf "$port" | start_role db_proxy "$i" "$port" dbproxyserver.conf
	done
	for i in $(seq "$ROUTE"); do
		port=$((BASE + 200 + i - 1))
		printf 'ListenIP=127.0.0.1\nListenMsgPort=%d\n' "$port" | start_role route_server "$i" "$port" routeserver.conf
	done
	start_role login_server 1 $((BASE + 80)) loginserver.conf <<CONF
ClientListenIP=127.0.0.1
ClientPort=$((BASE + 8))
HttpListenIP=127.0.0.1
HttpPort=$((BASE + 80))
MsgServerListenIP=127.0.0.1
MsgServerPort=$((BASE + 100))
HealthListen=127.0.0.1:$((BASE + 130))
msfs=http://127.0.0.1:$((BASE + 700))/
discovery=http://127.0.0.1/api/discovery
CONF
	[ -s "$DIR/file_token" ] || (umask 077; head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n' > "$DIR/file_token")
	for i in $(seq "$MSG"); do
		port=$((BASE + i - 1))
		{
			printf 'ListenIP=127.0.0.1\nListenPort=%d\nConcurrentDBConnCnt=4\n' "$port"
			numbered DBServer "$DB" $((BASE + 2600))
			numbered LoginServer 1 $((BASE + 100))
			numbered RouteServer "$ROUTE" $((BASE + 200))
			[ "$FILE" -eq 0 ] || numbered FileServer "$FILE" $((BASE + 601)) 2
			[ "$PUSH" -eq 0 ] || numbered PushServer "$PUSH" $((BASE + 500))
			[ "$FILE" -eq 0 ] || echo "FileTokenSecret_file=$DIR/file_token"
			printf 'IpAddr1=127.0.0.1\nIpAddr2=127.0.0.1\nMaxConnCnt=100000\naesKey=12345678901234567890123456789012\n'
		} | start_role msg_server "$i" "$port" msgserver.conf
	done
	for i in $(seq "$FILE"); do
		port=$((BASE + 600 + (i - 1) * 2)) # it has two ports, the second for msg_servers
		start_role file_server "$i" "$port" fileserver.conf <<CONF
FileServerIp=127.0.0.1
ClientListenIP=127.0.0.1
ClientListenPort=$port
MsgServerListenIP=127.0.0.1
MsgServerListenPort=$((port + 1))
HttpListenIP=127.0.0.1
HttpListenPort=$((BASE + 700 + i - 1))
DataDir=$DIR/data/file_server_$i
FileTokenSecret_file=$DIR/file_token
CONF
	done
	for i in $(seq "$PUSH"); do # without credentials for Apple and Google: add them to its configuration
		port=$((BASE + 500 + i - 1))
		printf 'ListenIP=127.0.0.1\nListenPort=%d\n' "$port" | start_role push_server "$i" "$port" pushserver.conf
	done
	for i in $(seq "$HTTP"); do
		port=$((BASE + 400 + i - 1))
		{
			printf 'ListenIP=127.0.0.1\nListenPort=%d\nConcurrentDBConnCnt=4\n' "$port"
			numbered DBServer "$DB" $((BASE + 2600))
			numbered RouteServer "$ROUTE" $((BASE + 200))
			[ "$PUSH" -eq 0 ] || numbered PushServer "$PUSH" $((BASE + 500))
		} | start_role http_msg_server "$i" "$port" httpmsgserver.conf
	done
	wait_ready || { stop_all; return 1; }
	say "cluster is up in $DIR: login http://127.0.0.1:$((BASE + 80))/msg_server"
}

# wait_ready waits for every /readyz, 60 seconds at most.
wait_ready() {
	local deadline=$((SECONDS + 60)) name address failing
	while :; do
		failing=
		while IFS='=' read -r name address; do
			case $name in
			*.http) curl -fs -o /dev/null --max-time 2 "http://$address/readyz" || { failing=${name%.http}; break; } ;;
			esac
		done <"$DIR/addrs"
		[ -n "$failing" ] || return 0
		local pid
		pid=$(sed -n "s/^$failing=//p" "$DIR/pids")
		if [ $SECONDS -ge $deadline ] || ! alive "$pid"; then
			say "$failing is not ready; the end of its log:"
			tail -n 20 "$DIR/log/$failing.log" >&2
			return 1
		fi
		sleep 0.2
	done
}

# stop_all ends the processes of the cluster in the order in which their work
# flows, the databases last.
stop_all() {
	local pattern name pid
	for pattern in '^msg_server\|^http_msg_server' '^login_server\|^push_server\|^route_server\|^file_server' '^db_proxy' '^redis\|^mariadb'; do
		running_pids | grep "$pattern" | while read -r name pid; do kill -TERM "$pid" 2>/dev/null || true; done || true
		for _ in $(seq 150); do
			[ -n "$(running_pids | grep "$pattern")" ] || break
			sleep 0.1
		done
		running_pids | grep "$pattern" | while read -r name pid; do
			say "$name does not stop: killed"
			kill -KILL "$pid" 2>/dev/null || true
		done || true
	done
}

cluster_down() {
	[ -d "$DIR" ] || die "no cluster in $DIR"
	stop_all
	rm -f "$DIR/pids" "$DIR/addrs"
	[ -z "$PURGE" ] || rm -rf "$DIR"
}

# cluster_restart kills a process, without a warning, and starts it again.
cluster_restart() {
	local pid
	pid=$(sed -n "s/^$NAME=//p" "$DIR/pids")
	[ -n "$pid" ] || die "no $NAME in $DIR"
	DIR=$(cd "$DIR" && pwd)
	kill -KILL "$pid" 2>/dev/null || true
	while alive "$pid"; do sleep 0.05; done
	sleep "$DOWN"
	start_again "$NAME"
}

cluster_status() {
	local name pid state all=0
	[ -f "$DIR/pids" ] || { echo "no cluster in $DIR"; return 1; }
	while IFS='=' read -r name pid; do
		state=running
		alive "$pid" || { state=dead; all=1; }
		printf '%-16s %-8s %-8s %s\n' "$name" "$pid" "$state" "$(sed -n "s/^$name=//p" "$DIR/addrs")"
	done <"$DIR/pids"
	return $all
}

cluster() {
	local verb=${1:-} DIR= BASE=8000 MSG=2 DB=1 ROUTE=1 HTTP=0 FILE=0 PUSH=0 PURGE= NAME= DOWN=0
	[ $# -eq 0 ] || shift
	case $verb in
	up | down | status | restart) parse_cluster "$@"; "cluster_$verb" ;;
	*) usage >&2; exit 2 ;;
	esac
}

# chaos runs the real servers while everything fails that can fail, or only
# the checker. docs/guarantees.md says what is promised.
chaos() {
	mkdir -p bin
	go build -o bin/chaos ./test/chaos
	if [ "${1:-}" != check ]; then
		install_needs
		build
	fi
	exec bin/chaos "$@"
}

case ${1:-build} in
build) build ;;
run) shift; build; exec bin/teamtalk serve "$@" ;;
test) shift; run_tests "$@" ;;
lint) lint ;;
fuzz) shift; fuzz "$@" ;;
bench) shift; go test -run '^$' -bench . -benchmem -count 10 "${@:-./...}" ;;
cluster) shift; cluster "$@" ;;
chaos) shift; chaos "$@" ;;
accept) shift; build; exec test/accept/"${1:?NAME}".sh "${@:2}" ;;
help | -h | --help) usage ;;
*) usage >&2; exit 2 ;;
esac
