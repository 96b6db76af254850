# ALTER EXTENSION … UPDATE: from a version that was released, in use, to this one. Catalog and privileges come out as those of a fresh
# install, data and answers stay, and the library serves both; an extension that it does not know it refuses.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my @released = ('1.0');

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->start;
my $current = $node->safe_psql('postgres', q{SELECT default_version FROM pg_available_extensions WHERE name = 'session_files'});
isnt($current, $released[-1], 'this version is newer than what was released');

# All that the extension consists of: each object with its definition, comment, owner and privileges, initial ones too.
my $catalog = q{
	SELECT pg_describe_object(classid, objid, 0), obj_description(objid, classid::regclass::name)
		FROM pg_depend WHERE refclassid = 'pg_extension'::regclass AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'session_files') AND deptype = 'e'
		ORDER BY 1;
	SELECT p.oid::regprocedure, pg_get_functiondef(p.oid), proacl::text, proowner::regrole FROM pg_proc p WHERE pronamespace = 'session_files'::regnamespace ORDER BY p.oid::regprocedure::text;
	SELECT relname, relkind, reloptions, relrowsecurity, relforcerowsecurity, relpersistence, relacl::text, relowner::regrole,
			CASE WHEN relkind = 'v' THEN pg_get_viewdef(oid) WHEN relkind = 'i' THEN pg_get_indexdef(oid) END
		FROM pg_class WHERE relnamespace = 'session_files'::regnamespace ORDER BY 1;
	SELECT attrelid::regclass, attnum, attname, format_type(atttypid, atttypmod), attnotnull, attcollation::regcollation, attstorage, attcompression, attstattarget, attacl::text,
			pg_get_expr(adbin, adrelid), col_description(attrelid, attnum)
		FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
		WHERE attrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'session_files'::regnamespace) AND attnum > 0 ORDER BY attrelid::regclass::text, 2;
	SELECT conrelid::regclass, conname, pg_get_constraintdef(oid), convalidated FROM pg_constraint WHERE connamespace = 'session_files'::regnamespace ORDER BY conrelid::regclass::text, 2;
	SELECT tgrelid::regclass, tgenabled, pg_get_triggerdef(oid) FROM pg_trigger
		WHERE tgrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'session_files'::regnamespace) AND NOT tgisinternal ORDER BY tgrelid::regclass::text, tgname;
	SELECT polrelid::regclass, polname, polcmd, polpermissive, polroles, pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid) FROM pg_policy ORDER BY polrelid::regclass::text, 2;
	SELECT t.oid::regtype, typtype, typacl::text, enumlabel FROM pg_type t LEFT JOIN pg_enum ON enumtypid = t.oid
		WHERE typnamespace = 'session_files'::regnamespace ORDER BY t.oid::regtype::text, enumsortorder;
	SELECT pg_describe_object(classoid, objoid, objsubid), privtype, initprivs FROM pg_init_privs
		WHERE (classoid, objoid) IN (SELECT classid, objid FROM pg_depend WHERE refclassid = 'pg_extension'::regclass
			AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'session_files')) ORDER BY 1;
	SELECT unnest(extconfig)::regclass::text, unnest(extcondition), extversion, extnamespace::regnamespace FROM pg_extension WHERE extname = 'session_files' ORDER BY 1;
	SELECT nspname, coalesce(nspacl, acldefault('n', nspowner)), nspowner::regrole FROM pg_namespace WHERE nspname = 'session_files';
};

