# A full disk undoes what needs room, and nothing else: what reads goes on, nothing is lost, and with room again all goes on; where the
# WAL finds no room the server stops, and recovers. The data folder and the WAL are on small file systems in memory, which a plain user
# can mount in a namespace of its own; so the test runs in one.
# FAULTS_ROUNDS, FAULTS_SEED.
use strict;
use warnings;

use File::Basename;
use POSIX ();

# Mounts, then has this file run again inside, as who it was outside: PostgreSQL refuses root, also one that is root only there. The first
# process in there is a shell, which waits for those that lose their parent; with it all others end.
BEGIN
{
	if (!$ENV{FAULTS_DISKS})
	{
		my $folder = $ENV{TESTDIR} // die 'TESTDIR is not set';
		my $disks = "$folder/disks";
		mkdir $disks;
		my $inside = q{
			mkdir -p "$1/tmp_check" "$1/wal"
			mount -t tmpfs -o size=128m,mode=700 data "$1/tmp_check" && mount -t tmpfs -o size=56m,mode=700 wal "$1/wal" || exit 1
			# The logs stay where they were; before PostgreSQL 16 they are in the folder of the data.
			ln -s "$2/tmp_check/log" "$1/tmp_check/log"
			user=$3 group=$4
			export FAULTS_DISKS=$1 TESTDIR=$1 TESTDATADIR=$1/tmp_check
			shift 4
			unshare --user --map-user="$user" --map-group="$group" "$@"
			exit $?
		};
		exec('unshare', '--user', '--map-root-user', '--mount', '--pid', '--fork', '--kill-child', 'sh', '-c', $inside, 'sh',
			$disks, $folder, POSIX::getuid(), POSIX::getgid(), $^X, $0) or die "unshare: $!";
	}
}

use lib dirname(__FILE__);
use Faults;
use HttpNode;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my %disks = (data => "$ENV{FAULTS_DISKS}/tmp_check", wal => "$ENV{FAULTS_DISKS}/wal");
my ($node, $port) = create_faults_node('main',
	max_wal_size => '32MB', min_wal_size => '2MB', wal_recycle => 'off', checkpoint_timeout => '1h');
# The WAL on its own disk, in small files.
system_or_bail('pg_resetwal', '--wal-segsize=1', '-D', $node->data_dir);
system_or_bail('mv', $node->data_dir . '/pg_wal', "$disks{wal}/pg_wal");
symlink("$disks{wal}/pg_wal", $node->data_dir . '/pg_wal') or die "symlink: $!";
$node->start;
fill_faults($node);
my $page = await_answer($port, 200, $listing)->{body};

# Takes all room but so many kilobytes.
sub fill_disk
{
	my ($disk, $left) = @_;
	my ($free) = `df --output=avail --block-size=1K $disks{$disk}` =~ /(\d+)/;
	die 'df says nothing' unless defined $free;
	# The server may be faster, and leave it less.
	system('dd', 'if=/dev/zero', "of=$disks{$disk}/ballast", 'bs=1024', 'count=' . ($free > $left ? $free - $left : 0), 'status=none');
	die 'no ballast' unless -e "$disks{$disk}/ballast";
}

sub free_disk
{
	my ($disk) = @_;
	unlink("$disks{$disk}/ballast") or die "ballast: $!";
}

# How many transactions of the load the full disk has undone.
sub undone
{
	return count_ends('error 53100');
}

# Another one after a crash.
my $started = q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'};

sub started
{
	return $node->safe_psql('postgres', $started);
}

# Waits until the server has recovered by itself, or starts it, if it went for good as it found no room for that.
sub comes_back
{
	my ($position) = @_;
	await('the server is back, or gone', sub {
		$node->_update_pid(-1);
		return !defined $node->{_pid} || lines_since($node, $position, qr/database system is ready to accept connections/) > 0;
	});
	$node->start if !defined $node->{_pid};
	await_serving($node, $port, 2);
}

for my $round (1 .. $rounds)
{
	# The tables and their indexes find no room. The load then stands still, for without room PostgreSQL fails at its next checkpoint.
	my $load = start_load($node, "data$round", errors => ['53100'], files => 1_000_000);
	await_load($load, 50);
	$node->safe_psql('postgres', 'CHECKPOINT');
	my ($server, $before) = (started(), undone());
	# A new connection may find no room for the files that it would leave to the next ones; then PostgreSQL refuses it.
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	$session->query_safe(q{SET work_mem = '256MB'});
	my $end_answers = start_answers($port, $page);
	fill_disk('data', 100);
	await('transactions are undone', sub { return undone() >= $before + 20 });
	kill('STOP', $load->{pid});
	is(ask($port, $listing)->{body}, $page, "round $round: a full disk does not keep it from listing");
	totals_are_exact($session, "round $round, data full");
	is($session->query_safe($started), $server, "round $round: the server did not go down for it");

	# At that checkpoint: it stops, recovers, and refuses connections before there is room, or some.
	my $position = log_position($node);
	eval { $session->query('CHECKPOINT') };
	eval { $session->quit };
	free_disk('data');
	kill('CONT', $load->{pid});
	comes_back($position) if lines_since($node, $position, qr/PANIC/) > 0;
	await_load($load, 50);
	$end_answers->("round $round, data full");
	settle_down($load, "round $round, with room again");
	$server = started();

	# What check() and repair() sort finds no room.
	$node->safe_psql('postgres', q{
		INSERT INTO session_files.files (session_id, name)
			SELECT '00000000-0000-7000-8000-000000000001', 'sorted ' || n FROM generate_series(1, 40000) n;
		SET session_replication_role = replica;
		DELETE FROM session_files.file_queue WHERE session_id = '00000000-0000-7000-8000-000000000001';
	});
	$session = $node->background_psql('postgres', on_error_stop => 0);
	$session->query_safe(q{SET work_mem = '64kB'});
	fill_disk('data', 200);
	for my $call ('check', 'repair')
	{
		$session->query("SELECT * FROM session_files.$call()");
		like($session->{stderr}, qr/No space left on device/, "round $round: $call() finds no room to sort");
		$session->{stderr} = '';
	}
	$session->quit;
	free_disk('data');
	is($node->safe_psql('postgres', q{SELECT repaired FROM session_files.repair() WHERE invariant = 'queue'}), 40020,
		"round $round: it has repaired nothing before, and does so with room again");
	$node->safe_psql('postgres', q{DELETE FROM session_files.files WHERE name LIKE 'sorted %'});
	totals_are_exact($node, "round $round, after repair()");
	$node->safe_psql('postgres', 'VACUUM session_files.files, session_files.file_queue');
	is(started(), $server, "round $round: the server did not go down for it either");

	# The WAL finds no room.
	$load = start_load($node, "wal$round", errors => ['53100']);
	await_load($load, 50);
	$position = log_position($node);
	$end_answers = start_answers($port, $page);
	fill_disk('wal', 0);
	await_log($node, $position, qr/PANIC:  .*No space left on device/);
	free_disk('wal');
	comes_back($position);
	await_load($load, 50);
	$end_answers->("round $round, WAL full");
	settle_down($load, "round $round, with room for WAL again");
	pages_are_intact($node, "round $round");
	drop_loads($node);
}
$node->stop;
done_testing();
