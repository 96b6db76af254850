# What keeps the HTTP server from serving is in the log; PostgreSQL starts workers again, and when the cause is gone, they serve.
use strict;
use warnings;

use File::Basename;
use lib dirname(__FILE__);
use HttpNode;
use IO::Socket::INET;
use PostgreSQL::Test::BackgroundPsql;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my ($node, $port) = create_http_node('main', 'session_files.http_role' => 'http_login');
my $position = 0;
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION session_files');

# Waits for a line of a worker that could not connect, which says what it wanted.
sub is_said
{
	my ($line) = @_;
	await_log($node, $position, "FATAL:  .*$line");
	await_log($node, $position, 'CONTEXT:  HTTP worker for the database ".*" \(session_files.http_database\), as role "http_login" \(session_files.http_role\)');
	pass("it is said: $line");
	return;
}

sub serves_again
{
	my ($why) = @_;
	is(await_answer($port, 401, $listing, 'Authorization: Bearer wrong')->{status}, 401, "it serves by itself: $why");
	$node->poll_query_until('postgres', $workers, '2') or die 'there are not two workers';
	$position = log_position($node);
	return;
}

sub restart_with
{
	$node->stop;
	$position = log_position($node);
	reconfigure($node, @_);
	$node->start;
	return;
}

sub end_workers
{
	$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'session_files http worker'});
	return;
}

# The role. Clients who come before a worker can serve wait for it.
my $early = dial($port);
print $early request('/healthz');
is_said('role "http_login" does not exist');
$node->safe_psql('postgres', 'CREATE ROLE http_login NOLOGIN');
is_said('role "http_login" is not permitted to log in');
$node->safe_psql('postgres', 'ALTER ROLE http_login LOGIN SUPERUSER');
is_said('the role "http_login" is a superuser, and may not serve HTTP');
await_log($node, $position, 'HINT:  Set session_files.http_role to a role that can do nothing but become others.');
$node->safe_psql('postgres', 'ALTER ROLE http_login NOSUPERUSER');
serves_again('the role is right');
is(read_answer($early)->{status}, 200, 'a client who came before the first worker is answered');

# The database.
restart_with('session_files.http_database' => 'later');
is_said('database "later" does not exist');
$node->safe_psql('postgres', 'CREATE DATABASE later ALLOW_CONNECTIONS false');
is_said('database "later" is not currently accepting connections');
$node->safe_psql('postgres', 'ALTER DATABASE later ALLOW_CONNECTIONS true');
serves_again('the database is there');
$node->safe_psql('postgres', 'REVOKE CONNECT ON DATABASE later FROM PUBLIC');
end_workers();
is_said('permission denied for database "later"');
# Clients who came before the workers are back wait for them.
my $waiting = dial($port);
print $waiting request('/healthz');
$node->safe_psql('postgres', 'GRANT CONNECT ON DATABASE later TO PUBLIC');
serves_again('the right to connect is back');
is(read_answer($waiting)->{status}, 503, 'who connected meanwhile is answered');

# Workers that wait for a lock when they connect are not started twice, and end when they are told to.
my ($first) = split(/ /, worker_pids($node));
my $lock = $node->background_psql('postgres');
$lock->query_safe(q{BEGIN; SET deadlock_timeout = '10min'; LOCK TABLE pg_authid IN ACCESS EXCLUSIVE MODE});
my $workers_that_wait = q{SELECT count(*) FROM pg_locks l JOIN pg_class c ON c.oid = l.relation WHERE c.relname = 'pg_authid' AND NOT granted};
kill('TERM', $first);
await('a worker waits for the lock', sub { return $lock->query_safe($workers_that_wait) > 0 });
is($lock->query_safe($workers_that_wait), 1, 'one worker waits for the lock');
$position = log_position($node);
my $until = time + 5;
await('PostgreSQL would have started another', sub { return time > $until });
is($lock->query_safe($workers_that_wait), 1, 'and no second one in its place');
my $pid = $lock->query_safe(q{SELECT pid FROM pg_locks l JOIN pg_class c ON c.oid = l.relation WHERE c.relname = 'pg_authid' AND NOT granted});
kill('TERM', $pid);
await('it has ended', sub { return !kill(0, $pid) });
pass('told to end, a worker that waits ends');
$lock->query_safe('COMMIT');
$lock->quit;
serves_again('the lock is gone');

# The address and the port.
restart_with('session_files.http_database' => 'postgres', 'session_files.http_listen_address' => '192.0.2.1');
await_log($node, $position, 'cannot serve HTTP: could not bind to the address "192.0.2.1", port ' . $port);
await_log($node, $position, 'HINT:  Set session_files.http_listen_address to an IP address of this machine');
is($node->safe_psql('postgres', $workers), '0', 'an address of another machine: the server starts, and no worker serves');
reconfigure($node, 'session_files.http_listen_address' => '127.0.0.1');
my $free = PostgreSQL::Test::Cluster::get_free_port();
my $other = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $free, Listen => 1, ReuseAddr => 1) or die "port: $!";
$port = $free;
restart_with('session_files.http_port' => $port);
await_log($node, $position, "cannot serve HTTP: could not bind to the address \"127.0.0.1\", port $port: Address already in use");
is(lines_since($node, $position, 'cannot serve HTTP'), 1, 'a port that is taken: that is said once');
close($other);
$node->restart;
serves_again('the port is free');

# Another cluster of the same user with the same port: they must not share its connections.
my ($second_node) = create_http_node('second', 'session_files.http_port' => $port);
$second_node->start;
fill($second_node, 'postgres');
await_log($second_node, 0, "cannot serve HTTP: could not bind to the address \"127.0.0.1\", port $port: Address already in use");
is($second_node->safe_psql('postgres', $workers), '0', 'a second cluster does not take the port');
is(ask($port, $listing)->{status}, 403, 'the first one answers');
$node->stop;
$second_node->restart;
await_answer($port, 200, $listing);
pass('the second one has it when it starts after the first has ended');
no_complaints($second_node);
$second_node->stop;

# Background workers.
$position = log_position($node);
reconfigure($node, max_worker_processes => 3);    # the launcher of logical replication, the maintenance worker, and one more
$node->start;
await_log($node, $position, 'too many background workers');
$node->poll_query_until('postgres', $workers, '1') or die 'there is no worker';
is(await_answer($port, 200, '/metrics')->{status}, 200, 'a worker that has a slot serves without the other');

no_complaints($node);
$node->stop;
done_testing();
