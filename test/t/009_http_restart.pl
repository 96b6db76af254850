# The server is stopped and started, and its workers replaced, under load: clients come back, and no answer is wrong.
# HTTP_RESTARTS says how often.
use strict;
use warnings;

use File::Basename;
use lib dirname(__FILE__);
use HttpNode;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $restarts = $ENV{HTTP_RESTARTS} || 3;
my ($node, $port) = create_http_node('main');
$node->start;
fill($node, 'postgres');
my $page = await_answer($port, 200, $listing)->{body};

sub answers_of
{
	my ($load, $out) = @_;
	kill('TERM', $load);
	my %seen = map { split(/\t/, $_) } <$out>;
	close($out);
	chomp(%seen);
	return %seen;
}

for my $mode ('fast', 'immediate')
{
	my ($load, $out) = run_helper('load', $port, $listing, 8, 1);
	for (1 .. $restarts)
	{
		$node->stop($mode);
		$node->start;
		await_serving($node, $port, 2);
		is(await_answer($port, 200, $listing)->{body}, $page, "served after the stop ($mode)");
	}
	my %seen = answers_of($load, $out);
	my $connections = delete $seen{connections};
	my $right = delete $seen{"200 $page"};
	# What was cancelled, or came while the server started.
	my $refused = delete $seen{'503 {"detail":"Service Unavailable"}'} // 0;
	ok($right && $connections > 8, "$mode: $right right answers on $connections connections, $refused times 503");
	is(join("\n", map { "$seen{$_} times $_" } keys %seen), '', "$mode: no other answer");
}

# Workers end and others take their places: no client is refused meanwhile, and 503 is no answer then.
my ($load, $out) = run_helper('load', $port, $listing, 8, 1);
for (1 .. $restarts)
{
	my $pids = worker_pids($node);
	kill('TERM', split(/ /, $pids));
	ok(defined dial($port), 'clients can connect');
	$pids =~ s/ /, /;
	$node->poll_query_until('postgres', "$workers AND pid NOT IN ($pids)", '2') or die 'the workers were not replaced';
}
await_answer($port, 200, $listing);
my %seen = answers_of($load, $out);
my $connections = delete $seen{connections};
my $right = delete $seen{"200 $page"};
ok($right && $connections > 8, "workers replaced: $right right answers on $connections connections");
is(join("\n", map { "$seen{$_} times $_" } keys %seen), '', 'no other answer');

no_complaints($node, qr/terminating connection because of crash|WARNING:  terminating connection/);
$node->stop;
done_testing();