# Uses a version: sessions with files of every status, claimed, put off, tried again, released; grants; what an administrator has changed.
my $fill = q{
	SELECT session_files.create_workspace('w' || n) FROM generate_series(1, 3) n;
	SELECT session_files.create_session('w' || n) FROM generate_series(1, 3) n;
	SELECT count(*) FROM session_files.upload_sessions s, LATERAL session_files.register_files(s.session_id, ARRAY(SELECT 'file ' || n FROM generate_series(1, 500) n) || repeat('x', 801));
	SELECT count(f.changed) FROM session_files.upload_sessions s, LATERAL session_files.finish_files(s.session_id,
		ARRAY(SELECT file_ingestion_id FROM session_files.files g WHERE g.session_id = s.session_id AND name LIKE '%3')) f;
	SELECT count(f.changed) FROM session_files.upload_sessions s, LATERAL session_files.fail_files(s.session_id,
		ARRAY(SELECT file_ingestion_id FROM session_files.files g WHERE g.session_id = s.session_id AND name LIKE '%4'), 'EMPTY_FILE') f;
	SELECT session_files.retry_failed(session_id, '{EMPTY_FILE}') FROM session_files.upload_sessions WHERE workspace_name = 'w1';
	SELECT count(*) FROM session_files.claim_files('holder', 100, '1 hour');
	WITH c AS MATERIALIZED (SELECT * FROM session_files.claim_files('slow', 10, '1 hour'))
		SELECT count(f.retry_at) FROM (SELECT session_id, lease_token, array_agg(file_ingestion_id) AS ids FROM c GROUP BY 1, 2) c, LATERAL session_files.fail_files(c.session_id, c.ids, 'SLOWDOWN', c.lease_token) f;
	SELECT session_files.close_session(session_id) FROM session_files.upload_sessions WHERE workspace_name = 'w3';
	CREATE ROLE reader_DB;
	GRANT USAGE ON SCHEMA session_files TO reader_DB;
	GRANT SELECT ON ALL TABLES IN SCHEMA session_files TO reader_DB;
	GRANT EXECUTE ON FUNCTION session_files.get_session_files TO reader_DB;
	SELECT session_files.grant_workspace('reader_DB', 'w2');
};
my $data = join ';', (map { "SELECT * FROM session_files.$_ ORDER BY 1, 2" } ('workspaces', 'upload_sessions', 'files', 'workspace_grants')),
	'SELECT * FROM session_files.file_counts ORDER BY 1, 2', 'SELECT * FROM session_files.file_queue ORDER BY 1, 2, 3',
	q{SELECT session_files.handle_request('GET', format('/api/v1/workspaces/%s/upload_sessions/%s/files?limit=100&field=%s', workspace_name, session_id, field))
		FROM session_files.upload_sessions, unnest('{name,created_at,ingestion_status,ingestion_status_reason}'::text[]) field ORDER BY session_id, field};

# What psql prints; the library is loaded anew in each session, as it is after an upgrade.
sub ask { my ($database, $sql) = @_; return $node->safe_psql($database, $sql); }

ask('postgres', 'CREATE DATABASE fresh');
ask('fresh', 'CREATE EXTENSION session_files');
my $expected = ask('fresh', $catalog);
like($expected, qr/function session_files\.repair\(\)/, 'the catalog has something to compare');

