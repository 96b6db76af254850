# The HTTP server is off unless it is preloaded and has workers; its settings are read at a start or at a reload, and what is wrong is said.
use strict;
use warnings;

use File::Basename;
use lib dirname(__FILE__);
use HttpNode;
use MIME::Base64 qw(encode_base64url);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my ($node, $port) = create_http_node('main', shared_preload_libraries => 'session_files', 'session_files.http_anonymous_role' => '');
my $processes = q{SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'session_files http%'};

# Applies settings that are read at the start of the server.
sub restart_with
{
	my ($count, %settings) = @_;
	reconfigure($node, %settings);
	$node->restart;
	await_serving($node, $port, $count);
	return;
}

# Asks with the method OPTIONS, on a connection of its own.
sub options
{
	my ($port, $target, @headers) = @_;
	my $socket = dial($port) or return { status => 0 };
	print $socket request($target, 'Connection: close', @headers) =~ s/^GET/OPTIONS/r;
	return read_answer($socket);
}

# Off.
my @pids;
$node->start;
fill($node, 'postgres');
is($node->safe_psql('postgres', $processes), '0', 'without session_files_http among the preloaded libraries no process runs');
is(dial($port), undef, 'and no worker listens');
reconfigure($node, shared_preload_libraries => 'session_files_http', 'session_files.http_workers' => 0);
$node->restart;
is(dial($port), undef, 'without workers the port is closed');
is($node->safe_psql('postgres', $processes), '0', 'and no process runs');

# Workers, and who needs a token.
restart_with(2, 'session_files.http_workers' => 2);
is(ask($port, $listing)->{status}, 401, 'without an anonymous role a request needs a token');
is(ask($port, $listing)->{headers}{'www-authenticate'}, 'Bearer', 'and is told so');
is(ask($port, $_)->{status}, 200, "$_ needs none") for '/healthz', '/openapi.json', '/openapi.json?x=1', '/metrics', 'http://test/healthz',
	'HTTPS://test:1/openapi.json?x', '/%68ealth%7A', '/openapi%2ejson', 'http://test/%68ealthz?';
is(ask($port, $_)->{status}, 401, "$_ does") for '/healthz/x', '/healthzx', '/openapi.json/', '//healthz', '/%2Fhealthz', '/healthz%00', '/healthz%3F', 'ftp://test/healthz',
	'http://test', '/?/healthz', '/HEALTHZ';

# Pages of other origins: off unless some are allowed; a preflight comes without a token.
my $app = 'Origin: https://app.example.org';
my @preflight = ($app, 'Access-Control-Request-Method: GET', 'Access-Control-Request-Headers: authorization');
is(options($port, $listing, @preflight)->{status}, 401, 'without an allowed origin OPTIONS is a method like others');
is(join(' ', grep { /^access-control|^vary/ } keys %{ ask($port, '/healthz', $app)->{headers} }), '', 'and answers are for no page');
foreach my $value ('*', 'https://app.example.org', 'http://127.0.0.1:3000', 'http://[::1]:80', ' https://a , http://b.example:8443 ', 'app+1-x.y://host', '')
{
	is(($node->psql('postgres', "LOAD 'session_files'; ALTER SYSTEM SET session_files.http_allow_origin = '$value'", on_error_stop => 1))[0], 0, "'$value' is a list of origins");
}
foreach my $value ('* ', '*,https://a', 'https://a,', ',', ' ', 'https://', '://a', 'https://a/', 'https://a:', 'https://a:123456', 'https://a:8x', 'https://A.example', 'HTTPS://a',
	'1a://b', 'a', 'null', 'https://user@a', 'https://a b', 'https://*.example.org', 'https://a;https://b', "https://a\nX: y", "https://a\r", "https://a\x7f", "https://\xc3\xa4.example",
	'http://[::1', 'http://[]x', 'http://[::1]x', 'https://a"')
{
	my (undef, undef, $err) = $node->psql('postgres', "LOAD 'session_files'; ALTER SYSTEM SET session_files.http_allow_origin = '$value'");
	like($err, qr/invalid value for parameter "session_files.http_allow_origin".*DETAIL:.*is not an origin.*HINT:/s,
		"'" . ($value =~ s/[^ -~]/?/gr) . "' is none");
}
reconfigure($node, 'session_files.http_allow_origin' => 'http://127.0.0.1:3000, https://app.example.org');
$node->safe_psql('postgres', q{LOAD 'session_files'; ALTER SYSTEM RESET session_files.http_allow_origin});
@pids = worker_pids($node);
$node->reload;
await('an origin is allowed', sub { return options($port, $listing, @preflight)->{status} == 204 });
my $preflight = options($port, $listing, @preflight);
is_deeply({ map { $_ => $preflight->{headers}{$_} } qw(access-control-allow-origin access-control-allow-methods access-control-allow-headers access-control-max-age vary content-length) },
	{ 'access-control-allow-origin' => 'https://app.example.org', 'access-control-allow-methods' => 'GET, HEAD', 'access-control-max-age' => '7200',
		'access-control-allow-headers' => 'Authorization, If-None-Match, Content-Type', vary => 'Origin', 'content-length' => undef },
	'a reload allows origins; a preflight needs no token');
