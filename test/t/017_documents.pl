# The documents are true as far as a machine can tell: what they show runs, and gives what they show; the grants of docs/privileges.md are enough
# for what it says of each role. Links and figures are looked at by test/lint/documents.py.
#
# A block in a document has a language. sql: run by psql, those of a document in one session, in a database of its own, "files"; a block of text
# behind it is a part of the output. console: commands behind "$ " with their output, run by bash after that. conf: settings of the server.
# python: a program whose function work() the test gives. sh: not run here (test/package installs).
use strict;
use warnings;

use File::Basename;
use lib dirname(__FILE__);
use HttpNode;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $root = dirname(__FILE__) . '/../..';
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

# Returns the texts of a document's blocks: [language, text].
sub blocks_of
{
	my ($document) = @_;
	my @parts = slurp_file($document) =~ /^```(\w*)\n(.*?)^```$/msg;
	my @blocks;
	push @blocks, [ splice(@parts, 0, 2) ] while @parts;
	return @blocks;
}

# What differs from run to run, or between versions of libmicrohttpd, and how it is laid out.
sub comparable
{
	my ($text) = @_;
	$text =~ s/\r//g;
	$text =~ s/^(?:Date|Content-Length|Connection):.*\n//mg;
	$text =~ s/[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}/ID/g;
	$text =~ s/\d{4}-\d\d-\d\dT[\d:.]+Z/TIME/g;
	$text =~ s/"[0-9a-f]{16}"/ETAG/g;
	$text =~ s/PID \d+/PID/g;
	$text =~ s/^[-+]+$//mg;
	$text =~ s/\s+//g;
	return $text;
}

sub shows
{
	my ($out, $expected, $what) = @_;
	ok(index(comparable($out), comparable($expected)) >= 0, "$what gives what is shown") or diag("shown:\n${expected}given:\n$out");
}

# Gives what came out after each mark; 0 is before the first.
sub outputs
{
	return split /^<<\d+>>\n/m, shift;
}

sub make_database
{
	my ($name, $sql) = @_;
	$node->safe_psql('postgres', $_) for 'DROP DATABASE IF EXISTS files WITH (FORCE)', 'CREATE DATABASE files';
	$node->safe_psql('files', 'CREATE EXTENSION session_files') unless $sql =~ /CREATE EXTENSION session_files/;
	$node->safe_psql('files', $prepare{$name}) if $prepare{$name};
}

