# The documents are true as far as a machine can tell: what the pages of docs/ show runs, and gives what they show; the grants of
# docs/privileges.md are enough for what it says of each role, that of docs/operations.md for its queries; docs/reference.md is that of the
# catalog. 018_recipes.pl runs README.md, and blocks of sh. Links and figures are looked at by test/lint/documents.py.
use strict;
use warnings;

use File::Basename;
use lib dirname(__FILE__);
use Documents;
use HttpNode;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my ($node, $port) = create_http_node('main', 'session_files.http_database' => 'files');
$node->start;

# What a document needs to be there.
my %prepare = (
	'operations.md' => q{
		SELECT session_files.create_workspace('w');
		SELECT count(*) FROM session_files.register_files(session_files.create_session('w'), ARRAY(SELECT 'file ' || n FROM generate_series(1, 300) n));
		SELECT count(*) FROM session_files.claim_files('worker', 10);
	},
	'troubleshooting.md' => q{
		SELECT session_files.create_workspace('research');
		SELECT session_files.create_session('research');
	});

sub make_database
{
	my ($name, $sql) = @_;
	$node->safe_psql('postgres', $_) for 'DROP DATABASE IF EXISTS files WITH (FORCE)', 'CREATE DATABASE files';
	$node->safe_psql('files', 'CREATE EXTENSION session_files') unless $sql =~ /CREATE EXTENSION session_files/;
	$node->safe_psql('files', $prepare{$name}) if $prepare{$name};
}

sub configure
{
	my ($name, @blocks) = @_;
	my @settings = map { $_->[1] } grep { $_->[0] eq 'conf' } @blocks;
	return unless @settings;
	my $position = log_position($node);
	$node->append_conf('postgresql.conf', join('', @settings));
	$node->restart;
	is(lines_since($node, $position, qr/invalid configuration parameter|unrecognized configuration/), 0, "$name: its settings are known");
}

# Lets requests be answered from the database that was made.
sub serve
{
	my ($name) = @_;
	$node->command_ok([ 'psql', '-Xq', '-d', $node->connstr('files'), '-f', "$root/http/roles.sql" ], "$name: there are roles");
	await_answer($port, 200, '/healthz');
}

# The role for monitoring runs what the page has, sees all rows, and writes none.
sub monitor
{
	my (@blocks) = @_;
	my @user = (extra_params => [ '-U', 'monitor' ]);
	foreach my $block (map { $_->[1] } grep { $_->[0] eq 'sql' && $_->[1] !~ /CREATE ROLE/ } @blocks)
	{
		my ($title) = $block =~ /^(.{1,60})/;
		my ($status, $out, $err) = $node->psql('files', $block, @user, on_error_stop => 1);
		is("$status: $err", '0: ', "the role for monitoring runs: $title");
		is($out, '', 'and finds nothing') if $block =~ /check\(\) WHERE/;
	}
	is($node->safe_psql('files', 'SELECT count(*) FROM session_files.files', @user), '300', 'the role for monitoring sees all rows');
	foreach my $write (q{SELECT session_files.create_workspace('x')}, q{SELECT session_files.claim_files('x')}, q{SELECT session_files.maintain()},
		q{SELECT session_files.repair()}, q{INSERT INTO session_files.workspaces VALUES ('x')}, q{UPDATE session_files.files SET name = 'x'},
		q{DELETE FROM session_files.file_queue}, q{TRUNCATE session_files.file_counts CASCADE})
	{
		my ($status, $out, $err) = $node->psql('files', $write, @user);
		like($err, qr/permission denied|needs a grant as/, "the role for monitoring cannot: $write");
	}
}

# The maintenance worker runs; it ends here, so that it does not do what the keeper is to do below. It would start by itself only a minute after the
# database it had was dropped.
sub see_maintenance
{
	$node->restart;
	$node->poll_query_until('files', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'session_files maintenance' AND datname = 'files'}, '1')
		or die 'no maintenance worker';
	pass('the maintenance worker runs');
	reconfigure($node, 'session_files.maintenance_database' => '', 'session_files.maintenance_interval' => 0);
	$node->restart;
}

# What is looked at behind a document.
my %then = ('operations.md' => \&monitor, 'workers.md' => \&see_maintenance);

