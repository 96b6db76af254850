# Clients that read slowly get their answers whole, however long that takes, and those that do not read are cut.
use strict;
use warnings;

use File::Basename;
use lib dirname(__FILE__);
use HttpNode;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my ($node, $port) = create_http_node('main', 'session_files.http_workers' => 1, 'session_files.http_idle_timeout' => '1s');
$node->start;
fill($node, 'postgres');
my $large = '/api/v1/workspaces/w/upload_sessions/00000000-0000-7000-8000-000000000002/files?limit=100';
$node->safe_psql('postgres', q{
	INSERT INTO session_files.upload_sessions (session_id, workspace_name, expires_at) VALUES ('00000000-0000-7000-8000-000000000002', 'w', '2999-01-01');
	INSERT INTO session_files.files (session_id, name)
		SELECT '00000000-0000-7000-8000-000000000002', lpad(n::text, 800, U&'\+01F600') FROM generate_series(1, 100) n;
});
cmp_ok(length(await_answer($port, 200, $large)->{body}), '>', 300_000, 'a page is larger than what the kernel keeps');

# 320 kB at 50 kB/s: many times the idle timeout, most of it with the answer in the worker.
my ($helper, $out) = run_helper('trickle', $port, $large, 50_000);
is(<$out>, "200 read\n", 'a client that reads 50 kB/s gets all of it');

# At 100 bytes a second it would take an hour.
($helper, $out) = run_helper('trickle', $port, $large, 100);
await('the answer waits in the worker', sub { return ask($port, '/metrics')->{body} =~ /^session_files_http_unread_bytes [1-9]/m });
await('the answer is given up', sub { return ask($port, '/metrics')->{body} =~ /^session_files_http_unread_bytes 0$/m });
await('the connection is closed', sub { return ask($port, '/metrics')->{body} =~ /^session_files_http_connections 1$/m });
pass('one that reads 100 bytes/s is cut');
kill('TERM', $helper);

no_complaints($node);
$node->stop;
done_testing();
