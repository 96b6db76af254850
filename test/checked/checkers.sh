# What dev/test needs of a checker, sanitizers, valgrind or, with no tool around the server, its assertions: it sets $checker and sources this.
# shellcheck shell=bash disable=SC2154 # dev/lib.sh and dev/test set the other names.

# What a checker reports, a file for each process.
reports=$scratch/reports

# Lines of src that have to be covered, in percent.
least_coverage=95

# Prints settings for make. Nothing is optimized, so that each line has a count of its own. PostgreSQL has numbers that overflow wrap around,
# and then UBSan says nothing of them: none of ours should.
checker_flags() {
	if [ "$checker" = sanitizers ]; then
		say 'COPT=-Werror -O0 -fno-wrapv -fsanitize=address,undefined -fno-sanitize-recover=all --coverage'
	else
		say 'COPT=-Werror'
	fi
}

# Has every server in the private copy of PostgreSQL run under the checker: its program becomes a script that starts it.
wrap_server() {
	local program=$postgres_prefix/bin/postgres
	"${as_server[@]}" mkdir "$reports"
	if [ "$checker" = assertions ]; then
		return
	fi
	"${as_server[@]}" mv "$program" "$program.checked"
	"wrapper_of_$checker" "$program.checked" | "${as_server[@]}" tee "$program" >/dev/null
	"${as_server[@]}" chmod +x "$program"
}

# A process ends by a signal after its report, so that the server goes down, too. What a server has not freed at its end is no leak.
# UBSan looks for its options at its first report, when the server has written its title over the environment; so a library has them.
# It writes into the server's log.
# A restart starts what the server took for its program: hence this script's name.
# AddressSanitizer of gcc 12 can loop at its start where the kernel moves memory far: hence setarch, unless that is forbidden.
wrapper_of_sanitizers() {
	say 'const char *__ubsan_default_options(void) { return "abort_on_error=1:print_stacktrace=1"; }' |
		"${as_server[@]}" gcc -shared -fPIC -x c -o "$scratch/ubsan_options.so" -
	cat <<-SCRIPT
		#!/bin/bash
		export ASAN_OPTIONS=detect_leaks=0:abort_on_error=1:log_path=$reports/report
		preload=$(gcc -print-file-name=libasan.so):$scratch/ubsan_options.so
		exec $(if "${as_server[@]}" setarch -R true 2>/dev/null; then say 'setarch -R'; fi) \\
			bash -c 'export LD_PRELOAD="\$1"; exec -a "\$0" $1 "\${@:2}"' "\$0" "\$preload" "\$@"
	SCRIPT
}

# Initdb's servers run without it: they are not what is tested.
wrapper_of_valgrind() {
	cat <<-SCRIPT
		#!/bin/sh
		case "\$1" in
			-V | --version | --boot | --check | --single) exec $1 "\$@" ;;
		esac
		exec valgrind --quiet --leak-check=no --num-callers=40 --log-file=$reports/report.%p \\
			--suppressions=$postgres_prefix/valgrind.supp $1 "\$@"
	SCRIPT
}

# Returns whether the server of the cluster does run under the checker.
is_checked() {
	local pid
	pid=$(head -n 1 "$scratch/data/postmaster.pid")
	case $checker in
		assertions) [ "$(sql --command='SHOW debug_assertions')" = on ] ;;
		sanitizers) "${as_server[@]}" grep -q libasan "/proc/$pid/maps" ;;
		valgrind) "${as_server[@]}" grep -q vgpreload_memcheck "/proc/$pid/maps" ;;
	esac
}

# Waits, for a minute at most, until a server that went down with a process of its own is there again: PostgreSQL 15 can wait for itself
# if it is to stop before.
await_recovery() {
	local tries=0
	until "${as_server[@]}" pg_isready --quiet || [ $tries = 600 ]; do
		tries=$((tries + 1))
		sleep 0.1
	done
}

# A line of TAP.
report() {
	if [ "$1" = 0 ]; then say "ok $2"; else say "not ok $2"; fi
}

# Whether the server was what it seems, whether it ends, and that the checker says nothing of it.
run_reports() {
	local checked=0 ended=0 quiet=0 file logs complaints
	is_checked || checked=$?
	await_recovery
	"${as_server[@]}" pg_ctl stop --silent --mode=fast --timeout=300 --pgdata="$scratch/data" || ended=$?
	for file in "$reports"/*; do
		if [ -s "$file" ]; then
			quiet=1
			head -n 200 "$file" | sed "s|^|# ${file##*/}: |"
		fi
	done >"$log"
	# Failed assertions; UBSan; and what was written past its piece of memory, of which PostgreSQL only warns.
	mapfile -t logs < <(find "$scratch" -path '*/log/*' -type f ! -path "$log")
	if complaints=$(grep -A 30 -E '^TRAP:|runtime error: |ERROR: AddressSanitizer|problem in (alloc set|Generation|slab) ' "${logs[@]}"); then
		quiet=1
		sed -n '1,200s/^/# /p' <<<"$complaints" >>"$log"
	fi
	{
		report $checked "1 - the server runs under $checker"
		report $ended "2 - it ends"
		report $quiet "3 - $checker has nothing to report"
	} >>"$log"
	[ $checked$ended$quiet = 000 ]
}

# How many lines of src ran, file by file, and which did not: shown even if they are few.
run_coverage() {
	local status=0
	"${as_server[@]}" env --chdir="$scratch/source" gcovr --root=. --filter=src/ --sort-uncovered --fail-under-line=$least_coverage . "$scratch/tmp" \
		>"$scratch/log/gcovr" 2>&1 || status=$?
	cat "$scratch/log/gcovr"
	report $status "1 - $least_coverage % of the lines of src are covered: $(grep '^TOTAL' "$scratch/log/gcovr" | tr -s ' ')" | tee "$log"
	return $status
}
