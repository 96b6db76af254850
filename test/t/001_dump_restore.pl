# pg_dump and restore keep workspaces, sessions and files; the counts come out the same.
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
});

my $all = q{
	SELECT s.*, f.*, session_files.get_session_files(s.workspace_name, s.session_id, f.ingestion_status::text, 0)
	FROM session_files.upload_sessions s JOIN session_files.files f USING (session_id) ORDER BY s.session_id, f.file_ingestion_id;
	SELECT name, created_at FROM session_files.workspaces ORDER BY name;
	SELECT session_id, sum(failed), sum(finished), sum(pending) FROM session_files.file_counts GROUP BY 1 ORDER BY 1;
	SELECT 'ETag', header ->> 'ETag' FROM session_files.upload_sessions s,
		session_files.handle_request('GET', format('/api/v1/workspaces/%s/upload_sessions/%s/files', s.workspace_name, s.session_id)) r,
		json_array_elements(r.headers) header WHERE header ->> 'ETag' IS NOT NULL ORDER BY s.session_id;
};
my $expected = $node->safe_psql('source', $all);
like($expected, qr/"total":11\b/, 'the source has something to compare');
is(scalar(() = $expected =~ /^ETag\|"[0-9a-f]{16}"$/mg), 3, 'and ETags');

my $dump = $node->basedir . '/source.dump';
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, $node->connstr('source') ], 'pg_dump');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('target'), $dump ], 'pg_restore');
is($node->safe_psql('target', $all), $expected, 'restored: sessions, files, listings and counts are the same');

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