is(options($port, $listing, 'Origin: https://other.example.org', $preflight[1])->{status}, 401, 'that of another origin does');
my $refused = ask($port, $listing, $app);
is("$refused->{status} $refused->{headers}{'access-control-allow-origin'} $refused->{headers}{vary} $refused->{headers}{'cache-control'}",
	'401 https://app.example.org Authorization, Origin no-store', 'a page can read why it gets nothing');
reconfigure($node, 'session_files.http_allow_origin' => '*');
$node->reload;
await('all are allowed', sub { return (ask($port, '/healthz')->{headers}{'access-control-allow-origin'} // '') eq '*' });
is(options($port, $listing, 'Origin: null', $preflight[1])->{headers}{'access-control-allow-origin'}, '*', 'all of them');
is(ask($port, '/healthz', $app)->{headers}{vary}, undef, 'then answers do not depend on it');
is(join(' ', worker_pids($node)), join(' ', @pids), 'for none of that a worker was started again');
reconfigure($node, 'session_files.http_anonymous_role' => 'session_files_anonymous');
$node->reload;
my $page = await_answer($port, 200, $listing)->{body};
is($page, $node->safe_psql('postgres', q{SELECT session_files.get_session_files('w', '00000000-0000-7000-8000-000000000001', "limit" => 5)}),
	'a reload gives an anonymous role');
my $pids = worker_pids($node);

# What is read at the start of the server stays as it is at a reload, and is said in the log.
my $position = log_position($node);
reconfigure($node, 'session_files.http_workers' => 4);
$node->reload;
await_log($node, $position, '"session_files.http_workers" cannot be changed without restarting the server');
is(worker_pids($node), $pids, 'a reload leaves the workers as they are');
restart_with(4);
pass('a restart starts more');

# Where it listens. Connections of before end cleanly.
my $idle = dial($port);
ask_on($idle, $listing);
my $old_port = $port;
$port = PostgreSQL::Test::Cluster::get_free_port();
restart_with(2, 'session_files.http_workers' => 2, 'session_files.http_port' => $port);
is(await_answer($port, 200, $listing)->{body}, $page, 'the port can be changed');
ok(ends_cleanly($idle), 'connections to the old one ended cleanly');
is(dial($old_port), undef, 'where no worker listens any more');
reconfigure($node, 'session_files.http_listen_address' => '::1');
$node->restart;
SKIP:
{
	skip('there is no IPv6', 1) unless -e '/proc/net/if_inet6' && slurp_file('/proc/net/if_inet6') =~ /^0{31}1 /m;
	await('the new address answers', sub { return system("curl -gs -o /dev/null 'http://[::1]:$port/healthz'") == 0 });
	pass('the address can be one of IPv6');
}
is(dial($port), undef, 'and the old one is left');
restart_with(2, 'session_files.http_listen_address' => '127.0.0.1');

# A value that is none is refused where it is set.
for (
	[ 'session_files.http_listen_address', 'localhost', 'takes an IP address' ],
	[ 'session_files.http_listen_address', '', 'takes an IP address' ],
	[ 'session_files.http_listen_address', '127.0.0.1 ', 'takes an IP address' ],
	[ 'session_files.http_port', '70000', 'outside the valid range' ],
	[ 'session_files.http_workers', '65', 'outside the valid range' ],
	[ 'session_files.http_unread_size', '1kB', 'outside the valid range' ],
	[ 'session_files.http_jwk_set_file', '/dev/null', 'is not a regular file' ],
	[ 'session_files.http_jwk_set_file', $node->data_dir, 'is not a regular file' ])
{
	my ($name, $value, $why) = @$_;
	my ($status, undef, $error) = $node->psql('postgres', "ALTER SYSTEM SET $name = '$value'");
	ok($status != 0 && $error =~ /$why/, "$name = '$value' is refused: $error");
}
is(ask($port, $listing)->{status}, 200, 'and all goes on');

# Database, role, limits.
$node->safe_psql('postgres', 'CREATE DATABASE empty');
restart_with(2, 'session_files.http_database' => 'empty');
like(await_answer($port, 503, $listing)->{body}, qr/does not have the extension/, 'the database can be changed');
$node->safe_psql('postgres', q{CREATE ROLE other_server LOGIN NOINHERIT; GRANT session_files_anonymous TO other_server});
restart_with(2, 'session_files.http_database' => 'postgres', 'session_files.http_role' => 'other_server');
await_answer($port, 200, $listing);
is($node->safe_psql('postgres', q{SELECT string_agg(DISTINCT usename, ',') FROM pg_stat_activity WHERE backend_type = 'session_files http worker'}),
	'other_server', 'the role can be changed');
is(ask($port, $listing, 'X: ' . 'x' x 3000)->{status}, 200, 'a header of 3 kB is not too large');
restart_with(2, 'session_files.http_header_size' => '2kB');
await_answer($port, 200, $listing);
is(ask($port, $listing, 'X: ' . 'x' x 3000)->{status}, 431, 'until the limit is lowered');
restart_with(2, 'session_files.http_header_size' => '16kB');
$pids = worker_pids($node);
reconfigure($node, 'session_files.http_idle_timeout' => '1s', 'session_files.http_body_size' => 10);
$node->reload;
await('the limit of a body can be lowered', sub { return ask($port, $listing, 'Content-Length: 11', '', 'x' x 7)->{status} == 413 });
ok(ends_cleanly(dial($port)), 'and the limit of idle time');
reconfigure($node, 'session_files.http_idle_timeout' => '60s', 'session_files.http_body_size' => '64kB');
$node->reload;
is(worker_pids($node), $pids, 'by a reload, with the workers as they are');

# Keys.
my ($old, $new) = ('a secret of at least 32 bytes, number one', 'a secret of at least 32 bytes, number two');
my $claims = '{"role":"session_files_anonymous"}';
is(ask($port, $listing, token($old, $claims))->{status}, 401, 'without a key a token is refused');
reconfigure($node, 'session_files.http_jwt_secret' => $old);
$node->reload;
$pids = worker_pids($node);
my $kept = dial($port);
await('the token is taken', sub { return ask_on($kept, $listing, token($old, $claims))->{status} == 200 });
is(ask_on($kept, $listing, token($new, $claims))->{status}, 401, 'another one is refused');
reconfigure($node, 'session_files.http_jwt_secret' => $new);
$node->reload;
await('the old token is refused', sub { return ask_on($kept, $listing, token($old, $claims))->{status} == 401 });
is(ask_on($kept, $listing, token($new, $claims))->{status}, 200, 'and the new one taken, on the same connection');
my $file = $node->basedir . '/keys.json';
my $write_keys = sub {
	unlink($file);
	append_to_file($file, '{"keys":[{"kty":"oct","alg":"HS256","k":"' . encode_base64url($_[0]) . '"}]}');
	$node->reload;
};
reconfigure($node, 'session_files.http_jwt_secret' => '', 'session_files.http_jwk_set_file' => $file);
$write_keys->($old);
await('a token by the file is taken', sub { return ask_on($kept, $listing, token($old, $claims))->{status} == 200 });
$write_keys->($new);
await('the file is replaced', sub { return ask_on($kept, $listing, token($old, $claims))->{status} == 401 });
is(ask_on($kept, $listing, token($new, $claims))->{status}, 200, 'a set of keys in a file is read again by a reload');
is(worker_pids($node), $pids, 'for none of that a worker was started again');

# Wrong values.
$position = log_position($node);
reconfigure($node, 'session_files.http_jwt_secret' => 'short', 'session_files.http_jwk_set_file' => '');
$node->reload;
await_log($node, $position, 'could not use the keys for tokens');
await('tokens are refused', sub { return ask_on($kept, $listing, token($new, $claims))->{status} == 401 });
is(ask_on($kept, $listing)->{status}, 200, 'a secret that is too short is named in the log, and requests without a token are served on');
# PostgreSQL itself logs what a reload changes.
is(lines_since($node, $position, 'short'), lines_since($node, $position, 'parameter "session_files.http_jwt_secret" changed'),
	'what the server says does not show it');
$position = log_position($node);
reconfigure($node, 'session_files.http_jwt_secret' => '', 'session_files.http_jwk_set_file' => '/nowhere/keys');
$node->reload;
await_log($node, $position, 'could not read the keys in "/nowhere/keys": No such file');
await_log($node, $position, 'HINT:  Until session_files.http_jwk_set_file names keys');
is(ask_on($kept, $listing)->{status}, 200, 'so is a file that is not there');
$position = log_position($node);
system_or_bail('mkfifo', $node->basedir . '/fifo');
reconfigure($node, 'session_files.http_jwk_set_file' => $node->basedir . '/fifo');
$node->reload;
await_log($node, $position, 'fifo" is not a regular file');
is(ask_on($kept, $listing)->{status}, 200, 'a FIFO keeps no worker waiting');
reconfigure($node, 'session_files.http_jwk_set_file' => '', 'session_files.http_anonymous_role' => 'nobody_of_that_name');
$node->reload;
is(await_answer($port, 403, $listing)->{body}, '{"detail":"Forbidden"}', 'an anonymous role that is not there may do nothing');

no_complaints($node);
$node->stop;
done_testing();
