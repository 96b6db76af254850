# The documents are true as far as a machine can tell: the SQL of OPERATIONS.md runs, as a superuser and as the role for monitoring that it makes, and finds a
# healthy database healthy; the grants of the README are enough for what it says of each role; what the documents name is there. 018_recipes.pl runs the
# README's other blocks.
use strict;
use warnings;

use File::Basename;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $root = dirname(__FILE__) . '/../..';
my @documents = map { "$root/$_" } qw(README.md CONTRIBUTING.md OPERATIONS.md SECURITY.md);

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION session_files;
	SELECT session_files.create_workspace('w');
	SELECT count(*) FROM session_files.register_files(session_files.create_session('w'), ARRAY(SELECT 'file ' || n FROM generate_series(1, 300) n));
	SELECT count(*) FROM session_files.claim_files('worker', 10);
});

my @blocks = slurp_file("$root/OPERATIONS.md") =~ /^```sql\n(.*?)^```$/msg;
cmp_ok(scalar @blocks, '>=', 9, 'OPERATIONS.md has statements');
$ENV{PGOPTIONS} = '-c client_min_messages=warning';
foreach my $user ($node->safe_psql('postgres', 'SELECT current_user'), 'monitor')
{
	foreach my $block (grep { $user ne 'monitor' || !/^CREATE ROLE/m } @blocks)
	{
		my ($title) = $block =~ /^(.{1,60})/;
		my ($status, $out, $err) = $node->psql('postgres', $block, extra_params => [ '-U', $user ], on_error_stop => 1);
		is("$status: $err", '0: ', "$user runs: $title");
		is($out, '', 'and finds nothing') if $block =~ /check\(\) WHERE/;
	}
}
delete $ENV{PGOPTIONS};
# It sees all rows, and writes none.
is($node->safe_psql('postgres', 'SELECT count(*) FROM session_files.files', extra_params => [ '-U', 'monitor' ]), '300', 'the role for monitoring sees all rows');
foreach my $write (q{SELECT session_files.create_workspace('x')}, q{SELECT session_files.claim_files('x')}, q{SELECT session_files.maintain()}, q{SELECT session_files.repair()},
	q{INSERT INTO session_files.workspaces VALUES ('x')}, q{UPDATE session_files.files SET name = 'x'}, q{DELETE FROM session_files.file_queue},
	q{TRUNCATE session_files.file_counts CASCADE})
{
	my ($status, $out, $err) = $node->psql('postgres', $write, extra_params => [ '-U', 'monitor' ]);
	like($err, qr/permission denied/, "the role for monitoring cannot: $write");
}
my ($longest_wait) = grep { /longest_wait/ } @blocks;
like($node->safe_psql('postgres', $longest_wait), qr/^00:0\d:\d\d\.\d+\|[1-9]\d*$/m, 'the wait of what is queued is seen');

# What is looked for is there under that name.
my ($worker) = map { /backend_type = '([^']+)'/ } @blocks;
like(slurp_file("$root/src/http/session_files_http.c"), qr/"\Q$worker\E"/, 'the HTTP workers are called so');

