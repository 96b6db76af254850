# pg_dump and restore keep workspaces, sessions, files and grants; the counts come out the same.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->start;

$node->safe_psql('postgres', q{
	CREATE DATABASE source;
	CREATE DATABASE target;
	CREATE DATABASE data_only;
});
$node->safe_psql('source', q{
	CREATE EXTENSION session_files;
	SELECT session_files.create_workspace('w' || n) FROM generate_series(1, 3) n;
	SELECT session_files.create_session('w' || n) FROM generate_series(1, 3) n;
	SELECT count(*) FROM session_files.upload_sessions s,
		LATERAL session_files.register_files(s.session_id, ARRAY(SELECT 'file ' || n FROM generate_series(1, 100) n) || repeat('x', 801));
	UPDATE session_files.files SET ingestion_status = 'FINISHED' WHERE name LIKE '%5';
	UPDATE session_files.files SET ingestion_status = 'FAILED', ingestion_status_reason = 'EMPTY_FILE' WHERE name LIKE '%7';
	CREATE ROLE reader;
	CREATE ROLE every;
	CREATE ROLE gone;
	GRANT USAGE ON SCHEMA session_files TO reader, every;
	GRANT SELECT ON ALL TABLES IN SCHEMA session_files TO reader, every;
	GRANT EXECUTE ON FUNCTION session_files.get_session_files TO reader, every;
	SELECT session_files.grant_workspace('reader', 'w2'), session_files.grant_workspace('every'), session_files.grant_workspace('gone', 'w1');
	DROP ROLE gone;
});

my $all = q{
	SELECT s.*, f.*, session_files.get_session_files(s.workspace_name, s.session_id, f.ingestion_status::text, 0)
	FROM session_files.upload_sessions s JOIN session_files.files f USING (session_id) ORDER BY s.session_id, f.file_ingestion_id;
	SELECT name, created_at FROM session_files.workspaces ORDER BY name;
	SELECT session_id, sum(failed), sum(finished), sum(pending) FROM session_files.file_counts GROUP BY 1 ORDER BY 1;
	SELECT 'ETag', header ->> 'ETag' FROM session_files.upload_sessions s,
		session_files.handle_request('GET', format('/api/v1/workspaces/%s/upload_sessions/%s/files', s.workspace_name, s.session_id)) r,
		json_array_elements(r.headers) header WHERE header ->> 'ETag' IS NOT NULL ORDER BY s.session_id;
	SELECT role, workspace_name FROM session_files.workspace_grants WHERE role IN (SELECT oid FROM pg_roles) ORDER BY 1, 2;
};
my $policies = q{
	SELECT tablename, policyname, cmd, roles, qual, with_check FROM pg_policies WHERE schemaname = 'session_files' ORDER BY 1, 2;
	SELECT oid::regclass, relrowsecurity FROM pg_class WHERE relnamespace = 'session_files'::regnamespace AND relkind = 'r' ORDER BY relname;
};
my $seen = join '', map { qq{SET ROLE $_; SELECT current_user, count(*) FROM session_files.files;
	SELECT session_files.get_session_files(workspace_name, session_id, "limit" => 0) FROM session_files.upload_sessions; RESET ROLE;} } ('reader', 'every');
my $expected = $node->safe_psql('source', $all);
like($expected, qr/"total":11\b/, 'the source has something to compare');
is(scalar(() = $expected =~ /^ETag\|"[0-9a-f]{16}"$/mg), 3, 'and ETags');

my $dump = $node->basedir . '/source.dump';
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, $node->connstr('source') ], 'pg_dump');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('target'), $dump ], 'pg_restore');
is($node->safe_psql('target', $all), $expected, 'restored: sessions, files, listings, counts and grants are the same');
is($node->safe_psql('target', $policies), $node->safe_psql('source', $policies), 'restored: so are the policies');
like($node->safe_psql('target', $seen), qr/^reader\|101\n.*\nevery\|303\n/s, 'restored: roles see what they were granted');
is($node->safe_psql('target', $seen), $node->safe_psql('source', $seen), 'restored: and nothing else');
is($node->safe_psql('target', q{SELECT count(*) FROM session_files.workspace_grants}), 2, 'restored: no grant of a role that was dropped');

$node->safe_psql('data_only', 'CREATE EXTENSION session_files');
$node->command_ok([ 'pg_restore', '--exit-on-error', '--data-only', '-d', $node->connstr('data_only'), $dump ],
	'pg_restore of the data alone, in parallel to an extension that is there');
is($node->safe_psql('data_only', $all), $expected, 'data alone: the same');

# The queue is not dumped: it is filled by what is restored.
my $pending = $node->safe_psql('source', q{SELECT count(*) FROM session_files.files WHERE ingestion_status = 'PENDING'});
foreach my $database ('target', 'data_only')
{
	is($node->safe_psql($database, q{SELECT count(DISTINCT file_ingestion_id), count(*) FROM session_files.claim_files('w', 100000)}), "$pending|$pending",
		"$database: every PENDING file can be claimed, once");
}

$node->stop;
done_testing();
