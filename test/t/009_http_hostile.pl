# Clients that are slow, that vanish, that send too much or what is no HTTP do no harm to others, and to no worker.
# HTTP_CONNECTIONS says how many slow clients there are, HTTP_CLIENTS how many vanish.
use strict;
use warnings;

use File::Basename;
use lib dirname(__FILE__);
use HttpNode;
use PostgreSQL::Test::BackgroundPsql;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $connections = $ENV{HTTP_CONNECTIONS} || 2000;
my $rounds = $ENV{HTTP_CLIENTS} || 300;
my ($node, $port) = create_http_node('main', 'session_files.http_workers' => 1, 'session_files.http_idle_timeout' => '5s',
	'session_files.http_max_connections' => $connections + 100);
$node->start;
fill($node, 'postgres');
my $page = await_answer($port, 200, $listing)->{body};
my $pid = worker_pids($node);

# Applies settings.
sub change
{
	reconfigure($node, @_);
	$node->restart;
	await_answer($port, 200, $listing);
	$pid = worker_pids($node);
	return;
}

sub open_connections
{
	my ($count) = ask($port, '/metrics')->{body} =~ /^session_files_http_connections (\d+)$/m;
	return $count;
}

sub lines_of
{
	my ($out) = @_;
	my @lines = <$out>;
	close($out);
	chomp(@lines);
	return @lines;
}

# The corpus: http_corpus.json says what may come back.
my ($helper, $out) = run_helper('corpus', $port, dirname(__FILE__) . '/http_corpus.json', $listing, $pid);
my @results = map { [ split(/\t/, $_, -1) ] } lines_of($out);
is($results[-1][0], 'done', 'the corpus was sent to its end');
for my $result (@results[ 0 .. $#results - 1 ])
{
	is($result->[0] eq 'right' ? '' : $result->[2], '', $result->[1]);
}
is(worker_pids($node), $pid, 'the worker is the same');

# A header that is too large: its client reads why, however much it sends.
for my $size (20_000, 100_000, 1_000_000)
{
	($helper, $out) = run_helper('large', $port, $size);
	is(join('', lines_of($out)), '431', "a header of $size bytes: 431 is read");
}

# Heads of every size that a connection has room for, beside an answer with two long links: each is answered or refused, and none is closed.
my $middle = $node->safe_psql('postgres', q{SELECT file_ingestion_id FROM session_files.files WHERE name = 'file 10'});
my ($none, @statuses) = (0);
for my $parameters ('', '&' . 'p' x 1000)
{
	for my $case ([ 'a: b', "\r\n", '' ], [ 'a=b', ';', 'Cookie: ' ], [ 'abcdef=' . 'x' x 90, '; ', 'Cookie: ' ], [ 'Abcdef: ' . 'x' x 90, "\r\n", '' ])
	{
		my ($unit, $between, $before) = @$case;
		my $most = int(9000 / length($unit . $between));
		for (my $count = 0; $count <= $most; $count += $most / 90)
		{
			my $status = ask($port, "$listing&before=$middle$parameters", $count < 1 ? () : $before . join($between, ($unit) x $count))->{status};
			$statuses[$status]++;
			$none++ if $status == 0;
		}
	}
}
is($none, 0, 'a head with many headers or cookies: none without an answer');
is(join(' ', grep { $statuses[$_] } 0 .. $#statuses), '200 431', 'but the listing, or the status 431');

# Clients that vanish, while others are served. Their connections do not have to wait for the idle timeout.
change('session_files.http_idle_timeout' => '1h');
my ($load, $answers) = run_helper('load', $port, $listing, 2, 0);
($helper, $out) = run_helper('vanish', $port, $listing, $rounds);
is(join('', lines_of($out)), "vanished $rounds", "$rounds clients vanish");
kill('TERM', $load);
my %seen = map { split(/\t/, $_) } lines_of($answers);
delete $seen{connections};
my $right = delete $seen{"200 $page"};
ok($right && !%seen, "meanwhile others get $right right answers, and no other: " . join(' ', %seen));
await('their connections are gone', sub { return open_connections() == 1 });
is(worker_pids($node), $pid, 'the worker is the same');

# Slow clients, while others are served; the idle timeout ends them.
my $slow;
change('session_files.http_idle_timeout' => '5s');
($helper, $slow) = run_helper('slow', $port, $connections);
my $line = <$slow>;
is($line, "open $connections\n", "$connections clients send a byte a second");
($load, $answers) = run_helper('load', $port, $listing, 2, 0);
$line = <$slow>;
is($line, "ended $connections\n", 'the idle timeout ends them all');
close($slow);
kill('TERM', $load);
%seen = map { split(/\t/, $_) } lines_of($answers);
delete $seen{connections};
$right = delete $seen{"200 $page"};
ok($right && !%seen, "meanwhile others get $right right answers, and no other: " . join(' ', %seen));
is(worker_pids($node), $pid, 'the worker is the same');
await('their connections are gone', sub { return open_connections() == 1 });

# More connections than there may be: the one that has waited longest makes room.
change('session_files.http_idle_timeout' => '1h', 'session_files.http_max_connections' => 10);
my @open = map { my $socket = dial($port); ask_on($socket, $listing); $socket } 1 .. 10;
my $until = time + 2;
my $cut = 0;
while (time < $until)
{
	$cut += ask_on($_, $listing)->{status} != 200 for @open;
}
is($cut, 0, 'at the limit those that are open are served, and none is closed');
ask_on($open[0], $listing);
is(ask($port, $listing)->{body}, $page, 'so is one more');
ok(ends_cleanly($open[1]), 'for which the one that has waited longest is closed');
is(ask_on($_, $listing)->{body}, $page, 'and no other') for @open[ 0, 9 ];

# What pg_stat_activity shows, and the log, is ASCII, whatever is asked for, and however much of it.
my $psql = $node->background_psql('postgres');
$psql->query_safe('BEGIN; LOCK TABLE session_files.upload_sessions IN ACCESS EXCLUSIVE MODE');
my ($path) = $listing =~ /^(.*)\?/;
for my $case ([ "\xf0", '%F0' ], [ "\xc3\xa9\xe2\x82", '%C3%A9%E2%82' ], [ 'x' x 2000 . "\xf0\x9f", undef ], [ "\xf0" x 1500, undef ])
{
	my ($sent, $shown) = @$case;
	my $socket = dial($port);
	print $socket request("$path?$sent");
	$node->poll_query_until('postgres', q{SELECT count(*) > 0 FROM pg_stat_activity WHERE backend_type = 'session_files http worker' AND wait_event_type = 'Lock'})
		or die 'no request waits';
	my $query = $node->safe_psql('postgres', q{SELECT query FROM pg_stat_activity WHERE backend_type = 'session_files http worker' AND state = 'active'});
	ok($query =~ /^GET \Q$path\E\?[!-~]+$/ && (!defined $shown || $query eq "GET $path?$shown"), 'pg_stat_activity shows ' . substr($query, -40));
	is(read_answer($socket)->{status}, 503, 'the request runs into its timeout');
}
$psql->query_safe('COMMIT');
$psql->quit;
unlike(slurp_file($node->logfile), qr/[^\x09\x0a\x20-\x7e]/, 'so does the log');

no_complaints($node);
$node->stop;
done_testing();
