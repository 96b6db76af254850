# A storm of connections that send nothing, half a request, or never read: others are answered all the time, by the same workers, which are
# as small afterwards as they were. HTTP_STORM says how many connections there are. With HTTP_CHECKED the server runs under a checker, which
# takes time and memory of its own.
use strict;
use warnings;

use File::Basename;
use lib dirname(__FILE__);
use HttpNode;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $count = $ENV{HTTP_STORM} || 20_000;
my $room = int($count / 20);
my ($node, $port) = create_http_node('main', 'session_files.http_max_connections' => $room,
	'session_files.http_unread_size' => '8MB', 'session_files.http_idle_timeout' => '2s');
$node->start;
fill($node, 'postgres');
# Pages of 240 kB: more than the kernel keeps for a client that does not read.
my $large = '/api/v1/workspaces/w/upload_sessions/00000000-0000-7000-8000-000000000002/files?limit=100';
$node->safe_psql('postgres', q{
	INSERT INTO session_files.upload_sessions (session_id, workspace_name, expires_at) VALUES ('00000000-0000-7000-8000-000000000002', 'w', '2999-01-01');
	INSERT INTO session_files.files (session_id, name)
		SELECT '00000000-0000-7000-8000-000000000002', string_agg(chr(20000 + (n * 7919 + c * 104729) % 20000), '')
		FROM generate_series(1, 100) n, generate_series(1, 800) c GROUP BY n;
});
await_serving($node, $port, 2);
my $page = await_answer($port, 200, $large)->{body};
cmp_ok(length($page), '>', 200_000, 'a page is larger than what the kernel keeps');
my $pids = worker_pids($node);

# What the workers have of their own, in kB.
sub memory
{
	my $sum = 0;
	for my $pid (split(/ /, $pids))
	{
		slurp_file("/proc/$pid/status") =~ /^RssAnon:\s+(\d+) kB$/m or die 'no RssAnon';
		$sum += $1;
	}
	return $sum;
}

sub metric
{
	my ($name) = @_;
	my ($value) = ask($port, '/metrics')->{body} =~ /^session_files_http_$name (\d+)$/m;
	return $value;
}

# Sends a storm while another client asks for /healthz; returns what that has seen.
sub storm
{
	my ($connections, $at_once) = @_;
	my ($watch, $seen) = run_helper('watch', $port, '/healthz');
	my ($storm, $out) = run_helper('storm', $port, $large, $connections, $at_once);
	is(<$out>, "stormed $connections\n", "$connections connections, $at_once at a time");
	kill('TERM', $watch);
	return split(/\t/, <$seen>);
}

sub check_storm
{
	my ($name, @seen) = @_;
	my ($good, $other, $none, $silent) = @seen;
	chomp $silent;
	ok($good > 0 && $other == 0 && $none == 0, "$name: others get $good right answers, $other others, and $none times none");
	cmp_ok($silent, '<=', 2000, "$name: never silent for over 2 s, at most $silent ms") unless $ENV{HTTP_CHECKED};
	is(worker_pids($node), $pids, "$name: the workers are the same");
	await('their connections are gone', sub { return metric('connections') <= 1 });
	is(metric('unread_bytes'), 0, "$name: no answer is kept any more");
	is(ask($port, $large)->{body}, $page, "$name: the large page is the same");
}

# Once before, so that what is kept for good is there.
check_storm('before', storm($count / 10, 2000));
my $before = memory();
check_storm('many at a time', storm($count * 0.5, 4000));
cmp_ok(metric('answers_without_room_total'), '>', 0, 'answers that no client reads were refused beyond the limit');
cmp_ok(metric('connections_dropped_total'), '>', 0, 'connections were closed to make room');

# The same without descriptors for a fifth of the connections: EMFILE.
for my $pid (split(/ /, $pids))
{
	my $descriptors = () = glob("/proc/$pid/fd/*");
	my $limit = $descriptors + int($room / 5);
	system_or_bail('prlimit', "--pid=$pid", "--nofile=$limit:$limit");
}
check_storm('no descriptors', storm($count * 0.4, 2000));
my $after = memory();
# Below 4 MB a worker gives no memory back (MUCH_MEMORY in src/http/server.c), and there are two.
cmp_ok($after, '<=', $before * 1.2 + 2 * 4096, "the workers have $after kB, and had $before") unless $ENV{HTTP_CHECKED};
no_complaints($node);
$node->stop;

# Idle clients, more than there may be, that all end in one turn of the loop.
reconfigure($node, 'session_files.http_max_connections' => 20, 'session_files.http_workers' => 1, 'session_files.http_idle_timeout' => '1h');
$node->start;
await_serving($node, $port, 1);
for my $round (1 .. 5)
{
	my @idle = map { dial($port) // die "connection: $!" } 1 .. 40;
	is(ask($port, '/healthz')->{status}, 200, "round $round: beside 40 idle clients of 20 it answers");
	undef @idle;
	is(ask($port, '/healthz')->{status}, 200, "round $round: and when they have ended at once");
}
cmp_ok(metric('connections_dropped_total'), '>=', 20, 'those that had waited longest made room');
$node->stop;
done_testing();