# The last one leaves its roles for what comes then.
my @names = ((grep { $_ ne 'privileges.md' } map { basename($_) } sort glob("$root/docs/*.md")), 'privileges.md');
my %outputs;
my %blocks;
cmp_ok(scalar @names, '>', 7, 'there are documents');
for my $name (@names)
{
	my @blocks = blocks_of("docs/$name");
	$blocks{$name} = \@blocks;
	configure($name, @blocks);
	make_database($name, join('', map { $_->[1] } grep { $_->[0] eq 'sql' } @blocks));
	$outputs{$name} = [ run_sql($node, $name, @blocks) ];
	if (grep { $_->[0] eq 'console' } @blocks)
	{
		serve($name);
		run_console($node, $port, $name, @blocks);
	}
	run_python($node, $name, @blocks);
	$then{$name}->(@blocks) if $then{$name};
	is($node->safe_psql('files', 'SELECT * FROM session_files.check() WHERE broken > 0'), '', "$name: leaves all in order");
}
like(join('', @{ $outputs{'operations.md'} }), qr/longest_wait.*\n.*\n +00:0\d:\d\d\.\d+ \| +[1-9]\d*$/m, 'the wait of what is queued is seen');

# What is looked for is there under that name.
my ($worker) = map { $_->[1] =~ /backend_type = '([^']+)'/ } @{ $blocks{'operations.md'} };
like(slurp_file("$root/src/http/session_files_http.c"), qr/"\Q$worker\E"/, 'the HTTP workers are called so');

