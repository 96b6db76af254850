# The end of a closed session is announced, once, also when the transactions that finish its last files cannot see each other: one of
# them has gone through all of its commit but the last step.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(allows_streaming => 1, extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->start;
$node->safe_psql('postgres', q{CREATE EXTENSION session_files; SELECT session_files.create_workspace('w')});
# A transaction that does not ask for a local commit waits for a standby that never comes, with its changes not visible yet.
$node->append_conf('postgresql.conf', q{synchronous_standby_names = 'absent'});
$node->reload;
$node->poll_query_until('postgres', q{SELECT current_setting('synchronous_standby_names') = 'absent'}) or die 'no reload';

my $local = 'SET synchronous_commit = local;';
my $listener = $node->background_psql('postgres');
$listener->query_safe('LISTEN session_files_done');

# A session of few files, and one of so many that the first transaction need not fear to be the last.
foreach my $count (2, 10002)
{
	my $session = $node->safe_psql('postgres', qq{$local SELECT session_files.create_session('w')});
	$node->safe_psql('postgres', qq{$local
		SELECT count(*) FROM session_files.register_files('$session', ARRAY(SELECT n::text FROM generate_series(1, $count) n));
		SELECT session_files.close_session('$session');
	});
	my $finish = qq{SELECT count(*) FROM session_files.finish_files('$session', ARRAY(SELECT file_ingestion_id FROM session_files.files
		WHERE session_id = '$session' AND (name = '1') = %s));};

	my $first = $node->background_psql('postgres');
	$first->query_until(qr/begun/, '\\echo begun' . "\n" . sprintf($finish, 'true') . "\n");
	$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'}) or die 'it does not wait';
	my $second = $node->background_psql('postgres');
	$second->query_safe($local);
	$second->query_until(qr/begun/, '\\echo begun' . "\n" . sprintf($finish, 'false') . "\n");
	# The second waits for the first, or has done its part.
	$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted}) or die 'it does not wait';
	$node->safe_psql('postgres', q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'});
	$node->poll_query_until('postgres', qq{SELECT sum(pending) = 0 FROM session_files.file_counts WHERE session_id = '$session'}) or die 'not all are finished';
	$first->quit;
	$second->quit;

	my $heard = $listener->query('SELECT 1');
	my @announced = $heard =~ /Asynchronous notification "session_files_done" with payload "$session"/g;
	is(scalar(@announced), 1, "announced once, of $count files");
}

$listener->quit;
$node->stop;
done_testing();