# Runs the blocks of SQL in one session of psql; returns their outputs.
sub run_sql
{
	my ($name, @blocks) = @_;
	my @texts = map { $_->[1] } grep { $_->[0] eq 'sql' } @blocks;
	make_database($name, "@texts");
	return () unless @texts;
	my $n = 0;
	my ($status, $out, $err) = $node->psql('files', join('', map { '\echo <<' . ++$n . ">>\n$_" } @texts),
		on_error_stop => 1, extra_params => [qw(-P format=aligned -P tuples_only=off -P footer=off)]);
	is("$status: $err", '0: ', "$name: its SQL runs");
	(undef, my @outputs) = outputs($out);
	$n = -1;
	for my $i (0 .. $#blocks)
	{
		$n++ if $blocks[$i][0] eq 'sql';
		shows($outputs[$n], $blocks[$i][1], "$name, block $n of SQL") if $blocks[$i][0] eq 'text' && $i > 0 && $blocks[$i - 1][0] eq 'sql';
	}
	return @outputs;
}

# Runs the commands of a document in one shell, with the port that is served here.
sub run_console
{
	my ($name, @blocks) = @_;
	my @commands = map { split /^\$ /m } map { $_->[1] =~ s/^\$ //r } grep { $_->[0] eq 'console' } @blocks;
	return unless @commands;
	$node->command_ok([ 'psql', '-Xq', '-d', $node->connstr('files'), '-f', "$root/http/roles.sql" ], "$name: there are roles");
	await_answer($port, 200, '/healthz');
	my $script = qq{set -eu; cd "$root"
		curl() { command curl --disable --noproxy '*' --silent --show-error --max-time 60 "\${\@//127.0.0.1:8080/127.0.0.1:$port}"; }
		psql() { command psql --no-psqlrc --set=ON_ERROR_STOP=1 "\$@"; }\n};
	my $n = 0;
	for my $command (@commands)
	{
		my ($line) = split /\n/, $command, 2;
		$script .= "printf '\\n<<%d>>\\n' " . ++$n . "\n$line\n";
	}
	local %ENV = (%ENV, PGHOST => $node->host, PGPORT => $node->port);
	my ($out, $err) = run_command([ 'bash', '-c', $script ]);
	is($err, '', "$name: its commands run");
	(undef, my @outputs) = outputs("\n$out\n");
	is(scalar @outputs, scalar @commands, "$name: to the last");
	for my $i (0 .. $#commands)
	{
		my ($line, $expected) = split /\n/, $commands[$i], 2;
		shows($outputs[$i], $expected, "$name: $line") if $expected ne '';
	}
}

# Runs a program until it works on a file.
sub run_python
{
	my ($name, @blocks) = @_;
	for my $block (grep { $_->[0] eq 'python' } @blocks)
	{
		$node->safe_psql('files', q{SELECT FROM session_files.register_files(session_files.create_session((SELECT min(name) FROM session_files.workspaces)), '{one}')});
		local %ENV = (%ENV, PGHOST => $node->host, PGPORT => $node->port, PGDATABASE => 'files');
		my ($out, $err) = run_command([ '/usr/bin/python3', '-c', "def work(db, files):\n    print(len(files))\n    raise SystemExit\n\n$block->[1]" ]);
		is("$err$out", '1', "$name: its program gets a file");
	}
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

# The last one leaves its roles for what comes then.
my @names = ((grep { $_ ne 'privileges.md' } map { basename($_) } sort glob("$root/docs/*.md")), 'privileges.md');
my %outputs;
my %blocks;
cmp_ok(scalar @names, '>', 7, 'there are documents');
for my $document ("$root/README.md", map { "$root/docs/$_" } @names)
{
	my $name = basename($document);
	my @blocks = blocks_of($document);
	$blocks{$name} = \@blocks;
	configure($name, @blocks);
	$outputs{$name} = [ run_sql($name, @blocks) ];
	run_console($name, @blocks);
	run_python($name, @blocks);
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
	$node->safe_psql('files', 'SELECT session_files.default_expiry(); SELECT name FROM pg_settings'));
is_deeply([ sort keys %settings ], [ sort @known ], 'every setting is documented');

$node->safe_psql('files', q{SELECT session_files.grant_workspace('uploader', 'research')});
my ($status, $out, $err);

# What docs/privileges.md says that each role does, in the order in which it can be done. %s is the session of the uploader.
my $session = $node->safe_psql('files', q{SET ROLE uploader; SELECT session_files.create_session('research')});
my @claimed = map { "WITH claimed AS MATERIALIZED (SELECT * FROM session_files.claim_files('w', 1, session => '%s'))
	SELECT count(*) FROM (SELECT lease_token, array_agg(file_ingestion_id) AS ids FROM claimed GROUP BY 1) AS c, LATERAL session_files.$_" }
	(q{extend_lease('%s', ids, lease_token)}, q{finish_files('%s', ids, lease_token)}, q{fail_files('%s', ids, 'SLOWDOWN', lease_token)},
	q{fail_files('%s', ids, 'EMPTY_FILE', lease_token)}, q{release_files('%s', ids, lease_token)});
my $path = '/api/v1/workspaces/research/upload_sessions/%s/files';
foreach my $does (
	[ uploader => q{SELECT session_files.create_workspace('new')}, '' ],
	[ uploader => q{SELECT count(*) FROM session_files.register_files('%s', ARRAY(SELECT 'file ' || n FROM generate_series(1, 9) n) || repeat('x', 801))}, '10' ],
	[ uploader => q{SELECT count(*) FROM session_files.register_files('%s', '{file 1}')}, '1' ],
	[ lister => q{SELECT session_files.get_session_files('research', '%s', "limit" => 0) ->> 'total'}, '10' ],
	[ lister => qq{SELECT status FROM session_files.handle_request('GET', '$path')}, '200' ],
	[ worker => q{SELECT f.changed FROM session_files.files AS g, session_files.finish_files('%s', ARRAY[g.file_ingestion_id]) AS f WHERE g.name = 'file 1'}, 't' ],
	[ worker => q{SELECT f.changed FROM session_files.files AS g, session_files.fail_files('%s', ARRAY[g.file_ingestion_id], 'EMPTY_FILE') AS f WHERE g.name = 'file 2'}, 't' ],
	[ worker => q{SELECT count(*) FROM session_files.claim_files('w', 1, workspace => 'research')}, '1' ],
	(map { [ worker => $_, '1' ] } @claimed),
	[ keeper => q{SELECT session_files.retry_failed('%s')}, '2' ],
	[ uploader => q{SELECT session_files.close_session('%s')}, '' ],
	[ keeper => q{SELECT more FROM session_files.maintain()}, 'f' ])
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
is($node->safe_psql('files', 'SET ROLE keeper; SELECT sessions_expired, files_failed > 0 FROM session_files.maintain()'), '1|t', 'the keeper ends sessions');
is($node->safe_psql('files', q{SELECT session_files.default_expiry(); SET session_files.session_retention = '1h'; SET ROLE keeper;
	SELECT sessions_deleted, files_deleted FROM session_files.maintain()}) =~ s/.*\n//r, '1|10', 'and deletes them');
# What reads past the planner checks rights itself.
$node->safe_psql('files', 'REVOKE SELECT ON session_files.upload_sessions FROM worker');
($status, $out, $err) = $node->psql('files', q{SET ROLE worker; SELECT * FROM session_files.claim_files('w')});
like($err, qr/permission denied for table upload_sessions/, 'without SELECT on upload_sessions a worker claims nothing');

$node->stop;
done_testing();
