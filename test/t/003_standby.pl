# A standby lists what has been replayed, byte for byte as its primary does, to whom it was granted.
use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 1, extra => [ '--encoding=UTF8', '--locale=C' ]);
$primary->append_conf('postgresql.conf', 'max_prepared_transactions = 1');
$primary->start;
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;

$primary->safe_psql('postgres', q{
	CREATE EXTENSION session_files;
	INSERT INTO session_files.workspaces VALUES ('w');
	INSERT INTO session_files.upload_sessions (session_id, workspace_name) VALUES ('00000000-0000-7000-8000-000000000001', 'w');
	SELECT count(*) FROM session_files.register_files('00000000-0000-7000-8000-000000000001', ARRAY(SELECT 'file ' || n FROM generate_series(1, 500) n));
	UPDATE session_files.files SET ingestion_status = 'FAILED', ingestion_status_reason = 'SLOWDOWN' WHERE name LIKE '%3%';
});
$primary->wait_for_catchup($standby);

my $listings = q{
	SELECT session_files.get_session_files('w', '00000000-0000-7000-8000-000000000001', status, 20, field => field, "order" => direction, page_number => page)
	FROM unnest(ARRAY['created_at', 'ingestion_status', 'ingestion_status_reason', 'name']) field, unnest(ARRAY['ASC', 'DESC']) direction,
		unnest(ARRAY[NULL, 'FAILED', 'PENDING']) status, unnest(ARRAY[1, 2, 9]) page
};
$listings .= q{;
	SELECT headers FROM session_files.handle_request('GET', '/api/v1/workspaces/w/upload_sessions/00000000-0000-7000-8000-000000000001/files?limit=1')};
my $expected = $primary->safe_psql('postgres', $listings);
is(scalar(split /\n/, $expected), 73, 'the primary lists');
like($expected, qr/"ETag":/, 'and gives an ETag');
is($standby->safe_psql('postgres', $listings), $expected, 'the standby lists the same');
is($standby->safe_psql('postgres', 'SELECT count(*), sum(broken) FROM session_files.check()'), '17|0', 'and checks itself');

my ($status, $out, $error) = $standby->psql('postgres', q{SELECT * FROM session_files.claim_files('w')});
like($error, qr/cannot execute claim_files\(\) in a read-only transaction/, 'the standby gives no files away');

# A connection to the standby that has shown a session shows it no more once a revoke is replayed, be it in the same transaction; one that
# was prepared counts when it is committed.
$primary->safe_psql('postgres', q{
	CREATE ROLE reader;
	GRANT SELECT ON session_files.files TO reader;
	SELECT session_files.grant_workspace('reader', 'w');
});
$primary->wait_for_catchup($standby);
my $request = q{(session_files.handle_request('GET', '/api/v1/workspaces/w/upload_sessions/00000000-0000-7000-8000-000000000001/files')).status};
my @reader_commands = (
	q{SET application_name = 'reader'}, 'SET ROLE reader', "SELECT $request", qq{
	DO \$\$
	BEGIN
		FOR tries IN 1..6000 LOOP
			IF $request = 404 THEN
				RETURN;
			END IF;
			PERFORM pg_sleep(0.01);
		END LOOP;
		RAISE EXCEPTION 'listed still';
	END
	\$\$}, "SELECT $request, (SELECT count(*) FROM session_files.files)");
my ($seen, $complaints) = ('', '');
my $reader = IPC::Run::start(
	[ 'psql', '--no-psqlrc', '--no-align', '--tuples-only', '--quiet', '--set=ON_ERROR_STOP=1', '--dbname', $standby->connstr('postgres'),
		map { ('--command', $_) } @reader_commands ],
	'>', \$seen, '2>', \$complaints);
ok($standby->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'reader' AND query LIKE '%tries%'}),
	'a reader lists on the standby');
$primary->safe_psql('postgres', q{
	BEGIN;
	SELECT session_files.revoke_workspace('reader', 'w');
	PREPARE TRANSACTION 'revoke';
});
$primary->wait_for_catchup($standby);
is($standby->safe_psql('postgres', "SET ROLE reader; SELECT $request"), '200', 'a prepared revoke does not count');
$primary->safe_psql('postgres', q{COMMIT PREPARED 'revoke'});
IPC::Run::finish($reader);
is($seen, "200\n404|0\n", 'a revoke is replayed into the answers that a connection keeps');
is($complaints, '', 'without complaints');

$standby->promote;
is($standby->safe_psql('postgres', q{SELECT count(*) FROM session_files.claim_files('w', 10)}), '10', 'promoted, it does');
$standby->safe_psql('postgres', q{
	SELECT session_files.register_files('00000000-0000-7000-8000-000000000001', ARRAY['after promotion']);
});
is($standby->safe_psql('postgres', q{
	SELECT session_files.get_session_files('w', '00000000-0000-7000-8000-000000000001', "limit" => 0) ->> 'total', (SELECT count(*) FROM session_files.files)
}), '501|501', 'promoted, it counts on');

$standby->stop;
$primary->stop;
done_testing();
