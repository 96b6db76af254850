# The documents are true as far as a machine can tell: the SQL of OPERATIONS.md runs, and finds a healthy database healthy; what the documents
# name is there.
use strict;
use warnings;

use File::Basename;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $root = dirname(__FILE__) . '/../..';
my @documents = map { "$root/$_" } qw(README.md CONTRIBUTING.md OPERATIONS.md SECURITY.md);

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION session_files;
	SELECT session_files.create_workspace('w');
	SELECT count(*) FROM session_files.register_files(session_files.create_session('w'), ARRAY(SELECT 'file ' || n FROM generate_series(1, 300) n));
	SELECT count(*) FROM session_files.claim_files('worker', 10);
});

my @blocks = slurp_file("$root/OPERATIONS.md") =~ /^```sql\n(.*?)^```$/msg;
cmp_ok(scalar @blocks, '>=', 9, 'OPERATIONS.md has statements');
foreach my $block (@blocks)
{
	my ($title) = $block =~ /^(.{1,60})/;
	my ($status, $out, $err) = $node->psql('postgres', $block);
	is("$status: $err", '0: ', "runs: $title");
	is($out, '', 'and finds nothing') if $block =~ /check\(\) WHERE/;
}
my ($longest_wait) = grep { /longest_wait/ } @blocks;
like($node->safe_psql('postgres', $longest_wait), qr/^00:0\d:\d\d\.\d+\|[1-9]\d*$/m, 'the wait of what is queued is seen');

# What is looked for is there under that name.
my ($worker) = map { /backend_type = '([^']+)'/ } @blocks;
like(slurp_file("$root/src/http/worker.h"), qr/"\Q$worker\E"/, 'the HTTP workers are called so');

# Invariants: those that check() has are those that are documented.
my %documented = map { $_ => 1 } map { /`(\w+)`/g } slurp_file("$root/OPERATIONS.md") =~ /^\| (`\w+`(?:, `\w+`)*) \| (?!`)/mg;
is_deeply([ sort keys %documented ], [ sort split /\n/, $node->safe_psql('postgres', 'SELECT invariant FROM session_files.check()') ], 'OPERATIONS.md has every invariant');

# Paths of the project, between back quotes or as the target of a link.
foreach my $document (@documents)
{
	my $text = slurp_file($document);
	my @named = map { s/[# ].*//r } grep { defined } $text =~ /`([^`\n]+)`|\]\(([^)\s]+)\)/g;
	my @paths = grep { m{^(?:test|bench|dev|src|sql|http|postgrest|examples|debian|\.ci)/} || /^[A-Z]+\.md$/ } @named;
	# Made when there is something to keep.
	my @missing = grep { !-e "$root/$_" && $_ ne 'test/fuzz/findings' } @paths;

	cmp_ok(scalar @paths, '>', 3, basename($document) . ' names files');
	is("@missing", '', basename($document) . ': they are there');
}

$node->stop;
done_testing();
