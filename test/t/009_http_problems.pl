# What keeps the HTTP server from serving is said once, with a hint, and tried again without a flood of processes or lines; when the
# cause is gone, it serves by itself.
use strict;
use warnings;

use File::Basename;
use lib dirname(__FILE__);
use HttpNode;
use IO::Socket::INET;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my ($node, $port) = create_http_node('main', 'session_files.http_role' => 'door');
my $position = 0;
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION session_files');

# The launcher looks every 2 s at what keeps it from serving: when it has looked at least twice more, nothing more was said.
sub said_once
{
	my ($line, $hint) = @_;
	await_log($node, $position, $line);
	my $until = time + 5;
	await('the launcher has looked again', sub { return time > $until });
	is(lines_since($node, $position, 'cannot serve HTTP'), 1, "said once: $line");
	is(lines_since($node, $position, $line), 1, 'with these words');
	is(lines_since($node, $position, "HINT:  .*$hint"), 1, "and a hint: $hint");
	is(lines_since($node, $position, 'FATAL'), 0, 'no worker was started for nothing');
	is($node->safe_psql('postgres', $workers), '0', 'none runs');
}

# Applies settings, without stopping anything else.
sub set
{
	$position = log_position($node);
	reconfigure($node, @_);
	$node->reload;
}

sub serves_again
{
	my ($why) = @_;
	is(await_answer($port, 401, $listing, 'Authorization: Bearer wrong')->{status}, 401, "it serves by itself: $why");
	$node->poll_query_until('postgres', $workers, '2') or die 'there are not two workers';
}

# The role.
said_once('the role "door" does not exist', 'Create it as http/roles.sql does');
$position = log_position($node);
$node->safe_psql('postgres', 'CREATE ROLE door NOLOGIN');
said_once('the role "door" cannot log in', 'Alter it WITH LOGIN');
$position = log_position($node);
$node->safe_psql('postgres', 'ALTER ROLE door LOGIN SUPERUSER');
said_once('the role "door" is a superuser', 'can do nothing but become others');
$node->safe_psql('postgres', 'ALTER ROLE door NOSUPERUSER');
serves_again('the role is right');
$position = log_position($node);
$node->safe_psql('postgres', 'ALTER ROLE door SUPERUSER');
$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'session_files http worker'});
said_once('the role "door" is a superuser', 'can do nothing but become others');
$node->safe_psql('postgres', 'ALTER ROLE door NOSUPERUSER');
serves_again('the role is right again');

# The database.
set('session_files.http_database' => 'later');
said_once('the database "later" does not exist', 'Create it, or set session_files.http_database');
$position = log_position($node);
$node->safe_psql('postgres', 'CREATE DATABASE later ALLOW_CONNECTIONS false');
said_once('the database "later" does not allow connections', 'Alter it WITH ALLOW_CONNECTIONS true');
$node->safe_psql('postgres', 'ALTER DATABASE later ALLOW_CONNECTIONS true');
serves_again('the database is there');
$node->safe_psql('postgres', 'REVOKE CONNECT ON DATABASE later FROM PUBLIC');
$position = log_position($node);
$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'session_files http worker'});
await_log($node, $position, 'permission denied for database "later"');
$node->safe_psql('postgres', 'GRANT CONNECT ON DATABASE later TO PUBLIC');
serves_again('the right to connect is back');

# The address and the port.
set('session_files.http_listen_address' => '192.0.2.1');
said_once('could not bind to the address "192.0.2.1"', 'to an IP address of this machine');
set('session_files.http_listen_address' => 'localhost');
said_once('could not read the address "localhost"', 'to an IP address of this machine');
set('session_files.http_listen_address' => '127.0.0.1');
serves_again('the address is one of this machine');
my $free = PostgreSQL::Test::Cluster::get_free_port();
my $other = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $free, Listen => 1, ReuseAddr => 1) or die "port: $!";
my $old = $port;
$port = $free;
set('session_files.http_port' => $port);
said_once("port $port: Address already in use", 'to a port that is free');
close($other);
serves_again('the port is free');

# Another cluster of the same user with the same port: they must not share its connections.
my ($second) = create_http_node('second', 'session_files.http_port' => $port);
$second->start;
fill($second, 'postgres');
await_log($second, 0, "cannot serve HTTP: could not bind to the address \"127.0.0.1\", port $port: Address already in use");
is($second->safe_psql('postgres', $workers), '0', 'a second cluster does not take the port');
is(ask($port, $listing)->{status}, 403, 'the first one answers');
$node->stop;
await_answer($port, 200, $listing);
pass('the second one takes over when the first has ended');
no_complaints($second);
$second->stop;
$position = log_position($node);

# Background workers.
$node->start;
serves_again('it is alone again');
reconfigure($node, max_worker_processes => 3);    # the launchers of logical replication and of HTTP, and one more
$position = log_position($node);
$node->restart;
await_log($node, $position, 'no background worker is free for the HTTP worker 2 of 2');
my $until = time + 5;
await('the launcher has looked again', sub { return time > $until });
is(lines_since($node, $position, 'no background worker is free for the HTTP worker 2 of 2'), 1, 'a worker that finds no slot is named once');
is(lines_since($node, $position, 'HINT:  .*max_worker_processes'), 1, 'with a hint');
is(ask($port, '/metrics')->{status}, 200, 'the worker that has one serves');
set('session_files.http_workers' => 1);
set('session_files.http_workers' => 2);
await_log($node, $position, 'no background worker is free for the HTTP worker 2 of 2');
pass('what was mended and is wrong again is said again');

no_complaints($node);
$node->stop;
done_testing();