# Invariants: those that check() has are those that are documented.
my ($table) = slurp_file("$root/docs/operations.md") =~ /^(\| invariant \|.*?)\n\n/ms;
my %documented = map { $_ => 1 } map { /`(\w+)`/g } $table =~ /^\| (`.*?) \|/mg;
is_deeply([ sort keys %documented ], [ sort split /\n/, $node->safe_psql('files', 'SELECT invariant FROM session_files.check()') ], 'every invariant is documented');

# Settings: those that there are, and no others. pg_settings leaves out the one that is secret.
my %settings = map { $_ => 1 } map { slurp_file($_) =~ /^\| `(session_files\.\w+)`/mg } "$root/docs/http.md", "$root/docs/workers.md";
my @known = ('session_files.http_jwt_secret', grep { /^session_files\./ } split /\n/,
	$node->safe_psql('files', 'SELECT session_files._default_expiry(); SELECT name FROM pg_settings'));
is_deeply([ sort keys %settings ], [ sort @known ], 'every setting is documented');

my ($status, $out, $err);

# What docs/privileges.md says that each role does, in the order in which it can be done. %s is the session of the uploader.
my $session = $node->safe_psql('files', q{SET ROLE uploader; SELECT session_files.create_session('research')});
my @claimed = map { "WITH claimed AS MATERIALIZED (SELECT * FROM session_files.claim_files('w', 1, session_id => '%s'))
	SELECT count(*) FROM (SELECT lease_token, array_agg(file_ingestion_id) AS ids FROM claimed GROUP BY 1) AS c, LATERAL session_files.$_" }
	(q{extend_lease('%s', ids, lease_token)}, q{finish_files('%s', ids, lease_token)}, q{fail_files('%s', ids, 'SLOWDOWN', lease_token)},
	q{fail_files('%s', ids, 'EMPTY_FILE', lease_token)}, q{release_files('%s', ids, lease_token)});
my $path = '/api/v1/workspaces/research/upload_sessions/%s/files';
my $listed = q{session_files.list_session_files('research', '%s', max_files => 100)};
foreach my $does (
	[ head_keeper => q{SELECT session_files.create_workspace('new')}, '' ],
	[ uploader => q{SELECT count(*) FROM session_files.register_files('%s', ARRAY(SELECT 'file ' || n FROM generate_series(1, 9) n) || repeat('x', 801))}, '10' ],
	[ uploader => q{SELECT count(*) FROM session_files.register_files('%s', '{file 1}')}, '1' ],
	[ lister => q{SELECT total FROM session_files.session_counts('%s')}, '10' ],
	[ lister => q{SELECT count(*) FROM session_files.list_session_files('research', '%s', sort => 'name', max_files => 100)}, '10' ],
	[ worker => q{SELECT total FROM session_files.session_progress WHERE session_id = '%s'}, '10' ],
	[ lister => q{SELECT session_files.get_session_files('research', '%s', "limit" => 0) ->> 'total'}, '10' ],
	[ lister => qq{SELECT status FROM session_files.handle_request('GET', '$path')}, '200' ],
	[ worker => qq{SELECT f.changed FROM $listed AS g, session_files.finish_files('%s', ARRAY[g.file_ingestion_id]) AS f WHERE g.name = 'file 1'}, 't' ],
	[ worker => qq{SELECT f.changed FROM $listed AS g, session_files.fail_files('%s', ARRAY[g.file_ingestion_id], 'EMPTY_FILE') AS f WHERE g.name = 'file 2'}, 't' ],
	[ worker => q{SELECT count(*) FROM session_files.claim_files('w', 1, workspace_name => 'research')}, '1' ],
	(map { [ worker => $_, '1' ] } @claimed),
	[ keeper => q{SELECT session_files.retry_failed('%s')}, '2' ],
	[ uploader => q{SELECT session_files.close_session('%s')}, '' ],
	[ head_keeper => q{SELECT more FROM session_files.maintain()}, 'f' ])
{
	my ($role, $sql, $expected) = @$does;
	($status, $out, $err) = $node->psql('files', "SET ROLE $role; " . $sql =~ s/%s/$session/gr);
	is("$status: $err$out", "0: $expected", "the $role can: " . $sql =~ s/\s+/ /gr);
}
# Each column of each view, by itself and all together.
my @views = split /\n/, $node->safe_psql('files', q{SELECT relname || '|*' FROM pg_class WHERE relnamespace = 'session_files'::regnamespace AND relkind = 'v'
	UNION ALL SELECT relname || '|' || quote_ident(attname) FROM pg_attribute JOIN pg_class AS c ON c.oid = attrelid
		WHERE relnamespace = 'session_files'::regnamespace AND relkind = 'v' AND attnum > 0});
cmp_ok(scalar @views, '>', 30, 'there are views to watch');
foreach my $view (@views)
{
	my ($name, $column) = split /\|/, $view;
	($status, $out, $err) = $node->psql('files', "SET ROLE watcher; SELECT v.$column FROM session_files.$name AS v", extra_params => ['--csv']);
	is("$status: $err", '0: ', "the watcher sees $column of $name");
	isnt($out, '', 'in which there is a row') if $column eq '*';
}
# Time passes; the session is expired, and then deleted.
$node->safe_psql('files', "UPDATE session_files.upload_sessions SET created_at = '2020-01-01', expires_at = '2020-01-02' WHERE session_id = '$session';
	UPDATE session_files.file_queue SET due_at = '2020-01-01' WHERE session_id = '$session'");
is($node->safe_psql('files', 'SET ROLE head_keeper; SELECT sessions_expired, files_failed > 0 FROM session_files.maintain()'), '1|t', 'the keeper of all workspaces ends sessions');
is($node->safe_psql('files', q{SELECT session_files._default_expiry(); SET session_files.session_retention = '1h'; SET ROLE head_keeper;
	SELECT sessions_deleted, files_deleted FROM session_files.maintain()}) =~ s/.*\n//r, '1|10', 'and deletes them');
# The programs of examples, as these roles.
my $folder = PostgreSQL::Test::Utils::tempdir();
append_to_file("$folder/$_", 'text') for 'one', 'two';
append_to_file("$folder/empty", '');
$session = $node->safe_psql('files', q{SET ROLE uploader; SELECT session_files.create_session('research')});
@ENV{qw(PGHOST PGPORT PGDATABASE)} = ($node->host, $node->port, 'files');
like(feed('an upload', '', 'env', 'PGUSER=uploader', 'examples/upload.py', $session, $folder), qr/^3 files registered$/m, 'the uploader registers a folder');
like(feed('a worker, and one file fails', '', 'sh', '-c', 'PGUSER=worker examples/worker.py "$@"; [ $? = 1 ]', '', $folder, '--session', $session, '--until-done'),
	qr/2 finished, 1 failed/, 'the worker judges its files');

# Who was granted no workspace is told so.
$node->safe_psql('files', q{CREATE ROLE newcomer IN ROLE worker});
$node->safe_psql('files', q{SELECT session_files.revoke_workspace('worker', 'research')});
($status, $out, $err) = $node->psql('files', q{SET ROLE newcomer; SELECT session_files.claim_files('w')});
like("$status$out$err", qr/^0.*NOTICE:  no workspace was granted to the role "newcomer".*\n.*HINT:  .*grant_workspace/, 'a worker without a grant is told so');
$node->safe_psql('files', q{SELECT session_files.grant_workspace('worker', 'research', 'worker')});

# The reference is that of the catalog.
($status, $out, $err) = $node->psql('files', slurp_file("$root/dev/reference.sql"), on_error_stop => 1);
is("$status: $err", '0: ', 'the reference can be made');
is($out =~ s/\n+\z//r, slurp_file("$root/docs/reference.md") =~ s/\n+\z//r, 'docs/reference.md is what dev/reference writes');
is($node->safe_psql('files', q{SELECT p.oid::regprocedure FROM pg_proc AS p WHERE p.pronamespace = 'session_files'::regnamespace AND p.proname NOT LIKE '\_%' AND obj_description(p.oid, 'pg_proc') IS NULL}), '', 'each function has a comment');

$node->stop;
done_testing();
