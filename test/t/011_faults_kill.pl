# Whatever process dies, and however the server is stopped, in the middle of whatever: each transaction is there as a whole or not at all,
# what was acknowledged is there, totals are exact, the HTTP server answers right or not at all and serves again by itself.
# FAULTS_ROUNDS, FAULTS_SEED.
use strict;
use warnings;

use File::Basename;
use List::Util qw(shuffle);
use lib dirname(__FILE__);
use Faults;
use HttpNode;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

# Recovery replays all since the start, so that it takes a while.
my ($node, $port) = create_faults_node('main', checkpoint_timeout => '1h', max_wal_size => '2GB', log_checkpoints => 'on');
$node->start;
fill_faults($node);
my $page = await_answer($port, 200, $listing)->{body};
my ($kills, $in_replay) = (0, 0);

# Processes of a kind, by what must be true of their row.
sub pids_of
{
	my ($condition) = @_;
	return split(' ', $node->safe_psql('postgres', "SELECT string_agg(pid::text, ' ') FROM pg_stat_activity WHERE $condition"));
}

# Kills one process; the server must notice, and come back by itself.
sub kill_one
{
	my ($what, $condition) = @_;
	my @pids;
	await("there is $what", sub { @pids = pids_of($condition); return @pids > 0 });
	my $position = log_position($node);
	# The process can be gone: another one then.
	return kill_one($what, $condition) unless kill('KILL', $pids[ rand @pids ]);
	await_log($node, $position, qr/was terminated by signal 9/);
	await_log($node, $position, qr/database system is ready to accept connections/);
}

# Kills the postmaster: the others must go by themselves.
sub kill_postmaster
{
	my @pids = pids_of('true');
	$node->kill9;
	await('all processes are gone', sub { return !kill(0, @pids) });
}

# Stops the server without a checkpoint, or kills it, and does so again while it replays.
sub stop_in_replay
{
	my ($stop) = @_;
	$node->stop('immediate');
	my $position = log_position($node);
	my @start = ('pg_ctl', 'start', '--no-wait', '--silent', '-D', $node->data_dir, '-l', $node->logfile);
	system_or_bail(@start);
	await('the replay begins', sub { usleep(500); return lines_since($node, $position, qr/redo starts at/) > 0 });
	$node->_update_pid(1);
	$stop->();
	$in_replay++ if lines_since($node, $position, qr/redo done at/) == 0;
	$node->start;
}

# Kills a client whose transaction is committed, and does not know that yet: it waits for a standby that never comes.
sub kill_unanswered
{
	$node->safe_psql('postgres', q{ALTER SYSTEM SET synchronous_standby_names = 'absent'});
	$node->reload;
	my $unanswered = q{application_name = 'ledger' AND wait_event = 'SyncRep'};
	await('there is a client without an answer', sub { return pids_of($unanswered) > 0 });
	# To be read only after the server has come back, without an end of the wait before that.
	$node->safe_psql('postgres', 'ALTER SYSTEM RESET synchronous_standby_names');
	kill_one('a client without an answer', $unanswered);
	$node->reload;
}

my $active = q{application_name = 'ledger' AND state = 'active'};
my %faults = (
	'a client of files' => [ \&kill_one, 'a client', $active ],
	'a client that registers or finishes' => [ \&kill_one, 'a client that changes files', "$active AND query ~ 'register_files|INSERT|finish_files|UPDATE|COPY'" ],
	'a client that claims' => [ \&kill_one, 'a client that claims', q{application_name = 'ledger' AND query ~ 'claim_files'} ],
	'a client that commits' => [ \&kill_one, 'a client that commits', q{application_name = 'ledger' AND query ~ '^COMMIT|^PREPARE'} ],
	'a client that has committed' => [ \&kill_unanswered ],
	'an HTTP worker' => [ \&kill_one, 'an HTTP worker', q{backend_type = 'session_files http worker'} ],
	'the maintenance worker' => [ \&kill_one, 'the maintenance worker', q{backend_type = 'session_files maintenance'} ],
	'the checkpointer' => [ \&kill_one, 'the checkpointer', q{backend_type = 'checkpointer'} ],
	'the WAL writer' => [ \&kill_one, 'the WAL writer', q{backend_type = 'walwriter'} ],
	'an autovacuum worker' => [ \&kill_one, 'an autovacuum worker', q{backend_type = 'autovacuum worker'} ],
	'the postmaster' => [ sub { kill_postmaster(); $node->start } ],
	'an immediate stop' => [ sub { $node->stop('immediate'); $node->start } ],
	'a stop while it replays' => [ \&stop_in_replay, sub { $node->stop('immediate') } ],
	'the postmaster while it replays' => [ \&stop_in_replay, sub {
		my $pid = $node->{_pid};
		my @children = split(' ', slurp_file("/proc/$pid/task/$pid/children"));
		$node->kill9;
		await('all processes are gone', sub { return !kill(0, @children) });
	} ]);

for my $round (1 .. $rounds)
{
	my $load = start_load($node, "round$round");
	my $end_answers = start_answers($port, $page);
	for my $name (shuffle(sort keys %faults))
	{
		await_load($load, 20);
		my ($fault, @arguments) = @{ $faults{$name} };
		$fault->(@arguments);
		$kills++;
		await_serving($node, $port, 2);
		await_answer($port, 200, $listing);
		$node->poll_query_until('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'session_files maintenance'}, '1')
			or die 'there is no maintenance worker';
		totals_are_exact($node, "round $round, $name");
	}
	await_load($load, 20);
	$end_answers->("round $round");
	settle_down($load, "round $round");
}
cmp_ok(count_ends('found'), '>', 0, 'transactions were there that had got no answer');
cmp_ok($in_replay, '>', 0, "$kills faults, $in_replay of them while WAL was replayed");
pages_are_intact($node, 'in the end');
no_complaints($node, qr/terminating (?:connection|any other active server processes)|was terminated by signal 9|because of crash of another/);
$node->stop;
done_testing();
