# A standby serves what it has replayed, goes on after its promotion, and a conflict with recovery costs one request, no connection.
use strict;
use warnings;

use File::Basename;
use lib dirname(__FILE__);
use HttpNode;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my ($primary, $port) = create_http_node('primary');
$primary->start;
fill($primary, 'postgres');
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
my $standby_port = PostgreSQL::Test::Cluster::get_free_port();
$standby->init_from_backup($primary, 'base', has_streaming => 1);
reconfigure($standby, 'session_files.http_port' => $standby_port, max_standby_streaming_delay => '50ms');
$standby->start;

my $page = await_answer($port, 200, $listing)->{body};
my $kept = dial($standby_port) // do { await('the standby listens', sub { return defined dial($standby_port) }); dial($standby_port) };
$primary->wait_for_catchup($standby);
is(ask_on($kept, $listing)->{body}, $page, 'a standby serves what its primary does');

# Follows.
$primary->safe_psql('postgres', q{SELECT session_files.register_files('00000000-0000-7000-8000-000000000001', ARRAY['one more'])});
$primary->wait_for_catchup($standby);
my $longer = ask($port, $listing)->{body};
isnt($longer, $page, 'the primary lists one more');
is(ask_on($kept, $listing)->{body}, $longer, 'so does the standby');

# A request waits for a lock that the primary took: it is cancelled, or waits, and the connection goes on.
my $lock = $primary->background_psql('postgres');
$lock->query_safe('BEGIN; LOCK TABLE session_files.upload_sessions IN ACCESS EXCLUSIVE MODE; SELECT pg_switch_wal()');
$primary->wait_for_catchup($standby);
my $answer = ask_on($kept, $listing);
is("$answer->{status} $answer->{body}", '503 {"detail":"Service Unavailable"}', 'a table that the primary has locked: 503');
$lock->query_safe('COMMIT');
$lock->quit;
$primary->wait_for_catchup($standby);
is(ask_on($kept, $listing)->{body}, $longer, 'and the connection goes on');

# A request that waits for one table holds another, which the primary locks then: recovery cancels it.
$primary->safe_psql('postgres', q{
	ALTER ROLE session_files_authenticator SET lock_timeout = 0;
	ALTER ROLE session_files_authenticator SET statement_timeout = 0;
});
$primary->wait_for_catchup($standby);
my $before = worker_pids($standby);
$standby->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'session_files http worker'});
$standby->poll_query_until('postgres', "$workers AND pid NOT IN (" . join(', ', split(/ /, $before)) . ')', '2') or die 'no new workers';
await_answer($standby_port, 200, $listing);
$kept = dial($standby_port);
my ($files, $sessions) = map { $primary->background_psql('postgres') } 1 .. 2;
$files->query_safe('BEGIN; LOCK TABLE session_files.files IN ACCESS EXCLUSIVE MODE; SELECT pg_switch_wal()');
$primary->wait_for_catchup($standby);
print $kept request($listing);
$standby->poll_query_until('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'session_files http worker' AND wait_event_type = 'Lock'}, '1')
	or die 'no request waits';
my $position = log_position($standby);
$sessions->query_safe('BEGIN; LOCK TABLE session_files.upload_sessions IN ACCESS EXCLUSIVE MODE; SELECT pg_switch_wal()');
$answer = read_answer($kept);
is("$answer->{status} $answer->{body}", '503 {"detail":"Service Unavailable"}', 'a conflict with recovery: 503');
await_log($standby, $position, 'conflict with recovery');
for my $session ($sessions, $files)
{
	$session->query_safe('COMMIT');
	$session->quit;
}
$primary->wait_for_catchup($standby);
is(ask_on($kept, $listing)->{body}, $longer, 'and the connection goes on');

# Recovery that has to remove what requests may read: under load, answers are right or 503.
my ($load, $out) = run_helper('load', $standby_port, $listing, 4, 0);
$primary->safe_psql('postgres', q{
	CREATE TABLE dead (n int);
	INSERT INTO dead SELECT generate_series(1, 1000);
	DELETE FROM dead;
	UPDATE session_files.upload_sessions SET expires_at = expires_at;
});
for (1 .. 10)
{
	$primary->safe_psql('postgres', 'UPDATE session_files.files SET name = name');
	$primary->safe_psql('postgres', 'VACUUM FULL session_files.files');
	$primary->safe_psql('postgres', 'VACUUM session_files.upload_sessions');
}
$primary->wait_for_catchup($standby);
kill('TERM', $load);
my %seen = map { split(/\t/, $_) } split(/\n/, do { local $/; <$out> });
close($out);
delete $seen{connections};
my $right = delete $seen{"200 $longer"};
my $conflicts = delete $seen{'503 {"detail":"Service Unavailable"}'} // 0;
ok($right, "while tables were rewritten: $right right answers, $conflicts cancelled");
is(join("\n", map { "$seen{$_} times $_" } keys %seen), '', 'no other answer');

# Promoted.
my $pids = worker_pids($standby);
$kept = dial($standby_port);
is(ask_on($kept, $listing)->{body}, $longer, 'before the promotion');
$standby->promote;
$standby->safe_psql('postgres', q{SELECT session_files.register_files('00000000-0000-7000-8000-000000000001', ARRAY['after promotion'])});
like(ask_on($kept, $listing)->{body}, qr/after promotion/, 'promoted, it lists what was written since, on the same connection');
is(worker_pids($standby), $pids, 'by the same workers');

no_complaints($primary);
no_complaints($standby);
$standby->stop;
$primary->stop;
done_testing();
