# What the tests of the HTTP server share: a cluster that serves, and a client that sees every byte.
package HttpNode;
use strict;
use warnings;

use parent 'Exporter';
use Digest::SHA qw(hmac_sha256);
use File::Basename;
use IO::Select;
use IO::Socket::INET;
use MIME::Base64 qw(encode_base64url);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

our @EXPORT = qw($listing $workers ask ask_on await await_answer await_log await_serving create_http_node dial ends_cleanly
	fill lines_since log_position no_complaints read_answer reconfigure request run_helper token worker_pids);

# A listing that always has the same answer.
our $listing = '/api/v1/workspaces/w/upload_sessions/00000000-0000-7000-8000-000000000001/files?limit=5';

# A query for the running workers.
our $workers = q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'session_files http worker'};

$SIG{PIPE} = 'IGNORE';

# The processes of helpers that were started.
my @helpers;

# Makes a cluster with the library preloaded and the given settings; returns it, not started, and its HTTP port.
sub create_http_node
{
	my ($name, %settings) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	$node->init(allows_streaming => 1, extra => [ '--encoding=UTF8', '--locale=C' ]);
	reconfigure($node, shared_preload_libraries => 'session_files_http', 'session_files.http_port' => $port,
		'session_files.http_workers' => 2, %settings);
	return ($node, $port);
}

# Adds settings; the last one counts.
sub reconfigure
{
	my ($node, %settings) = @_;
	$node->append_conf('postgresql.conf', join('', map { "$_ = '$settings{$_}'\n" } sort keys %settings));
}