foreach my $version (@released)
{
	my $database = 'from_' . $version =~ s/\./_/r;

	ask('postgres', "CREATE DATABASE $database");
	ask($database, "CREATE EXTENSION session_files VERSION '$version'");
	ask($database, $fill =~ s/reader_DB/reader_$database/gr);
	my $before = ask($database, $data);
	like($before, qr/total"+:501\}/, "$version: the library of $current serves it");
	like($before, qr/\|holder$/m, "$version: and its workers");
	is(ask($database, q{SELECT sum(cardinality(file_ingestion_ids)) FROM session_files.file_queue WHERE claimed_at IS NOT NULL AND lease_token IS NULL}), '10', "$version: files are put off");

	# By every way in which rows go, and come back.
	is(ask($database, q{BEGIN; DELETE FROM session_files.files WHERE name = 'deleted';
		INSERT INTO session_files.files (session_id, file_ingestion_id, name) SELECT session_id, '01900000-0000-7000-8000-000000000001', 'anew'
			FROM session_files.upload_sessions WHERE workspace_name = 'w2';
		UPDATE session_files.files SET file_ingestion_id = session_files.uuid7() WHERE name = 'anew';
		SELECT sum(pending) FROM session_files.file_counts; DELETE FROM session_files.upload_sessions WHERE workspace_name = 'w2';
		TRUNCATE session_files.files; SELECT count(*) FROM session_files.file_queue; ROLLBACK}) =~ s/\d+/n/r, "n\n0", "$version: and whatever writes");

	# A file that is deleted while it is in the queue, whose id comes back after the update.
	ask($database, q{INSERT INTO session_files.files (session_id, file_ingestion_id, name)
			SELECT session_id, '01900000-0000-7000-8000-000000000002', 'deleted' FROM session_files.upload_sessions WHERE workspace_name = 'w2';
		DELETE FROM session_files.files WHERE name = 'deleted'});
	$before = ask($database, $data);

	# Statistics, which would stay, for ANALYZE does not collect any more.
	ask($database, 'ANALYZE');
	my $statistics = q{SELECT count(*) FROM pg_statistic JOIN pg_class AS c ON c.oid = starelid WHERE relnamespace = 'session_files'::regnamespace};
	cmp_ok(ask($database, $statistics), '>', 20, "$version: there are statistics");

	# A backend that has used the old version goes on with the new one.
	my $old = $node->background_psql($database);
	my $list = q{SELECT session_files.get_session_files(workspace_name, session_id, "limit" => 0) FROM session_files.upload_sessions ORDER BY session_id};
	my $listed = $old->query_safe($list);
	ask($database, 'ALTER EXTENSION session_files UPDATE');
	is($old->query_safe($list), $listed, "$version: a backend from before the update lists the same after it");
	is($old->query_safe(q{SELECT count(*) FROM session_files.check() WHERE broken > 0}), '0', "$version: and has the new functions");
	$old->quit;

	is(ask($database, q{SELECT extversion FROM pg_extension WHERE extname = 'session_files'}), $current, "$version: updated");
	is(ask($database, $data), $before, "$version: data and answers are as they were");
	is(ask($database, q{SELECT session_files.get_session_files('w2', session_id, "limit" => 0)::json -> 'total' FROM session_files.upload_sessions WHERE workspace_name = 'w2'}),
		'501', "$version: totals too");
	is(ask($database, q{SELECT count(*) FROM session_files.check() WHERE broken > 0}), '0', "$version: check() finds nothing");
	is(ask($database, q{BEGIN; INSERT INTO session_files.files (session_id, file_ingestion_id, name)
			SELECT session_id, '01900000-0000-7000-8000-000000000002', 'anew' FROM session_files.upload_sessions WHERE workspace_name = 'w2';
		SELECT retries FROM session_files.files WHERE name = 'anew';
		SELECT count(*) FROM session_files.check() WHERE broken > 0; ROLLBACK}), "1\n0", "$version: an id that was deleted before can come back");
	is(ask($database, qq{SET ROLE reader_$database; SELECT count(*) FROM session_files.files}), '501', "$version: grants hold");
	is(ask($database, "$statistics; ANALYZE; $statistics"), "0\n0", "$version: no statistics tell of the rows");
	is(ask($database, q{SELECT count(*) > 0 FROM session_files.claim_files('next', 10)}), 't', "$version: work goes on");
	# What the administrator granted is not the extension's: it is taken back to compare.
	ask($database, "DROP OWNED BY reader_$database; DROP ROLE reader_$database;");
	my $updated = ask($database, $catalog);
	ok($updated eq $expected, "$version: its catalog is that of a fresh install")
		or diag(join "\n", 'Only updated:', grep { index($expected, $_) < 0 } split /\n/, $updated);
	# Rows that the rules of now do not allow: the update says so, and changes nothing. Long names, which had other keys in the indexes of
	# 1.0: the indexes stay as another function has made them, until the update.
	my $long = "long_$database";
	ask('postgres', "CREATE DATABASE $long");
	ask($long, qq{CREATE EXTENSION session_files VERSION '$version';
		SELECT session_files.create_workspace('w'), session_files.create_session('w')});
	my $name_key = ask($long, q{SELECT pg_get_functiondef('session_files.name_key'::regproc)});
	ask($long, q{CREATE OR REPLACE FUNCTION session_files.name_key(name text) RETURNS bytea LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
			AS $$ SELECT CASE WHEN char_length(name) <= 300 THEN convert_to(name, 'UTF8') ELSE sha256(convert_to(name, 'UTF8')) END $$});
	ask($long, q{INSERT INTO session_files.files (session_id, name) SELECT session_id, repeat('é', length) || n
		FROM session_files.upload_sessions, unnest('{5,300,799,820}'::int[]) length, generate_series(1, 20) n});
	ask($long, $name_key);
	ask($long, q{INSERT INTO session_files.files (session_id, name) SELECT session_id, repeat('x', 2601) FROM session_files.upload_sessions;
		UPDATE session_files.workspaces SET created_at = '-infinity'});
	foreach my $fix (
		[ qr/23514: check constraint "workspaces_created_at" of relation "workspaces" is violated by some row/, q{UPDATE session_files.workspaces SET created_at = now()} ],
		[ qr/23514: 1 files have a name of more than 2600 bytes and 830 characters, one of them in session .*\nHINT:  Delete them/, q{DELETE FROM session_files.files WHERE octet_length(name) > 2600} ])
	{
		my ($status, $out, $err) = $node->psql($long, 'ALTER EXTENSION session_files UPDATE', extra_params => [ '-v', 'VERBOSITY=verbose' ]);
		like($err, $fix->[0], "$version: is not updated");
		is(ask($long, q{SELECT extversion FROM pg_extension WHERE extname = 'session_files'}), $version, "$version: and stays as it was");
		ask($long, $fix->[1]);
	}
	ask($long, 'ALTER EXTENSION session_files UPDATE');
	is(ask($long, q{SELECT count(*) FROM session_files.upload_sessions AS s, LATERAL session_files.register_files(s.session_id, ARRAY(SELECT name FROM session_files.files)) AS r;
		SELECT count(*) FROM session_files.files}), "80\n80", "$version: long names are found under the keys of now");
	is(ask($long, q{SELECT count(*), bool_and(name > before) FROM (SELECT f ->> 'name' COLLATE "C" AS name, lag(f ->> 'name') OVER (ORDER BY number) AS before
			FROM session_files.upload_sessions, json_array_elements(session_files.get_session_files('w', session_id, "limit" => 100, field => 'name', "order" => 'ASC') -> 'data')
			WITH ORDINALITY AS d (f, number)) AS listed}), '80|t', "$version: long names are listed in their order");

	# A dump has no version: it is restored as the current one.
	my $dump = $node->basedir . "/$database.dump";
	ask('postgres', "CREATE DATABASE old_$database; ");
	ask("old_$database", "CREATE EXTENSION session_files VERSION '$version'; SELECT session_files.create_workspace('w')");
	$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, $node->connstr("old_$database") ], "$version: is dumped");
	ask('postgres', "CREATE DATABASE restored_$database");
	$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr("restored_$database"), $dump ], "$version: and restored");
	is(ask("restored_$database", q{SELECT extversion, name FROM pg_extension, session_files.workspaces WHERE extname = 'session_files'}), "$current|w", "$version: as $current");
}

