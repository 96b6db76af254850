# Pages are right while the leaves of the indexes that they come from are split, emptied, deleted and reused: listers compare
# each page with what SQL says under the same snapshot, beside writers that add, rename, change and remove files, and VACUUM.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('pages');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->append_conf('postgresql.conf', "autovacuum_naptime = 1s\nautovacuum_vacuum_cost_delay = 0");
$node->start;

$node->safe_psql('postgres', q{
	CREATE EXTENSION session_files;
	INSERT INTO session_files.workspaces VALUES ('w');
	INSERT INTO session_files.upload_sessions (session_id, workspace_name) VALUES ('00000000-0000-7000-8000-000000000001', 'w');
	SELECT count(*) FROM session_files.register_files('00000000-0000-7000-8000-000000000001', ARRAY(SELECT md5(n::text) FROM generate_series(1, 3000) n));

	-- A random page, by a cursor or by number; raises an error unless it is what SQL says.
	CREATE FUNCTION check_page() RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		session uuid := '00000000-0000-7000-8000-000000000001';
		field text := (ARRAY['created_at', 'ingestion_status', 'ingestion_status_reason', 'name'])[1 + random() * 3];
		direction text := (ARRAY['ASC', 'DESC'])[1 + random()];
		status text := (ARRAY[NULL, 'FAILED', 'FINISHED', 'PENDING'])[1 + random() * 3];
		backward bool := random() < 0.5;
		size int := 1 + random() * 99;
		ids uuid[];
		place int;
		expected uuid[];
		page json;
	BEGIN
		EXECUTE format('SELECT array_agg(file_ingestion_id ORDER BY %1$I %2$s, file_ingestion_id %2$s) FROM session_files.files
				WHERE session_id = $1 AND ($2 IS NULL OR ingestion_status::text = $2)',
			replace(field, 'created_at', 'file_ingestion_id'), direction) INTO ids USING session, status;
		place := 1 + floor(random() * cardinality(ids));
		IF place IS NULL OR cardinality(ids) = 0 THEN
			RETURN;
		END IF;
		page := session_files.get_session_files('w', session, status, size, CASE WHEN backward THEN ids[place] END,
			CASE WHEN NOT backward THEN ids[place] END, NULL, field, direction);
		expected := CASE WHEN backward THEN ids[greatest(place - size, 1):place - 1] ELSE ids[place + 1:place + size] END;
		IF ARRAY(SELECT (entry ->> 'file_ingestion_id')::uuid FROM json_array_elements(page -> 'data') entry) <> expected
			OR (page ->> 'total')::int <> cardinality(ids) THEN
			RAISE EXCEPTION 'wrong page: % % % % % %', field, direction, status, backward, size, page;
		END IF;
	END $$;

	-- A random change: single files, or a stretch of names or ids that empties leaves.
	CREATE FUNCTION change_files() RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		session uuid := '00000000-0000-7000-8000-000000000001';
		start text := md5(random()::text);
	BEGIN
		CASE floor(random() * 4)
			WHEN 0 THEN
				PERFORM session_files.register_files(session, ARRAY(SELECT substr(start, 1, 2) || md5(random()::text) FROM generate_series(1, 120)));
			WHEN 1 THEN
				DELETE FROM session_files.files AS f WHERE f.session_id = session AND f.name BETWEEN start AND start || 'z'
					OR f.file_ingestion_id IN (SELECT file_ingestion_id FROM session_files.files ORDER BY file_ingestion_id LIMIT 100);
			WHEN 2 THEN
				UPDATE session_files.files SET ingestion_status = 'FINISHED', ingestion_status_reason = NULL WHERE name BETWEEN start AND left(start, 1) || 'g';
			ELSE
				UPDATE session_files.files SET ingestion_status = 'FAILED', ingestion_status_reason = 'SLOWDOWN', name = md5(name)
					WHERE name BETWEEN left(start, 2) AND left(start, 2) || 'g';
		END CASE;
	EXCEPTION WHEN deadlock_detected OR unique_violation THEN
		NULL;
	END $$;
});

my %script = (
	check => "BEGIN ISOLATION LEVEL REPEATABLE READ;\nSELECT check_page();\nCOMMIT;\n",
	change => "SELECT change_files();\n");
for my $name (keys %script)
{
	PostgreSQL::Test::Utils::append_to_file($node->basedir . "/$name.sql", $script{$name});
}
my ($writers_out, $writers_err) = ('', '');
my $writers = IPC::Run::start(
	[ 'pgbench', '--no-vacuum', '--client=2', '--transactions=100000', '--file', $node->basedir . '/change.sql', $node->connstr('postgres') ],
	'>' => \$writers_out, '2>' => \$writers_err);

my ($stdout, $stderr) = ('', '');
IPC::Run::run(
	[ 'pgbench', '--no-vacuum', '--client=2', '--transactions=1000', '--file', $node->basedir . '/check.sql', $node->connstr('postgres') ],
	'>' => \$stdout, '2>' => \$stderr);
like($stdout, qr{number of transactions actually processed: 2000/2000}, 'two listers read 1,000 pages each');
unlike($stderr, qr/wrong page|ERROR/, 'each page is what SQL says') or diag($stderr);

ok($writers->pumpable, 'the writers were at work to the end') or diag($writers_err);
$writers->kill_kill;
cmp_ok($node->safe_psql('postgres', q{SELECT n_tup_upd + n_tup_ins + n_tup_del FROM pg_stat_user_tables WHERE relname = 'files'}), '>', 10_000, 'the files changed');
is( $node->safe_psql('postgres', q{
	SELECT (session_files.get_session_files('w', '00000000-0000-7000-8000-000000000001', "limit" => 0) ->> 'total')::int - count(*) FROM session_files.files
}), '0', 'the total is exact');

$node->stop;
done_testing();
