# A new user copies the blocks of README.md, from its top, on a cluster that has nothing: each runs as it stands there, and what it is for takes
# place. Then the recipes of docs/, which are blocks of sh. (The port of HTTP is a free one here; and this does the restarts.)
use strict;
use warnings;

use File::Basename;
use lib dirname(__FILE__);
use Documents;
use HttpNode;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $port = PostgreSQL::Test::Cluster::get_free_port();
my $node = PostgreSQL::Test::Cluster->new('bare');
$node->init(allows_streaming => 1, extra => [ '--encoding=SQL_ASCII', '--locale=C' ]);
$node->append_conf('postgresql.conf', "session_files.http_port = $port");
$node->start;
@ENV{qw(PGHOST PGPORT)} = ($node->host, $node->port);
delete $ENV{PGDATABASE};

# What installs, or takes a clone's commands, is not run: test/package has the first.
my $is_other = qr/\bsudo |^dev\//m;

# Runs a recipe; it must succeed and say nothing on stderr.
sub shell
{
	my ($what, $text) = @_;
	my ($out, $err) = feed($what, $text =~ s/\b8080\b/$port/gr, 'bash', '-euo', 'pipefail');
	is($err, '', 'and complains of nothing');
	return $out;
}

sub restart_and_await
{
	my ($listening) = @_;
	my $position = log_position($node);
	$node->restart;
	await_log($node, $position, $listening);
}

# README.md: a database, a listing over SQL, the set-up of HTTP, a listing over HTTP.
my @blocks = grep { $_->[0] ne 'text' && !($_->[0] eq 'sh' && $_->[1] =~ $is_other) } blocks_of('README.md');
is(join(' ', map { $_->[0] } @blocks), 'sh sql sql sh console', 'the blocks of the README');
my ($install, @sql) = @blocks[0 .. 2];
my ($setup, $http) = @blocks[3, 4];

shell('a database with the extension', $install->[1]);
my @outputs = run_sql($node, 'README.md', @sql);
like($outputs[0], qr/ empty\.txt +\|.*\n.* notes\.txt +\|.*\n.* report\.pdf +\|/, 'the rows of the listing');
like($outputs[1], qr/report\.pdf \| t\n.*\{"data":\[\{.*"empty\.txt"\}.*"notes\.txt"\}\],"has_more":false,"total":2\}/s, 'a file is finished; the listing has the others');
my ($to_listing) = "$install->[1]$sql[0][1]" =~ /^(.*?list_session_files)/ms;
is(scalar(() = $to_listing =~ /^\w/mg), 6, 'six commands lead from a bare cluster to a listing of files of one\'s own over SQL');

like(shell('the set-up of HTTP', $setup->[1]), qr/restart PostgreSQL/, 'it says what remains');
shell('the same again', $setup->[1]);
sub settings
{
	return $node->safe_psql('files', q{SELECT name || '=' || setting FROM pg_file_settings WHERE sourcefile ~ 'auto.conf$' ORDER BY 1});
}
is(settings(), "session_files.http_database=files\nsession_files.http_workers=2\nshared_preload_libraries=session_files_http", 'the settings, each once');
restart_and_await("session_files: listening on http://127\\.0\\.0\\.1:$port\$");
await_answer($port, 200, '/healthz');
run_console($node, $port, 'README.md', $http);
is(scalar(() = $setup->[1] =~ /^\w/mg) + 1 + scalar(() = $http->[1] =~ /^\$ /mg), 5,
	'five commands, one of them the restart, lead from an installation to a listing over HTTP');

# The recipes of docs/.
my @recipes = map { my $document = $_; map { "$document\n$_->[1]" } grep { $_->[0] eq 'sh' && $_->[1] !~ $is_other } blocks_of($document) }
	map { 'docs/' . basename($_) } sort glob("$root/docs/*.md");

# The one recipe that has a text in it; it is taken from the list.
sub take
{
	my ($pattern) = @_;
	my @found = grep { $_ =~ $pattern } @recipes;
	is(scalar @found, 1, "there is one recipe with $pattern");
	@recipes = grep { $_ ne $found[0] } @recipes;
	return $found[0] =~ s/^.*\n//r;
}

