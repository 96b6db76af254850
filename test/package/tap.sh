# What the scripts in this folder share; they source it, in a folder with a Debian of its own or on the machine that made that.
# shellcheck shell=bash

set -euo pipefail

# Runs a command, or a function, and writes a line of TAP without a number; after one that failed what it wrote.
check() {
	local what=$1 output status=0
	shift
	output=$(mktemp)
	# Not as a condition, in which a function would go on after what fails in it; and in the background, so that a signal is not kept waiting.
	(
		set -e
		"$@"
	) >"$output" 2>&1 &
	wait $! || status=$?
	if [ $status = 0 ]; then
		printf 'ok - %s\n' "$what"
	else
		printf 'not ok - %s\n' "$what"
		tail -n 60 "$output" | cut -c 1-500 | sed 's/^/# /'
	fi
	rm "$output"
}

# Succeeds if two texts are the same.
same() {
	diff -u <(printf '%s\n' "$1") <(printf '%s\n' "$2")
}
