# The clock is set back: connections that are idle are closed all the same, and requests are answered.
use strict;
use warnings;

use File::Basename;
use lib dirname(__FILE__);
use HttpNode;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my ($node, $port) = create_http_node('main', 'session_files.http_workers' => 1, 'session_files.http_idle_timeout' => '3s');
my $shift = $node->basedir . '/shift';

# Sets the server's wall clock off by so many seconds.
sub set_clock
{
	my ($seconds) = @_;
	open(my $file, '>', "$shift.new") or die $!;
	print $file "$seconds\n";
	close($file);
	rename("$shift.new", $shift) or die $!;
	return;
}

set_clock('0');
my $library = $node->basedir . '/shifted_clock.so';
system_or_bail('cc', '-shared', '-fPIC', '-o', $library, dirname(__FILE__) . '/shifted_clock.c');
{
	local %ENV = (%ENV, LD_PRELOAD => $library, SHIFTED_CLOCK => $shift);
	$node->start;
}
fill($node, 'postgres');
my $page = await_answer($port, 200, $listing)->{body};
my $before = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
my $idle = dial($port);
is(ask_on($idle, $listing)->{body}, $page, 'a connection is idle');
set_clock('-1000');
$node->poll_query_until('postgres', "SELECT clock_timestamp() < '$before'") or die 'the clock is not back';
is(ask($port, $listing)->{body}, $page, 'the clock is set back: requests are answered');
ok(ends_cleanly($idle), 'the idle connection is closed');
is($node->safe_psql('postgres', "SELECT clock_timestamp() < '$before'"), 't', 'while the clock is before the time at which it was opened');

no_complaints($node);
$node->stop;
done_testing();
