# The maintenance worker expires sessions by itself, whatever happens to the extension meanwhile; without its setting there is none.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'session_files'
session_files.maintenance_database = 'postgres'
session_files.maintenance_interval = 1
session_files.max_attempts = 3
});
$node->start;

my $workers = q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'session_files maintenance'};

sub create_and_expire
{
	my ($name) = @_;

	$node->safe_psql('postgres', q{
		CREATE EXTENSION session_files;
		SELECT session_files.create_workspace('w');
		SELECT session_files.register_files(session_files.create_session('w'), ARRAY(SELECT n::text FROM generate_series(1, 250) n));
		UPDATE session_files.upload_sessions SET created_at = now() - interval '2 hours', expires_at = now() - interval '1 hour';
	});
	$node->poll_query_until('postgres', q{SELECT bool_and(status = 'EXPIRED') FROM session_files.upload_sessions}) or die 'it did not expire';
	is($node->safe_psql('postgres', q{SELECT DISTINCT ingestion_status, ingestion_status_reason FROM session_files.files}),
		'FAILED|FILE_NOT_FOUND', $name);
}

# It is there before the extension is.
$node->poll_query_until('postgres', $workers, '1') or die 'the worker did not start';
create_and_expire('a session expires');

$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'session_files maintenance' AND state = 'idle' AND query LIKE '%maintain()'})
	or die 'the worker is not idle';
pass('between its calls the worker is idle');

$node->safe_psql('postgres', 'DROP EXTENSION session_files CASCADE');
create_and_expire('a session expires when the extension was dropped and created');

# An error is logged, and does not end the worker.
my $pid = $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'session_files maintenance'});
my $log_start = -s $node->logfile;
$node->safe_psql('postgres', 'ALTER TABLE session_files.file_queue RENAME TO away');
$node->safe_psql('postgres', q{UPDATE session_files.upload_sessions SET status = 'OPEN'});
$node->poll_query_until('postgres', qq{SELECT pg_read_file('@{[ $node->logfile ]}', $log_start, 100000000) LIKE '%file_queue%does not exist%'})
	or die 'no error was logged';
$node->safe_psql('postgres', 'ALTER TABLE session_files.away RENAME TO file_queue');
$node->poll_query_until('postgres', q{SELECT status = 'EXPIRED' FROM session_files.upload_sessions}) or die 'it did not go on';
is($node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'session_files maintenance'}), $pid,
	'the same worker goes on after an error');

# Retention is taken up by a reload.
$node->append_conf('postgresql.conf', q{session_files.session_retention = '10min'});
$node->reload;
$node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM session_files.upload_sessions}) or die 'it was not deleted';
is($node->safe_psql('postgres', 'SELECT count(*) FROM session_files.files'), '0', 'a session that expired long ago is deleted with its files');

$node->append_conf('postgresql.conf', q{session_files.maintenance_database = ''});
$node->restart;
is($node->safe_psql('postgres', $workers), '0', 'without its setting there is no worker');
is($node->safe_psql('postgres', 'SHOW session_files.max_attempts'), '3', 'a setting of postgresql.conf holds when the library is preloaded');

$node->append_conf('postgresql.conf', q{shared_preload_libraries = ''});
$node->restart;
is($node->safe_psql('postgres', q{SELECT session_files.retry_at('SLOWDOWN', 2) IS NOT NULL, session_files.retry_at('SLOWDOWN', 3) IS NULL}), 't|t',
	'and when it is not');

$node->stop;
done_testing();