# pg_cron (where it is not installed, its function's signature), and the worker of the extension.
$node->safe_psql('postgres', q{CREATE SCHEMA cron; CREATE TABLE cron.job (database text, command text); CREATE FUNCTION cron.schedule_in_database(job_name text, schedule text, command text, database text,
	username text DEFAULT NULL, active boolean DEFAULT true) RETURNS bigint LANGUAGE sql AS 'INSERT INTO cron.job VALUES (database, command) RETURNING 1::bigint'});
shell('pg_cron', take(qr/cron\./));
my ($database, $command) = split /\|/, $node->safe_psql('postgres', 'SELECT * FROM cron.job');
like($node->safe_psql($database, $command), qr/^\(0,0,0,0,f,0\)$/, 'what it is to call can be called');

# HTTP with settings, behind another library, and what is wrong.
my $recipe = take(qr/session_files_http\.sql/);
$node->safe_psql('postgres', q{ALTER SYSTEM SET shared_preload_libraries = 'session_files'});
shell('the set-up of HTTP with settings', $recipe);
shell('that of the README', $setup->[1]);
is(settings(), join("\n", 'session_files.http_database=files', 'session_files.http_listen_address=127.0.0.1', "session_files.http_port=$port", 'session_files.http_workers=3',
	'shared_preload_libraries=session_files, session_files_http'), 'what is set stays when it is run again');
my ($script) = $setup->[1] =~ /-f (".*")$/m;
sub refuses
{
	my ($options, $message) = @_;
	my ($out, $err) = ('', '');
	ok(!IPC::Run::run([ 'bash', '-c', "psql -qXd files $options -f $script" ], \undef, \$out, \$err), "the set-up refuses: $message");
	like($err, qr/\Q$message\E/, 'and says why');
}
$node->safe_psql('files', 'CREATE ROLE lister LOGIN');
refuses('-v workers=many', 'invalid value for parameter "session_files.http_workers"');
refuses('-v address=localhost', 'It takes an IP address');
refuses('-v port=0', 'outside the valid range');
refuses('-U lister', 'the role "lister" is no superuser');
shell('another address', "psql -qXd files -v address=::1 -f $script");
restart_and_await("session_files: listening on http://\\[::1\\]:$port\$");

# A database without the extension is told in the log: of both workers.
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('postgres', $_) for q{ALTER SYSTEM SET session_files.http_database = 'other'}, q{ALTER SYSTEM SET session_files.maintenance_database = 'other'};
my $position = log_position($node);
restart_and_await('the database "other" does not have the extension session_files: until then requests get a 503');
await_log($node, $position, 'the database "other" does not have the extension session_files: until then there is nothing to maintain');

# PostgREST: what SQL it takes. test/http has the rest.
like(shell('what PostgREST takes', take(qr/api\.sql/)), qr/^\(1 row\)$/m, 'PostgREST has its schema, and a workspace');
is($node->safe_psql('files', q{SELECT has_function_privilege('session_files_anonymous', 'session_files_api.handle_request(bytea)', 'EXECUTE')}), 't', 'its role may call the function');

# A dump and its parallel restore.
my $restore = take(qr/^pg_restore/m);
my $files = 'SELECT count(*), min(name), max(name) FROM session_files.files';
my $before = $node->safe_psql('files', $files);
my $folder = PostgreSQL::Test::Utils::tempdir();
shell('a restore', "cd $folder; pg_dump -Fc -f files.dump files; dropdb files; createdb --encoding=UTF8 --template=template0 files\n$restore");
is($node->safe_psql('files', $files), $before, 'the files are there again');
is($node->safe_psql('files', 'SELECT * FROM session_files.check() WHERE broken > 0'), '', 'and all is in order');

# Where the command line of the server decides, ALTER SYSTEM would have no effect.
$node->stop;
my @control = ('pg_ctl', '-s', '-w', '-D', $node->data_dir, '-l', $node->logfile);
system_or_bail(@control, '-o', '-c shared_preload_libraries=session_files', 'start');
refuses('', 'shared_preload_libraries is set on the command line');
system_or_bail(@control, '-m', 'fast', 'stop');

is_deeply(\@recipes, [], 'there is no recipe that was not run');
done_testing();