# Invariants: those that check() has are those that are documented.
my %documented = map { $_ => 1 } map { /`(\w+)`/g } slurp_file("$root/OPERATIONS.md") =~ /^\| (`\w+`(?:, `\w+`)*) \| (?!`)/mg;
is_deeply([ sort keys %documented ], [ sort split /\n/, $node->safe_psql('postgres', 'SELECT invariant FROM session_files.check()') ], 'OPERATIONS.md has every invariant');

# The README's block of grants, as it stands.
my ($grants) = slurp_file("$root/README.md") =~ /^(    GRANT USAGE ON SCHEMA session_files TO .*?\n)(?=\S)/ms;
my @roles = split /, /, ($grants =~ /SCHEMA session_files TO (.*);/)[0];
is_deeply(\@roles, [qw(lister uploader worker watcher keeper)], 'the README grants to these roles');
$node->safe_psql('postgres', join ';', "SELECT session_files.create_workspace('research')", map { "CREATE ROLE $_" } @roles);
my ($status, $out, $err) = $node->psql('postgres', $grants, on_error_stop => 1);
is("$status: $err", '0: ', 'the grants of the README run');

# What the README says that each role does, in the order in which it can be done. %s is the session of the uploader.
my $session = $node->safe_psql('postgres', q{SET ROLE uploader; SELECT session_files.create_session('research')});
my @claimed = map { "WITH claimed AS MATERIALIZED (SELECT * FROM session_files.claim_files('w', 1, session_id => '%s'))
	SELECT count(*) FROM (SELECT lease_token, array_agg(file_ingestion_id) AS ids FROM claimed GROUP BY 1) AS c, LATERAL session_files.$_" }
	(q{extend_lease('%s', ids, lease_token)}, q{finish_files('%s', ids, lease_token)}, q{fail_files('%s', ids, 'SLOWDOWN', lease_token)},
	q{fail_files('%s', ids, 'EMPTY_FILE', lease_token)}, q{release_files('%s', ids, lease_token)});
my $path = '/api/v1/workspaces/research/upload_sessions/%s/files';
foreach my $does (
	[ uploader => q{SELECT session_files.create_workspace('new')}, '' ],
	[ uploader => q{SELECT count(*) FROM session_files.register_files('%s', ARRAY(SELECT 'file ' || n FROM generate_series(1, 9) n) || repeat('x', 801))}, '10' ],
	[ uploader => q{SELECT count(*) FROM session_files.register_files('%s', '{file 1}')}, '1' ],
	[ lister => q{SELECT total FROM session_files.session_counts('%s')}, '10' ],
	[ lister => q{SELECT count(*) FROM session_files.list_session_files('research', '%s', sort => 'name', max_files => 100)}, '10' ],
	[ worker => q{SELECT total FROM session_files.session_progress WHERE session_id = '%s'}, '10' ],
	[ lister => q{SELECT session_files.get_session_files('research', '%s', "limit" => 0) ->> 'total'}, '10' ],
	[ lister => qq{SELECT status FROM session_files.handle_request('GET', '$path')}, '200' ],
	[ worker => q{SELECT f.changed FROM session_files.files AS g, session_files.finish_files('%s', ARRAY[g.file_ingestion_id]) AS f WHERE g.name = 'file 1'}, 't' ],
	[ worker => q{SELECT f.changed FROM session_files.files AS g, session_files.fail_files('%s', ARRAY[g.file_ingestion_id], 'EMPTY_FILE') AS f WHERE g.name = 'file 2'}, 't' ],
	[ worker => q{SELECT count(*) FROM session_files.claim_files('w', 1, workspace_name => 'research')}, '1' ],
	(map { [ worker => $_, '1' ] } @claimed),
	[ keeper => q{SELECT session_files.retry_failed('%s')}, '2' ],
	[ uploader => q{SELECT session_files.close_session('%s')}, '' ],
	[ keeper => q{SELECT more FROM session_files.maintain()}, 'f' ])
{
	my ($role, $sql, $expected) = @$does;
	($status, $out, $err) = $node->psql('postgres', "SET ROLE $role; " . $sql =~ s/%s/$session/gr);
	is("$status: $err$out", "0: $expected", "the $role can: " . $sql =~ s/\s+/ /gr);
}
# Each column of each view, by itself and all together.
my @views = split /\n/, $node->safe_psql('postgres', q{SELECT relname || '|*' FROM pg_class WHERE relnamespace = 'session_files'::regnamespace AND relkind = 'v'
	UNION ALL SELECT relname || '|' || quote_ident(attname) FROM pg_attribute JOIN pg_class AS c ON c.oid = attrelid
		WHERE relnamespace = 'session_files'::regnamespace AND relkind = 'v' AND attnum > 0});
cmp_ok(scalar @views, '>', 30, 'there are views to watch');
foreach my $view (@views)
{
	my ($name, $column) = split /\|/, $view;
	($status, $out, $err) = $node->psql('postgres', "SET ROLE watcher; SELECT v.$column FROM session_files.$name AS v", extra_params => ['--csv']);
	is("$status: $err", '0: ', "the watcher sees $column of $name");
	isnt($out, '', 'in which there is a row') if $column eq '*';
}
# Time passes; the session is expired, and then deleted.
$node->safe_psql('postgres', "UPDATE session_files.upload_sessions SET created_at = '2020-01-01', expires_at = '2020-01-02' WHERE session_id = '$session';
	UPDATE session_files.file_queue SET due_at = '2020-01-01' WHERE session_id = '$session'");
is($node->safe_psql('postgres', 'SET ROLE keeper; SELECT sessions_expired, files_failed > 0 FROM session_files.maintain()'), '1|t', 'the keeper ends sessions');
is($node->safe_psql('postgres', q{SELECT session_files.default_expiry(); SET session_files.session_retention = '1h'; SET ROLE keeper;
	SELECT sessions_deleted, files_deleted FROM session_files.maintain()}) =~ s/.*\n//r, '1|10', 'and deletes them');
# What reads past the planner checks rights itself.
$node->safe_psql('postgres', 'REVOKE SELECT ON session_files.upload_sessions FROM worker');
($status, $out, $err) = $node->psql('postgres', q{SET ROLE worker; SELECT * FROM session_files.claim_files('w')});
like($err, qr/permission denied for table upload_sessions/, 'without SELECT on upload_sessions a worker claims nothing');

# The reference is that of the catalog.
($status, $out, $err) = $node->psql('postgres', slurp_file("$root/dev/reference.sql"), on_error_stop => 1);
is("$status: $err", '0: ', 'the reference can be made');
is($out =~ s/\n+\z//r, slurp_file("$root/docs/reference.md") =~ s/\n+\z//r, 'docs/reference.md is what dev/reference writes');
is($node->safe_psql('postgres', q{SELECT p.oid::regprocedure FROM pg_proc AS p WHERE p.pronamespace = 'session_files'::regnamespace AND obj_description(p.oid, 'pg_proc') IS NULL}), '', 'each function has a comment');

# Paths of the project, between back quotes or as the target of a link.
foreach my $document (@documents)
{
	my $text = slurp_file($document);
	my @named = map { s/[# ].*//r } grep { defined } $text =~ /`([^`\n]+)`|\]\(([^)\s]+)\)/g;
	my @paths = grep { m{^(?:test|bench|dev|docs|src|sql|http|postgrest|examples|debian|\.ci)/} || /^[A-Z]+\.md$/ } @named;
	# Made when there is something to keep.
	my @missing = grep { !-e "$root/$_" && $_ ne 'test/fuzz/findings' } @paths;

	cmp_ok(scalar @paths, '>', 3, basename($document) . ' names files');
	is("@missing", '', basename($document) . ': they are there');
}

$node->stop;
done_testing();
