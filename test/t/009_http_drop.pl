# The HTTP server lives with an extension that is not there, goes and comes, and with a database that is dropped: answers are right, or say
# why not, and a DROP does not wait for idle workers.
use strict;
use warnings;

use File::Basename;
use lib dirname(__FILE__);
use HttpNode;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $rounds = $ENV{HTTP_ROUNDS} || 10;
my ($node, $port) = create_http_node('main', 'session_files.http_database' => 'files', autovacuum => 'off');
$node->start;
$node->safe_psql('postgres', 'CREATE ROLE session_files_authenticator LOGIN NOINHERIT; CREATE ROLE session_files_anonymous;
	GRANT session_files_anonymous TO session_files_authenticator');
$node->safe_psql('postgres', 'CREATE DATABASE files');

# Without the extension.
my $missing = '{"detail":"The database does not have the extension session_files."}';
my $kept = dial($port) // do { await('a worker listens', sub { return defined dial($port) }); dial($port) };
my $answer = ask_on($kept, $listing);
is("$answer->{status} $answer->{body}", "503 $missing", 'a database without the extension: 503 and the reason');
fill($node, 'files');
$answer = ask_on($kept, $listing);
my $page = $answer->{body};
is($answer->{status}, 200, 'it is created: the same connection is served');
is($page, $node->safe_psql('files', q{SELECT session_files.get_session_files('w', '00000000-0000-7000-8000-000000000001', "limit" => 5)}),
	'with what is there');

# Rights.
for my $right ('EXECUTE ON FUNCTION session_files.handle_request(text, text, json, bytea)', 'USAGE ON SCHEMA session_files')
{
	$node->safe_psql('files', "REVOKE $right FROM PUBLIC");
	$answer = ask_on($kept, $listing);
	is("$answer->{status} $answer->{body}", '403 {"detail":"Forbidden"}', "without $right: 403");
	$node->safe_psql('files', "GRANT $right TO PUBLIC");
	is(ask_on($kept, $listing)->{body}, $page, 'with it again: 200');
}

# Dropped and created again under load. Each answer is right or says why not; idle workers hold no lock.
my ($load, $out) = run_helper('load', $port, $listing, 4, 0);
my $pids = worker_pids($node);
for my $round (1 .. $rounds)
{
	$node->safe_psql('files', q{SET lock_timeout = '60s'; DROP EXTENSION session_files CASCADE});
	fill($node, 'files') if $round == $rounds;
	$node->safe_psql('files', q{
		BEGIN;
		CREATE EXTENSION session_files;
		INSERT INTO session_files.workspaces VALUES ('w');
		INSERT INTO session_files.upload_sessions (session_id, workspace_name, expires_at) VALUES ('00000000-0000-7000-8000-000000000001', 'w', '2999-01-01');
		INSERT INTO session_files.files (session_id, file_ingestion_id, name)
			SELECT '00000000-0000-7000-8000-000000000001', ('01980000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, 'file ' || n
			FROM generate_series(1, 20) n;
		SELECT session_files.grant_workspace('session_files_anonymous', 'w');
		COMMIT;
	}) if $round < $rounds;
	await('served again', sub { return ask_on($kept, $listing)->{status} == 200 });
	$node->safe_psql('files', 'ALTER EXTENSION session_files UPDATE');
}
# What is committed in several transactions (fill) answers 404 in between.
kill('TERM', $load);
my %seen = map { split(/\t/, $_) } split(/\n/, do { local $/; <$out> });
close($out);
delete $seen{connections};
my $right = delete $seen{"200 $page"};
my $absent = delete $seen{"503 $missing"};
my $lost = delete $seen{'503 {"detail":"Service Unavailable"}'} // 0;
delete $seen{$_} for grep { /^404 / } keys %seen;
ok($right && $absent, "dropped and created $rounds times under load: " . ($right // 0) . ' right answers, ' . ($absent // 0) . ' without the extension');
is(join("\n", map { "$seen{$_} times $_" } keys %seen), '', 'no other answer');
is(worker_pids($node), $pids, 'by the same workers');
is(ask_on($kept, $listing)->{body}, $page, 'and it is served again');

# The database is dropped.
my ($status, $stdout, $error) = $node->psql('postgres', 'DROP DATABASE files');
like($error, qr/is being accessed by other users.*There are 2 other sessions using the database/s, 'DROP DATABASE is told of the workers');
is(ask_on($kept, $listing)->{body}, $page, 'which go on');
my $position = log_position($node);
$node->safe_psql('postgres', 'DROP DATABASE files WITH (FORCE)');
await_log($node, $position, 'database "files" does not exist');
ok(!HttpNode::read_more($kept), 'WITH (FORCE) ends them');
$node->safe_psql('postgres', 'CREATE DATABASE files');
fill($node, 'files');
is(await_answer($port, 200, $listing)->{body}, $page, 'created again, it is served by itself');

no_complaints($node);
$node->stop;
done_testing();
