# Folders with a Debian of their own, for what must be tried where nothing else is installed; sourced after lib.sh, by root. Commands run in
# them with mounts and processes of their own, which all end with the command, however it ends.
# shellcheck shell=bash

# Makes the place for them: not under /tmp, where there may be no room, and no devices. Who calls it sees to close_folders at the end.
open_folders() {
	folders=$(mktemp -d /var/tmp/session_files.XXXXXX)
}

# Prints this machine's sources of a suite of Debian, and of its updates, one a line: address, suite, component; or, if it has none, the
# suite at the address that it has for another one.
debian_sources() {
	local suite=$1 sources
	# shellcheck disable=SC2016 # apt knows them.
	sources=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Identifier: Packages' 'Origin: Debian' 'Component: main')
	if grep -q " $suite main" <<<"$sources"; then
		grep " $suite" <<<"$sources"
	else
		awk -v suite="$suite" '$2 !~ /-/ { print $1, suite, $3; exit }' <<<"$sources"
	fi
}

# Makes a folder in $folders with a suite of Debian. Nothing in there starts services, or waits for the disk.
make_folder() {
	local folder=$1 suite=$2 sources
	sources=$(debian_sources "$suite")
	[ -n "$sources" ] || die "apt has no source of Debian; apt-get update finds those that it is configured for"
	mkdir -p "$folder"/etc/{apt,dpkg/dpkg.cfg.d} "$folder/usr/sbin"
	printf 'force-unsafe-io\n' >"$folder/etc/dpkg/dpkg.cfg.d/unsafe-io"
	apart "$folder" debootstrap --variant=minbase "$suite" "$folder" "$(awk -v suite="$suite" '$2 == suite { print $1; exit }' <<<"$sources")"
	awk '{ print "deb", $0 }' <<<"$sources" >"$folder/etc/apt/sources.list"
	# Through the same proxy, but with files and folders of its own; from a mirror that may be a little old.
	{
		printf '%s\n' 'Acquire::Check-Valid-Until "false";'
		apt-config dump | sed -nE '/^Acquire::(https?|Retries|ForceIPv[46])(::[^ ]*)? "/p'
	} >"$folder/etc/apt/apt.conf.d/acquire"
	printf '#!/bin/sh\nexit 101\n' >"$folder/usr/sbin/policy-rc.d"
	chmod 755 "$folder/usr/sbin/policy-rc.d"
	enter "$folder" apt-get -qq update
}

# Runs a command in a folder. With --offline first, it has a network of its own, with a loopback interface and nothing else.
enter() {
	local network=()
	if [ "$1" = --offline ]; then
		network=(--net)
		shift
	fi
	local folder=$1
	shift
	# shellcheck disable=SC2016 # For the shell that is in there.
	apart "$folder" "${network[@]}" bash -euc '
		folder=$1
		shift
		if ! ip -oneline link show up | grep -q .; then ip link set lo up; fi
		mount -t proc proc "$folder/proc"
		mount -t tmpfs -o mode=755 tmpfs "$folder/dev"
		mkdir "$folder/dev/shm"
		mount -t tmpfs -o mode=1777 tmpfs "$folder/dev/shm"
		for device in full null random tty urandom zero; do
			: >"$folder/dev/$device"
			mount --bind "/dev/$device" "$folder/dev/$device"
		done
		mkdir "$folder/dev/pts"
		mount -t devpts -o newinstance,ptmxmode=0666 devpts "$folder/dev/pts"
		ln -s pts/ptmx "$folder/dev/ptmx"
		ln -s /proc/self/fd "$folder/dev/fd"
		# Not chroot, in which no user may make a user namespace, as a test does.
		mount --rbind "$folder" "$folder"
		cd "$folder"
		mkdir -p .outside
		pivot_root . .outside
		umount --lazy .outside
		rmdir .outside
		exec "$@"' enter "$folder" \
		env -i HOME=/root LC_ALL=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive "$@"
}

# Runs a command with mounts and processes of its own, and perhaps a network; beside the folder is the id of the process that takes the others
# with it. In the background, so that a signal is not kept waiting until its end.
apart() {
	local folder=$1 network=() status=0
	shift
	if [ "$1" = --net ]; then
		network=(--net)
		shift
	fi
	# shellcheck disable=SC2016
	bash -c 'echo $$ >"$1"; shift; exec "$@"' apart "$folder.pid" \
		unshare --mount --pid --fork --kill-child "${network[@]}" -- "$@" </dev/null &
	wait $! || status=$?
	rm -f "$folder.pid"
	return $status
}

# Ends what runs in the folders, and removes them.
close_folders() {
	local file pid
	if [ -z "${folders:-}" ]; then
		return
	fi
	for file in "$folders"/*.pid; do
		if [ -e "$file" ]; then
			pid=$(<"$file")
			kill -KILL "$pid" || true
			while [ -e "/proc/$pid" ]; do sleep 0.05; done
		fi
	done
	remove_folder "$folders"
}

# All that runs there ends with its first process, but not at once: it may still write. And who ends this script may not have the patience.
remove_folder() {
	setsid --wait rm -rf --one-file-system "$1" || { sleep 1 && setsid --wait rm -rf --one-file-system "$1"; }
}
