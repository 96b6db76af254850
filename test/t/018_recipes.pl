# A new user copies the README's blocks, in their order, on a cluster that has nothing: each runs as it stands there, and what it is for takes place.
# (The port of HTTP is a free one here, set in postgresql.conf; and where the README has the server restarted, this does.)
use strict;
use warnings;

use File::Basename;
use lib dirname(__FILE__);
use HttpNode;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $root = dirname(__FILE__) . '/../..';
my $readme = slurp_file("$root/README.md");
# Blocks by language, and those that are about something.
my @blocks = map { { language => $_->[0], text => $_->[1] } } pairs($readme =~ /^```(\w+)\n(.*?)^```$/msg);
my $port = PostgreSQL::Test::Cluster::get_free_port();

my $node = PostgreSQL::Test::Cluster->new('bare');
$node->init(extra => [ '--encoding=SQL_ASCII', '--locale=C' ]);
$node->append_conf('postgresql.conf', "session_files.http_port = $port");
$node->start;
@ENV{qw(PGHOST PGPORT)} = ($node->host, $node->port);
delete $ENV{PGDATABASE};

sub pairs
{
	my @pairs;
	push @pairs, [ splice(@_, 0, 2) ] while @_;
	return @pairs;
}

# The one block of a language that has a text in it; it is taken from the list.
sub take
{
	my ($language, $pattern) = @_;
	my @found = grep { $_->{language} eq $language && $_->{text} =~ $pattern } @blocks;
	is(scalar @found, 1, "the README has one block of $language with $pattern");
	@blocks = grep { $_ != $found[0] } @blocks;
	return $found[0]{text};
}

# Runs a command that reads the text, in the folder of the sources; it must succeed and say nothing on stderr.
sub feed
{
	my ($what, $text, @command) = @_;
	my ($out, $err) = ('', '');
	my $ok = IPC::Run::run([ 'env', "--chdir=$root", @command ], \$text, \$out, \$err);
	ok($ok, "runs: $what") or diag("$out$err");
	# The worker's progress is no complaint.
	like($err, qr{^(?:\d+/\d+ files, .*\n)*$}, 'and complains of nothing');
	return $out;
}

sub shell
{
	my ($what, $text) = @_;
	return feed($what, $text, 'bash', '-euo', 'pipefail');
}

