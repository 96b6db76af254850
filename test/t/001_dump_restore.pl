# pg_dump and restore, in each format, of a database, of the schema, and of the data alone, keep workspaces, sessions, files and grants; the
# counts come out the same.
use strict;
use warnings;

use File::Basename;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->start;

$node->safe_psql('postgres', q{
	CREATE DATABASE source;
});
$node->safe_psql('source', q{
	CREATE EXTENSION session_files;
	CREATE TABLE other AS SELECT n FROM generate_series(1, 1000) n;
	SELECT session_files.create_workspace('w' || n) FROM generate_series(1, 3) n;
	SELECT session_files.create_session('w' || n) FROM generate_series(1, 3) n;
	SELECT count(*) FROM session_files.upload_sessions s,
		LATERAL session_files.register_files(s.session_id, ARRAY(SELECT 'file ' || n FROM generate_series(1, 100) n) || repeat('x', 801));
	UPDATE session_files.files SET ingestion_status = 'FINISHED' WHERE name LIKE '%5';
	UPDATE session_files.files SET size = 5, type = 'text/plain', location = 's3://bucket/' || name, metadata = '{"a": [1]}' WHERE name LIKE '%5' OR name LIKE '%6';
	UPDATE session_files.files SET ingestion_status = 'FAILED', ingestion_status_reason = 'EMPTY_FILE' WHERE name LIKE '%7';
	CREATE ROLE reader;
	CREATE ROLE every;
	CREATE ROLE gone;
	GRANT SELECT ON ALL TABLES IN SCHEMA session_files TO reader, every;
	SELECT session_files.grant_workspace('reader', 'w2'), session_files.grant_workspace('reader', 'w2', 'worker'), session_files.grant_workspace('every', NULL, 'keeper'),
		session_files.grant_workspace('gone', 'w1');
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
	SELECT grant_id, role, workspace_name, kind FROM session_files.workspace_grants WHERE role IN (SELECT oid FROM pg_roles) ORDER BY 2, 3, 4;
};
my $policies = q{
	SELECT tablename, policyname, cmd, roles, qual, with_check FROM pg_policies WHERE schemaname = 'session_files' ORDER BY 1, 2;
	SELECT oid::regclass, relrowsecurity FROM pg_class WHERE relnamespace = 'session_files'::regnamespace AND relkind = 'r' ORDER BY relname;
};
my $seen = join '', map { qq{SET ROLE $_; SELECT current_user, count(*) FROM session_files.files;
	SELECT session_files.get_session_files(workspace_name, session_id, "limit" => 0) FROM session_files.upload_sessions; RESET ROLE;} } ('reader', 'every');
my $expected = $node->safe_psql('source', $all);
like($expected, qr/"total":11\b/, 'the source has something to compare');
like($expected, qr{\Q|5|text/plain|s3://bucket/file 6|{"a": [1]}|\E}, 'with size, type, location and metadata');
is(scalar(() = $expected =~ /^ETag\|"[0-9a-f]{16}"$/mg), 3, 'and ETags');

# Who may do what with the tables and functions.
my $rights = q{
	SELECT relname, relacl FROM pg_class WHERE relnamespace = 'session_files'::regnamespace AND relkind IN ('r', 'v') ORDER BY 1;
	SELECT proname, proacl FROM pg_proc WHERE pronamespace = 'session_files'::regnamespace ORDER BY 1;
};
my $pending = $node->safe_psql('source', q{SELECT count(*) FROM session_files.files WHERE ingestion_status = 'PENDING'});

# Makes a database, with the extension if it is to be there before the data, and restores into it.
sub restore
{
	my ($database, $extension, $dump, @options) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql($database, 'CREATE EXTENSION session_files') if $extension;
	$node->command_ok(
		$dump =~ /sql$/ ? [ 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', @options, '-d', $node->connstr($database), '-f', $dump ]
			: [ 'pg_restore', '--exit-on-error', @options, '-d', $node->connstr($database), $dump ], "$database: restored");
}

sub dump_source
{
	my ($name, @options) = @_;
	my $dump = $node->basedir . "/$name";
	$node->command_ok([ 'pg_dump', @options, '-f', $dump, $node->connstr('source') ], "$name: pg_dump");
	return $dump;
}

# The data, and what follows from it.
sub check_data
{
	my ($database) = @_;
	is($node->safe_psql($database, $all), $expected, "$database: sessions, files, listings, counts and grants are the same");
	is($node->safe_psql($database, q{SELECT count(*) > 0, sum(broken) FROM session_files.check()}), 't|0', "$database: every invariant holds");
	is($node->safe_psql($database, q{SELECT count(*) FROM session_files.workspace_grants}), 3, "$database: no grant of a role that was dropped");
	# The queue is not dumped: it is filled by what is restored.
	is($node->safe_psql($database, q{SELECT count(DISTINCT file_ingestion_id), count(*) FROM session_files.claim_files('w', 100000)}), "$pending|$pending",
		"$database: every PENDING file can be claimed, once");
	# The sequence of generations goes on: else one that becomes PENDING again would still be held.
	is($node->safe_psql($database, q{
		UPDATE session_files.files SET ingestion_status = 'FINISHED' WHERE name = 'file 1';
		UPDATE session_files.files SET ingestion_status = 'PENDING' WHERE name = 'file 1';
		SELECT count(*) FROM session_files.files f, (SELECT DISTINCT lease_token FROM session_files.leases) l,
			session_files.finish_files(f.session_id, ARRAY[f.file_ingestion_id], l.lease_token) d WHERE f.name = 'file 1' AND d.changed;
		SELECT count(*) FROM session_files.claim_files('another', 100000);
	}), "0\n3", "$database: one that becomes PENDING again is held by no lease");
}

# Also what is in no table.
sub check_all
{
	my ($database) = @_;
	is($node->safe_psql($database, $policies), $node->safe_psql('source', $policies), "$database: so are the policies");
	is($node->safe_psql($database, $rights), $node->safe_psql('source', $rights), "$database: so are the rights");
	like($node->safe_psql($database, $seen), qr/^reader\|101\n.*\nevery\|303\n/s, "$database: roles see what they were granted");
	is($node->safe_psql($database, $seen), $node->safe_psql('source', $seen), "$database: and nothing else");
	check_data($database);
}

my $custom = dump_source('custom', '-Fc');
my $directory = dump_source('directory', '-Fd', '-j', '2');
restore('from_custom', 0, $custom);
restore('from_directory', 0, $directory);
restore('from_plain', 0, dump_source('plain.sql'));
restore('from_schema', 0, dump_source('schema', '-Fc', '-n', 'session_files', '-e', 'session_files'));

# In parallel pg_restore begins with the largest table of an extension, whatever its foreign keys: so those come after the rest, one by one.
foreach my $dump ($custom, $directory)
{
	my $database = 'parallel_' . basename($dump);
	my ($list, $errors) = run_command([ 'pg_restore', '--list', $dump ]);
	my $rest = $node->basedir . "/$database.list";
	append_to_file($rest, join "\n", grep { !/ TABLE DATA session_files / } split /\n/, $list);
	restore($database, 0, $dump, '-j', '4', '-L', $rest);
	$node->command_ok([ 'pg_restore', '--exit-on-error', '--data-only', '-n', 'session_files', '-d', $node->connstr($database), $dump ],
		"$database: and then the data of the extension");
	is($node->safe_psql($database, 'SELECT count(*) FROM other'), 1000, "$database: the rest is there");
}
check_all($_) foreach ('from_custom', 'from_directory', 'from_plain', 'from_schema', 'parallel_custom', 'parallel_directory');

# The data alone, into an extension that is there.
my $bare = dump_source('bare_schema', '-Fc', '-n', 'session_files');
restore('data_from_custom', 1, $custom, '--data-only', '-n', 'session_files');
restore('data_from_directory', 1, $directory, '--data-only', '-n', 'session_files');
restore('data_from_plain', 1, dump_source('data.sql', '--data-only', '-n', 'session_files'));
restore('data_from_bare_schema', 1, $bare, '--data-only');
check_data($_) foreach ('data_from_custom', 'data_from_directory', 'data_from_plain', 'data_from_bare_schema');

# A dump of the schema without the extension has nothing to restore the data into, and no rights.
$node->safe_psql('postgres', 'CREATE DATABASE nothing');
$node->command_checks_all([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('nothing'), $bare ], 1, [], [ qr/relation "session_files.workspaces" does not exist/ ],
	'a dump of the schema alone has no extension');
is($node->safe_psql('data_from_bare_schema', q{SELECT has_table_privilege('reader', 'session_files.files', 'SELECT')}), 'f', 'nor what was granted on its tables');

# Triggers count and queue.
restore('uncounted', 1, $custom, '--data-only', '-n', 'session_files', '--disable-triggers');
is($node->safe_psql('uncounted', q{SELECT (SELECT count(*) FROM session_files.files), (SELECT count(*) FROM session_files.file_counts),
	(SELECT count(*) FROM session_files.file_queue)}), '303|0|0', 'without triggers nothing is counted, nor queued');
$node->safe_psql('uncounted', 'SELECT * FROM session_files.repair()');
check_data('uncounted');

$node->stop;
done_testing();