# An extension that is newer than the library: refused, not guessed at; by plain SQL, workers and listings alike.
ask('fresh', q{
	SELECT session_files.create_workspace('w'), session_files.create_session('w');
	ALTER TABLE session_files.files ADD size bigint;
	ALTER TABLE session_files.file_counts RENAME digest TO digest_of_another_kind;
	UPDATE pg_extension SET extversion = '9.0' WHERE extname = 'session_files';
});
foreach my $sql ("SELECT session_files.get_session_files('w', session_id) FROM session_files.upload_sessions",
	"SELECT session_files.register_files(session_id, '{a}') FROM session_files.upload_sessions",
	"INSERT INTO session_files.files (session_id, name) SELECT session_id, 'a' FROM session_files.upload_sessions",
	"SELECT session_files.claim_files('w')",
	'SELECT session_files.handle_request($$GET$$, $$/api/v1/workspaces/w/upload_sessions/$$ || session_id || $$/files$$) FROM session_files.upload_sessions')
{
	my ($status, $out, $err) = $node->psql('fresh', $sql, extra_params => [ '-v', 'VERBOSITY=verbose' ]);
	like($err, qr/ERROR:  55000: the library session_files does not know the table "session_files.file_counts" as it is\nDETAIL:.*"digest" at position 6.*\nHINT:.*ALTER EXTENSION session_files UPDATE/,
		"refused: $sql");
}
is(ask('fresh', 'SELECT count(*) FROM session_files.files'), '0', 'nothing has come of it');
my ($status, $out, $err) = $node->psql('fresh', q{ALTER EXTENSION session_files UPDATE});
like($err, qr/no update path from version "9.0" to version "\Q$current\E"/, 'there is no way back');
ok($node->poll_query_until('postgres', 'SELECT true'), 'the server is up');
unlike(slurp_file($node->logfile), qr/terminated by signal|PANIC/, 'and no backend crashed');

$node->stop;
done_testing();