# A block of SQL in psql, as a role; with the variable session, where there is one.
sub sql
{
	my ($what, $text, $user, $session) = @_;
	return feed($what, $text, 'psql', '-XAt', '-d', 'files', '-v', 'ON_ERROR_STOP=1', '-v', 'session=' . ($session // ''), defined $user ? ('-U', $user) : ());
}

# From nothing to a listing over SQL.
my $install = take(sh => qr/^createdb/m);
shell('a database with the extension', $install);
my $recipe = take(sql => qr/create_session/);
my $listed = sql('a session, listed', $recipe);
like($listed, qr/^[^|]+\|FAILED\|EMPTY_FILE\|empty\.txt\|.*\n[^|]+\|PENDING\|\|notes\.txt\|.*\n[^|]+\|PENDING\|\|report\.pdf\|.*\n2\|0\|1\|3\n\{"data":\[\{.*"name":"report\.pdf"\}\],"has_more":false,"total":2\}$/m,
	'the rows, the counts, the JSON');
is(scalar(() = "$install$recipe" =~ /^(?:createdb|psql|SELECT session_files\.create_|SELECT \* FROM session_files\.(?:register|list)_)/mg), 6,
	'six commands lead from a bare cluster to a listing of files of one\'s own over SQL');
my $session = $node->safe_psql('files', 'SELECT session_id FROM session_files.upload_sessions');

# Roles.
sql('roles', take(sql => qr/^CREATE ROLE/m));
my ($grants) = $readme =~ /^(    GRANT USAGE ON SCHEMA session_files TO .*?\n)(?=\S)/ms;
sql('grants', $grants);

# Workers, in a session and in a program; who may not.
sql('a worker', take(sql => qr/extend_lease/), 'worker');
is($node->safe_psql('files', q{SELECT ingestion_status, count(*) FROM session_files.files GROUP BY 1 ORDER BY 1}), "FAILED|1\nFINISHED|1\nPENDING|1", 'has finished one file, and put off one');
like(sql('progress', take(sql => qr/FROM session_files.session_progress/), 'watcher', $session), qr/^research\|OPEN\|3\|1\|0\|/, 'the watcher sees it');
like(sql('the end of a session', take(sql => qr/LISTEN/), undef, $session), qr/^Asynchronous notification "session_files_done" with payload "$session"/m, 'is notified');
$node->safe_psql('files', q{SELECT session_files.register_files(session_files.create_session('research'), '{a,b,c}')});
is(feed('a program', "def work(db, files):\n    print(len(files))\n    raise SystemExit\n\n" . take(python => qr/claim_files/), 'env', 'PGUSER=worker', '/usr/bin/python3', '-'), "3\n", 'it claims');
# The programs of examples, as these roles.
my $folder = PostgreSQL::Test::Utils::tempdir();
append_to_file("$folder/$_", 'text') for 'one', 'two';
append_to_file("$folder/empty", '');
my $ours = $node->safe_psql('files', q{SELECT session_files.create_session('research')}, extra_params => [ '-U', 'uploader' ]);
like(feed('an upload', '', 'env', 'PGDATABASE=files', 'PGUSER=uploader', 'examples/upload.py', $ours, $folder), qr/^3 files registered$/m, 'the uploader registers a folder');
like(feed('a worker of examples', '', 'env', 'PGDATABASE=files', 'PGUSER=worker', 'examples/worker.py', $folder, '--session', $ours, '--until-done'), qr/2 finished, 1 failed/,
	'the worker judges its files');
$node->safe_psql('files', q{CREATE ROLE newcomer LOGIN;
	GRANT USAGE ON SCHEMA session_files TO newcomer; GRANT SELECT, DELETE ON ALL TABLES IN SCHEMA session_files TO newcomer;
	GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA session_files TO newcomer});
my ($status, $out, $err) = $node->psql('files', q{SELECT session_files.claim_files('w')}, extra_params => [ '-U', 'newcomer' ]);
like("$status$out$err", qr/^0.*NOTICE:  no workspace was granted to the role "newcomer".*\n.*HINT:  .*grant_workspace/, 'a worker without a grant is told so');

# The schedulers: pg_cron (where it is not installed, its function's signature), and the worker of the extension.
$node->safe_psql('postgres', q{CREATE SCHEMA cron; CREATE TABLE cron.job (database text, command text); CREATE FUNCTION cron.schedule_in_database(job_name text, schedule text, command text, database text,
	username text DEFAULT NULL, active boolean DEFAULT true) RETURNS bigint LANGUAGE sql AS 'INSERT INTO cron.job VALUES (database, command) RETURNING 1::bigint'});
feed('pg_cron', take(sql => qr/cron\./), 'psql', '-XAtq', '-d', 'postgres', '-v', 'ON_ERROR_STOP=1');
my ($database, $command) = split /\|/, $node->safe_psql('postgres', 'SELECT * FROM cron.job');
like($node->safe_psql($database, $command), qr/^\(0,0,0,0,f\)$/, 'what it is to call can be called');
$node->append_conf('postgresql.conf', take(ini => qr/maintenance_database/));
$node->restart;
$node->poll_query_until('files', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'session_files maintenance' AND datname = 'files'}, '1') or die 'no maintenance worker';
pass('the maintenance worker runs');

# HTTP.
my ($setup, $http, $asking) = (take(sh => qr/session_files_http\.sql/), take(sh => qr/^session=/m), take(sh => qr/If-None-Match/));
like(shell('the set-up of HTTP', $setup), qr/restart PostgreSQL/, 'it says what remains');
shell('the same again', $setup);
is($node->safe_psql('files', q{SELECT name || '=' || setting FROM pg_file_settings WHERE sourcefile ~ 'auto.conf$' ORDER BY 1}),
	"session_files.http_database=files\nsession_files.http_workers=2\nshared_preload_libraries=session_files, session_files_http",
	'the settings, each once');
my $log = log_position($node);
$node->restart;
await_log($node, $log, "session_files: listening on http://127\\.0\\.0\\.1:$port\$");
await_answer($port, 200, '/healthz');
s/127\.0\.0\.1:8080/127.0.0.1:$port/ for $http, $asking;
like(shell('a listing over HTTP', $http), qr/^\{"data":\[\{"file_ingestion_id":.*"total":3\}$/m, 'a listing');
like(shell('the same, again', $http . $asking), qr{HTTP/1\.1 304 Not Modified\r?\n}, 'is not modified');
# Five: the script, the restart, and the last three; "make install" and the SQL are before.
is(scalar(() = $setup =~ /^psql/mg) + 1 + scalar(() = $http =~ /^(?:psql|session=|curl)/mg), 5, 'five commands lead from an installation to a listing over HTTP');

# Other settings, and what is wrong.
my $script = '"$(pg_config --sharedir)/extension/session_files_http.sql"';
shell('the set-up with settings', "psql -qXd files -v workers=3 -v address=::1 -v port=$port -f $script; psql -qXd files -f $script");
is($node->safe_psql('files', q{SELECT string_agg(setting, ' ' ORDER BY name) FROM pg_file_settings WHERE sourcefile ~ 'auto.conf$' AND name ~ 'workers|address|port'}), "::1 $port 3",
	'what is set stays when it is run again');
foreach my $wrong ([ '-v workers=many', 'invalid value for parameter "session_files.http_workers"' ], [ '-v address=localhost', 'It takes an IP address' ],
	[ '-v port=0', 'outside the valid range' ], [ '-U lister', 'the role "lister" is no superuser' ])
{
	my ($options, $message) = @$wrong;
	my ($output, $errors) = ('', '');
	ok(!IPC::Run::run([ 'bash', '-c', "psql -qXd files $options -f $script" ], \undef, \$output, \$errors), "the set-up refuses $options");
	like($errors, qr/\Q$message\E/, 'and says why');
}
$log = log_position($node);
$node->restart;
await_log($node, $log, "session_files: listening on http://\\[::1\\]:$port\$");

# A database without the extension is told in the log: of both workers.
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('postgres', $_) for q{ALTER SYSTEM SET session_files.http_database = 'other'}, q{ALTER SYSTEM SET session_files.maintenance_database = 'other'};
$log = log_position($node);
$node->restart;
await_log($node, $log, 'the database "other" does not have the extension session_files: until then requests get a 503');
await_log($node, $log, 'the database "other" does not have the extension session_files: until then there is nothing to maintain');

# PostgREST: what SQL it takes. test/http has the rest.
like(shell('what PostgREST takes', take(sh => qr/api\.sql/)), qr/^\(1 row\)$/m, 'PostgREST has its schema, and a workspace');
is($node->safe_psql('files', q{SELECT has_function_privilege('session_files_anonymous', 'session_files_api.handle_request(bytea)', 'EXECUTE')}), 't', 'its role may call the function');

# Where the command line of the server decides, ALTER SYSTEM would have no effect.
$node->stop;
my @control = ('pg_ctl', '-s', '-w', '-D', $node->data_dir, '-l', $node->logfile);
system_or_bail(@control, '-o', '-c shared_preload_libraries=session_files', 'start');
my ($output, $errors) = ('', '');
ok(!IPC::Run::run([ 'bash', '-c', "psql -qXd files -f $script" ], \undef, \$output, \$errors), 'the set-up refuses a command line with the libraries');
like($errors, qr/shared_preload_libraries is set on the command line.*HINT:/s, 'and says why');
system_or_bail(@control, '-m', 'fast', 'stop');

is_deeply([ map { $_->{text} } @blocks ], [], 'there is no block that was not run');
done_testing();
