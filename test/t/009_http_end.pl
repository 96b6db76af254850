# A worker that is told to end answers what is under way, closes what is idle, and is gone soon, whatever clients do; others go on, and
# one is started in its place.
use strict;
use warnings;

use File::Basename;
use lib dirname(__FILE__);
use HttpNode;
use PostgreSQL::Test::BackgroundPsql;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $connections = $ENV{HTTP_CONNECTIONS} || 2000;
my ($node, $port) = create_http_node('main', restart_after_crash => 'on', 'session_files.http_max_connections' => 10_000, 'session_files.http_idle_timeout' => '1h');
# Far more than a second or two, for machines that are busy, and far less than lock_timeout below.
my $soon = 20;
$node->start;
fill($node, 'postgres');
$node->safe_psql('postgres', q{
	ALTER ROLE session_files_authenticator SET lock_timeout = '10min';
	ALTER ROLE session_files_authenticator SET statement_timeout = 0;
});
$node->restart;
await_serving($node, $port, 2);
my $page = await_answer($port, 200, $listing)->{body};

# A session that holds a lock which listings wait for.
sub lock_files
{
	my $psql = $node->background_psql('postgres');
	$psql->query_safe('BEGIN; LOCK TABLE session_files.upload_sessions IN ACCESS EXCLUSIVE MODE');
	return $psql;
}

my $waiting = q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'session_files http worker' AND wait_event_type = 'Lock'};

# Sends a listing and waits until it waits for the lock; returns the connection.
sub wait_for_lock
{
	my $socket = dial($port);
	print $socket request($listing);
	$node->poll_query_until('postgres', $waiting, '1') or die 'no request waits';
	return $socket;
}

sub pid_of_waiting
{
	return $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'session_files http worker' AND wait_event_type = 'Lock'});
}

sub restarts
{
	my ($count) = ask($port, '/metrics')->{body} =~ /^session_files_http_worker_restarts_total (\d+)$/m;
	return $count;
}

# What a listing shows of itself.
my $psql = lock_files();
my $socket = wait_for_lock();
is($node->safe_psql('postgres', q{SELECT DISTINCT state, query, usename, datname FROM pg_stat_activity WHERE wait_event_type = 'Lock'}),
	"active|GET $listing|session_files_authenticator|postgres", 'a request shows in pg_stat_activity');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'session_files http worker' AND state = 'idle'}),
	'1', 'the other worker is idle');

# A worker that waits for a lock is told to end: 503, and the others do not notice.
my @others = map { dial($port) } 1 .. 20;
my @kept;
my $victim = pid_of_waiting();
for my $other (@others)
{
	print $other request('/metrics');
	push @kept, $other if IO::Select->new($other)->can_read(0.5);
}
ok(@kept > 0, scalar(@kept) . ' of 20 connections are with the other worker');
read_answer($_) for @kept;
my $start = time;
$node->safe_psql('postgres', "SELECT pg_terminate_backend($victim)");
my $answer = read_answer($socket);
is("$answer->{status} $answer->{headers}{connection}", '503 close', 'a request that waits for a lock is answered with 503 when its worker ends');
ok(ends_cleanly($socket), 'and its connection closed');
$node->poll_query_until('postgres', "SELECT count(*) FROM pg_stat_activity WHERE pid = $victim", '0') or die 'it did not end';
cmp_ok(time - $start, '<', $soon, 'soon');
undef @others;
$psql->query_safe('COMMIT');
await_serving($node, $port, 2);
is(scalar(grep { ask_on($_, '/metrics')->{status} == 200 } @kept), scalar(@kept), 'connections to the other worker are untouched');
is(restarts(), 1, 'the restart is counted');
is(ask_on($kept[0], $listing)->{body}, $page, 'all is served again');

# What is idle is closed at once; half a request has a second to become a whole one, and is answered then.
reconfigure($node, 'session_files.http_workers' => 1);
$node->restart;
await_serving($node, $port, 1);
my ($idle, $half) = (dial($port), dial($port));
ask_on($_, '/metrics') for $idle, $half;
print $half substr(request($listing), 0, -10);
# By the time of this answer the half is read.
ask_on($idle, '/metrics');
my $first = worker_pids($node);
$node->safe_psql('postgres', "SELECT pg_terminate_backend($first)");
ok(ends_cleanly($idle), 'an idle connection is closed');
print $half substr(request($listing), -10);
$answer = read_answer($half);
is("$answer->{status} $answer->{headers}{connection} $answer->{body}", "200 close $page", 'and what was half sent is still answered');
reconfigure($node, 'session_files.http_workers' => 2);
$node->restart;
await_serving($node, $port, 2);

# An end of all, with thousands of idle connections, half a request, and one that waits.
sub stop_with
{
	my ($name, $clients, $mode) = @_;
	my @idle = map { dial($port) // die "connection: $!" } 1 .. $clients;
	ask_on($_, '/metrics') for @idle[ 0 .. 9 ];
	my @half = map { dial($port) } 1 .. 10;
	print $_ substr(request($listing), 0, 30) for @half[ 0 .. 4 ];
	print $_ substr(request($listing), 0, -10) for @half[ 5 .. 9 ];
	# Until each of them is with a worker.
	await('the connections are counted', sub {
		my ($count) = ask($port, '/metrics')->{body} =~ /^session_files_http_connections (\d+)$/m;
		return $count >= $clients + 10;
	});
	my $lock = lock_files();
	my $request = wait_for_lock();
	my $begin = time;
	$node->stop($mode, fail_ok => 1);
	my $took = time - $begin;
	cmp_ok($took, '<', $soon, sprintf('%s: over in %.1f s', $name, $took));
	# It is cancelled, unless who holds the lock ends first.
	my $last = read_answer($request);
	like($last->{status}, $mode eq 'fast' ? qr/^(?:200|503)$/ : qr/^0$/, "$name: what waited was " . ($mode eq 'fast' ? 'answered' : 'cut off'));
	is(scalar(grep { !read_more_of($_) } @idle, @half), $clients + 10, "$name: all connections have ended");
	is(scalar(grep { ${*$_}{reset} } @idle), 0, "$name: none of the idle ones by a reset") if $mode eq 'fast';
	eval { $lock->quit };
	$node->start;
	await_serving($node, $port, 2);
	is(await_answer($port, 200, $listing)->{body}, $page, "$name: served again");
}

sub read_more_of
{
	my ($connection) = @_;
	return HttpNode::read_more($connection);
}

stop_with("stopped, $connections connections", $connections, 'fast');
stop_with('stopped at once', 100, 'immediate');

# A request under way gets its answer: it waits for a lock that is given up while the worker ends.
$psql = lock_files();
my @requests = map { dial($port) } 1 .. 5;
print $_ request($listing) for @requests;
$node->poll_query_until('postgres', "SELECT ($waiting) > 0") or die 'no request waits';
$psql->query_safe('COMMIT');
my @answers = map { read_answer($_) } @requests;
is(scalar(grep { $_->{status} == 200 && $_->{body} eq $page } @answers), 5, 'requests that waited are answered');

# kill -9 of a worker: PostgreSQL starts all processes again.
my $position = log_position($node);
($first) = split(/ /, worker_pids($node));
kill('KILL', $first);
await_log($node, $position, 'all server processes terminated; reinitializing');
$node->poll_query_until('postgres', $workers, '2') or die 'the workers did not come back';
is(await_answer($port, 200, $listing)->{body}, $page, 'after a crash all is served again');

no_complaints($node, qr/terminated by signal 9|terminating connection because of crash|immediate shutdown|WARNING:  terminating connection/);
$node->stop;
done_testing();
