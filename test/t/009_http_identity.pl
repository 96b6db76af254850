# A token names the role of a request, policies see the request, and nothing of it is left for the next one; what runs too long is cancelled.
use strict;
use warnings;

use File::Basename;
use lib dirname(__FILE__);
use HttpNode;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $secret = 'a secret of at least 32 bytes, for this test';
my ($node, $port) = create_http_node('main', 'session_files.http_workers' => 1, 'session_files.http_jwt_secret' => $secret);
$node->start;
fill($node, 'postgres');
$node->safe_psql('postgres', q{
	CREATE ROLE lister;
	CREATE ROLE nothing;
	CREATE ROLE stranger;
	CREATE ROLE boss SUPERUSER;
	GRANT lister, nothing, boss TO session_files_authenticator;
	SELECT session_files.grant_workspace(role, NULL) FROM unnest('{lister,stranger}'::regrole[]) AS role;
});
my $connection = dial($port) // do { await('the server listens', sub { return defined dial($port) }); dial($port) };

# Asks on the one connection, as a role.
sub ask_as
{
	my ($role, @headers) = @_;
	return ask_on($connection, $listing, token($secret, qq({"role":"$role","sub":"me"})), @headers);
}

sub is_answer
{
	my ($answer, $expected, $name) = @_;
	return is("$answer->{status} $answer->{body}", $expected, $name);
}

my $forbidden = '403 {"detail":"Forbidden"}';
my $page = ask_on($connection, $listing)->{body};
is_answer(ask_as('lister'), "200 $page", 'a role that may list');
is(ask_as('nothing')->{status}, 404, 'a role without a grant');
$node->safe_psql('postgres', 'REVOKE EXECUTE ON FUNCTION session_files.handle_request FROM PUBLIC; GRANT EXECUTE ON FUNCTION session_files.handle_request TO lister, session_files_anonymous');
is_answer(ask_as('nothing'), $forbidden, 'a role from which an administrator took the function');
is_answer(ask_as('stranger'), $forbidden, 'a role with a grant that is not granted to the authenticator');
is_answer(ask_as('boss'), $forbidden, 'a superuser, though granted');
is_answer(ask_as('session_files_authenticator'), $forbidden, 'the authenticator itself');
is_answer(ask_as('nobody_of_that_name'), $forbidden, 'a role that is not there');
is_answer(ask_as('none'), $forbidden, 'a word of SET ROLE');
is_answer(ask_on($connection, $listing), "200 $page", 'without a token it is the anonymous role again');

# Tokens that are wrong.
for my $bad (
	[ 'another key', token("another $secret", '{"role":"lister"}') ],
	[ 'expired', token($secret, '{"role":"lister","exp":1000000000}') ],
	[ 'not yet valid', token($secret, '{"role":"lister","nbf":9000000000}') ],
	[ 'no token', 'Authorization: Bearer x' ],
	[ 'no claims', token($secret, '[]') ])
{
	my $answer = ask_on($connection, $listing, $bad->[1]);
	is_answer($answer, '401 {"detail":"Unauthorized"}', "$bad->[0]: 401");
	like($answer->{headers}{'www-authenticate'}, qr/^Bearer error="invalid_token", error_description="(?:[^"\\]|\\.)+"$/, "$bad->[0]: and why");
}
is_answer(ask_as('lister'), "200 $page", 'and the connection goes on');

# The role can be taken away, and comes back, while tokens are remembered.
$node->safe_psql('postgres', 'REVOKE lister FROM session_files_authenticator');
is_answer(ask_as('lister'), $forbidden, 'a role that is not granted any more');
$node->safe_psql('postgres', 'GRANT lister TO session_files_authenticator');
is_answer(ask_as('lister'), "200 $page", 'granted again');
$node->safe_psql('postgres', 'ALTER ROLE lister SUPERUSER');
is_answer(ask_as('lister'), $forbidden, 'made a superuser');
$node->safe_psql('postgres', 'ALTER ROLE lister NOSUPERUSER');

# What a request tells of itself, seen by a function that the listing calls: as the role, in its transaction.
is($node->safe_psql('postgres', q{SELECT DISTINCT usename, usesuper FROM pg_stat_activity JOIN pg_user USING (usename) WHERE backend_type = 'session_files http worker'}),
	'session_files_authenticator|f', 'the worker has logged in as no superuser');