# Creates the extension, the roles, and what $listing shows.
sub fill
{
	my ($node, $database) = @_;
	$node->safe_psql($database, 'CREATE EXTENSION session_files');
	$node->command_ok([ 'psql', '-XqAt', '-d', $node->connstr($database), '-f', dirname(__FILE__) . '/../../http/roles.sql' ],
		'roles are created');
	$node->safe_psql($database, q{
		BEGIN;
		INSERT INTO session_files.workspaces VALUES ('w');
		INSERT INTO session_files.upload_sessions (session_id, workspace_name, expires_at)
			VALUES ('00000000-0000-7000-8000-000000000001', 'w', '2999-01-01');
		INSERT INTO session_files.files (session_id, file_ingestion_id, name)
			SELECT '00000000-0000-7000-8000-000000000001', ('01980000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, 'file ' || n
			FROM generate_series(1, 20) n;
		SELECT session_files.grant_workspace('session_files_anonymous', 'w');
		COMMIT;
	});
}

# Waits for a condition.
sub await
{
	my ($what, $condition) = @_;
	my $end = time + $PostgreSQL::Test::Utils::timeout_default;
	until ($condition->())
	{
		die "gave up waiting: $what" if time > $end;
		usleep(20_000);
	}
}

sub log_position
{
	my ($node) = @_;
	return -s $node->logfile;
}

# How many lines of the log match, from a position on.
sub lines_since
{
	my ($node, $position, $pattern) = @_;
	my $text = slurp_file($node->logfile, $position);
	return scalar(() = $text =~ /^.*$pattern.*$/mg);
}

sub await_log
{
	my ($node, $position, $pattern) = @_;
	await("the log has $pattern", sub { return lines_since($node, $position, $pattern) > 0 });
}

# Passes if PostgreSQL has not complained of a leak, a crash or a failed assertion.
sub no_complaints
{
	my ($node, $allowed) = @_;
	my $text = slurp_file($node->logfile);
	my @lines = grep { !defined $allowed || $_ !~ $allowed } $text =~ /^(.*(?:WARNING|PANIC|TRAP|terminated by signal).*)$/mg;
	is(join("\n", @lines), '', 'no warning in the log of ' . $node->name);
}

# Connects; returns undef if no worker listens.
sub dial
{
	my ($port, $address) = @_;
	my $socket = IO::Socket::INET->new(PeerAddr => $address // '127.0.0.1', PeerPort => $port, Proto => 'tcp') or return undef;
	binmode($socket);
	$socket->autoflush(1);
	${*$socket}{read} = '';
	return $socket;
}

sub request
{
	my ($target, @headers) = @_;
	return join("\r\n", "GET $target HTTP/1.1", 'Host: test', @headers, '', '');
}

# Reads more of a connection; returns false at its end, and 'reset' in $! then if it was reset.
sub read_more
{
	my ($socket) = @_;
	die 'gave up waiting for an answer' unless IO::Select->new($socket)->can_read($PostgreSQL::Test::Utils::timeout_default);
	local $! = 0;
	my $bytes = sysread($socket, ${*$socket}{read}, 65536, length(${*$socket}{read}));
	${*$socket}{reset} = $!{ECONNRESET} ? 1 : 0;
	return $bytes;
}

# Returns the next answer on a connection: status (0 if the connection ended without one), headers, body.
sub read_answer
{
	my ($socket) = @_;
	my ($status, %headers, $length);
	until (${*$socket}{read} =~ /\r\n\r\n/)
	{
		return { status => 0, headers => {}, body => ${*$socket}{read} } unless read_more($socket);
	}
	${*$socket}{read} =~ s/^(.*?\r\n)\r\n//s;
	my $head = $1;
	($status) = $head =~ m{^HTTP/1\.1 (\d+)};
	$headers{ lc $1 } = $2 while $head =~ /^([^:\r\n]+): *(.*)\r$/mg;
	$length = $headers{'content-length'} // 0;
	while (length(${*$socket}{read}) < $length)
	{
		return { status => 0, headers => \%headers, body => 'cut off' } unless read_more($socket);
	}
	return { status => $status, headers => \%headers, body => substr(${*$socket}{read}, 0, $length, '') };
}

# Sends a request on a connection, and returns the answer.
sub ask_on
{
	my ($socket, $target, @headers) = @_;
	print $socket request($target, @headers);
	return read_answer($socket);
}

# The answer to a request on a connection of its own; the status is 0 if there is none.
sub ask
{
	my ($port, $target, @headers) = @_;
	my $socket = dial($port) or return { status => 0, headers => {}, body => '' };
	return ask_on($socket, $target, 'Connection: close', @headers);
}

# Whether the server has closed a connection, without a reset.
sub ends_cleanly
{
	my ($socket) = @_;
	return !read_more($socket) && !${*$socket}{reset} && ${*$socket}{read} eq '';
}

sub await_answer
{
	my ($port, $status, $target, @headers) = @_;
	my $answer;
	await("$status for $target", sub { $answer = ask($port, $target, @headers); return $answer->{status} == $status });
	return $answer;
}

# Waits until so many workers serve.
sub await_serving
{
	my ($node, $port, $count) = @_;
	$node->poll_query_until('postgres', $workers, $count) or die "there are not $count workers";
	await_answer($port, 200, '/metrics') if $count > 0;
}

sub worker_pids
{
	my ($node) = @_;
	return $node->safe_psql('postgres',
		q{SELECT string_agg(pid::text, ' ' ORDER BY pid) FROM pg_stat_activity WHERE backend_type = 'session_files http worker'});
}

# A token signed by HS256.
sub token
{
	my ($secret, $claims) = @_;
	my $text = encode_base64url('{"alg":"HS256","typ":"JWT"}') . '.' . encode_base64url($claims);
	return 'Authorization: Bearer ' . $text . '.' . encode_base64url(hmac_sha256($text, $secret));
}

# Starts http_clients.py; returns its process, whose output can be read.
sub run_helper
{
	my (@arguments) = @_;
	my $pid = open(my $out, '-|', '/usr/bin/python3', dirname(__FILE__) . '/http_clients.py', @arguments) or die "python3: $!";
	push @helpers, $pid;
	return ($pid, $out);
}

# A test that gives up leaves none behind, which would keep who waits for the end of its output waiting.
my $test = $$;
END
{
	kill('KILL', @helpers) if $$ == $test;
}

1;
