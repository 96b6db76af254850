# The maintenance worker expires sessions by itself, whatever happens to the extension meanwhile; if no setting names its database, the log says so.
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
$node->safe_psql('postgres', 'ALTER FUNCTION session_files._maintain_session RENAME TO away');
$node->safe_psql('postgres', q{UPDATE session_files.upload_sessions SET status = 'OPEN'});
$node->poll_query_until('postgres', qq{SELECT pg_read_file('@{[ $node->logfile ]}', $log_start, 100000000) LIKE '%ERROR:%_maintain_session%does not exist%'})
	or die 'no error was logged';
$node->safe_psql('postgres', 'ALTER FUNCTION session_files.away RENAME TO _maintain_session');
$node->poll_query_until('postgres', q{SELECT status = 'EXPIRED' FROM session_files.upload_sessions}) or die 'it did not go on';
is($node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'session_files maintenance'}), $pid,
	'the same worker goes on after an error');

# One session that cannot be expired is logged, and keeps no other.
$node->safe_psql('postgres', q{
	CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'it is refused' USING ERRCODE = 'XX123'; END $$;
	CREATE TRIGGER refuse BEFORE UPDATE OF status ON session_files.upload_sessions FOR EACH ROW WHEN (NEW.write_mode = 'FAIL') EXECUTE FUNCTION refuse();
	INSERT INTO session_files.upload_sessions (workspace_name, write_mode, created_at, expires_at)
		SELECT 'w', CASE n WHEN 1 THEN 'FAIL' ELSE 'KEEP' END::session_files.write_mode, now() - interval '2 hours', now() - interval '1 hour'
		FROM generate_series(1, 10) AS n;
});
$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM session_files.upload_sessions WHERE status <> 'EXPIRED'}) or die 'the others did not expire';
my $bad = $node->safe_psql('postgres', q{SELECT session_id FROM session_files.upload_sessions WHERE status <> 'EXPIRED'});
$node->poll_query_until('postgres', qq{SELECT pg_read_file('@{[ $node->logfile ]}', $log_start, 100000000)
	LIKE '%WARNING:  maintain() leaves session "$bad" as it is: it is refused (SQLSTATE XX123)%'}) or die 'no warning was logged';
pass('a session that meets an error is logged, and the others expire');
$node->safe_psql('postgres', 'DROP FUNCTION refuse CASCADE');
$node->poll_query_until('postgres', q{SELECT bool_and(status = 'EXPIRED') FROM session_files.upload_sessions}) or die 'it did not expire';

# 0 pauses it, until another reload.
sub set_interval
{
	my ($seconds) = @_;

	$node->append_conf('postgresql.conf', "session_files.maintenance_interval = $seconds");
	$node->reload;
	$node->poll_query_until('postgres', qq{SELECT setting = '$seconds' FROM pg_settings WHERE name = 'session_files.maintenance_interval'}) or die 'no reload';
}
set_interval(0);
$node->safe_psql('postgres', q{UPDATE session_files.upload_sessions SET status = 'CLOSED'});
set_interval(1);
$node->poll_query_until('postgres', q{SELECT bool_and(status = 'EXPIRED') FROM session_files.upload_sessions}) or die 'it did not go on';
pass('it goes on after a pause');

# Retention is taken up by a reload.
$node->append_conf('postgresql.conf', q{session_files.session_retention = '10min'});
$node->reload;
$node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM session_files.upload_sessions}) or die 'it was not deleted';
is($node->safe_psql('postgres', 'SELECT count(*) FROM session_files.files'), '0', 'a session that expired long ago is deleted with its files');

# What is logged at a start, of this subject.
sub restart_with
{
	my $start = -s $node->logfile;

	$node->append_conf('postgresql.conf', join("\n", @_));
	$node->restart;
	return join '', grep { /expires sessions|session_files\.maintenance/ } split /^/, substr(slurp_file($node->logfile), $start);
}
like(restart_with(q{session_files.maintenance_database = ''}), qr/LOG:  no database is set in which session_files expires sessions by itself\n.*HINT:  Set session_files.maintenance_database/,
	'without its setting the log says that there is no worker');
is($node->safe_psql('postgres', $workers), '0', 'and there is none');
is(restart_with('session_files.maintenance_interval = 0'), '', 'nothing is said where a scheduler calls maintain()');
restart_with('session_files.maintenance_interval = 1', 'session_files.http_workers = 1', q{session_files.http_database = 'template1'});
$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'session_files maintenance' AND datname = 'template1'})
	or die 'the worker did not start';
pass('its database is the one that is served over HTTP, if there is one');
restart_with('session_files.http_workers = 0');
is($node->safe_psql('postgres', 'SHOW session_files.max_attempts'), '3', 'a setting of postgresql.conf holds when the library is preloaded');

$node->append_conf('postgresql.conf', qq{shared_preload_libraries = ''\nsession_files.max_attempts = 1});
$node->restart;
$node->safe_psql('postgres', q{
	DELETE FROM session_files.upload_sessions;
	CREATE TABLE made AS SELECT session_files.create_session('w') AS session_id;
	SELECT session_files.register_files(session_id, ARRAY['a']) FROM made;
});
is($node->safe_psql('postgres', q{
	SELECT ingestion_status FROM session_files.claim_files('worker', 1) AS c, session_files.fail_files(c.session_id, ARRAY[c.file_ingestion_id], 'SLOWDOWN', c.lease_token)
}), 'FAILED', 'and when it is not');

$node->stop;
done_testing();