my $lock = $node->background_psql('postgres');
$lock->query_safe('BEGIN; LOCK TABLE session_files.upload_sessions IN ACCESS EXCLUSIVE MODE');
my $second = dial($port);
print $second request($listing, token($secret, '{"role":"lister"}'));
my $active = q{SELECT query FROM pg_stat_activity WHERE backend_type = 'session_files http worker' AND state = 'active' AND wait_event_type = 'Lock'};
$node->poll_query_until('postgres', $active, "GET $listing") or die 'the request does not show';
pass('a request shows in pg_stat_activity while it runs');
my $cancel = q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE backend_type = 'session_files http worker'};
$node->safe_psql('postgres', $cancel);
my $unavailable = '503 {"detail":"Service Unavailable"}';
is_answer(read_answer($second), $unavailable, 'cancelled by pg_cancel_backend: 503');
my $position = log_position($node);
is_answer(ask_on($second, $listing), $unavailable, 'lock_timeout of the role that logs in: 503');
await_log($node, $position, 'canceling statement due to lock timeout');
await_log($node, $position, 'STATEMENT:  GET /api/v1/workspaces');
my $old_worker = worker_pids($node);
$node->safe_psql('postgres', q{
	ALTER ROLE session_files_authenticator SET lock_timeout = 0;
	ALTER ROLE session_files_authenticator SET statement_timeout = '300ms';
	SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'session_files http worker'
});
await('the worker is a new one', sub { my $worker = worker_pids($node); return $worker && $worker ne $old_worker });
await('it listens', sub { $connection = dial($port); return $connection && ask_on($connection, '/metrics')->{status} == 200 });
$position = log_position($node);
is_answer(ask_on($connection, $listing), $unavailable, 'statement_timeout: 503');
await_log($node, $position, 'canceling statement due to statement timeout');
is_answer(ask_on($connection, $listing), $unavailable, 'again, on the same connection');
$lock->query_safe('COMMIT');
$lock->quit;
is_answer(ask_on($connection, $listing), "200 $page", 'which goes on');

# An idle worker does not care; the request after that is not cancelled.
my $pids = worker_pids($node);
for (1 .. 5)
{
	$node->safe_psql('postgres', $cancel);
	is_answer(ask_as('lister'), "200 $page", 'after pg_cancel_backend at idle');
}
is(worker_pids($node), $pids, 'pg_cancel_backend at idle does nothing');
$node->poll_query_until('postgres', q{SELECT state FROM pg_stat_activity WHERE backend_type = 'session_files http worker'}, 'idle') or die 'it is not idle';
pass('after a request the worker is idle');

# Counters.
my $counters = q{SELECT sum(idx_scan) FROM pg_stat_user_tables WHERE schemaname = 'session_files' AND relname IN ('files', 'upload_sessions')};
my $commits = q{SELECT xact_commit FROM pg_stat_database WHERE datname = 'postgres'};
my ($scans, $before) = map { $node->safe_psql('postgres', $_) } $counters, $commits;
ask_on($connection, $listing) for 1 .. 200;
$node->poll_query_until('postgres', "SELECT ($counters) >= $scans + 200 AND ($commits) >= $before + 200") or die 'the counters do not rise';
pass('the scans and transactions of requests are counted');

# Memory: what a worker holds does not grow.
sub memory
{
	my ($kilobytes) = slurp_file("/proc/$pids/status") =~ /^RssAnon:\s+(\d+)/m;
	return $kilobytes;
}
my $count = $ENV{HTTP_REQUESTS} || 3000;
my @kinds = (
	[$listing], [ $listing, token($secret, '{"role":"lister"}') ], [ $listing, token($secret, '{"role":"nothing"}') ],
	[ $listing, 'Authorization: Bearer x' ], ['/nothing?limit=1'], ["$listing&limit=x&before=1"], ['/metrics']);
ask_on($connection, @{ $kinds[ $_ % @kinds ] }) for 1 .. $count;
my $memory = memory();
ask_on($connection, @{ $kinds[ $_ % @kinds ] }) for 1 .. $count;
SKIP:
{
	skip 'AddressSanitizer holds back what is freed', 1 if slurp_file("/proc/$pids/maps") =~ /libasan/;
	cmp_ok(memory(), '<', $memory + 256, "$count requests more: no more memory ($memory kB, then " . memory() . ')');
}

no_complaints($node);
$node->stop;
done_testing();
