# A listing that meets many pages of an index that have nothing but dead entries can be cancelled.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $session = '00000000-0000-7000-8000-000000000001';
my $other_session = '00000000-0000-7000-8000-000000000002';
my $node = PostgreSQL::Test::Cluster->new('pages');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->append_conf('postgresql.conf', 'autovacuum = off');
$node->start;

# The first and the last files are left; between them are 30,000 entries that are known to be dead. VACUUM would remove their pages.
$node->safe_psql('postgres', qq{
	CREATE EXTENSION session_files;
	INSERT INTO session_files.workspaces VALUES ('w');
	INSERT INTO session_files.upload_sessions (session_id, workspace_name) VALUES ('$session', 'w'), ('$other_session', 'w');
	SELECT count(*) FROM session_files.register_files('$session', ARRAY(SELECT n::text FROM generate_series(1, 30000) n));
	DELETE FROM session_files.files WHERE name::int BETWEEN 6 AND 29995;
});
# An index scan marks what it finds to be dead.
$node->safe_psql('postgres', qq{SELECT session_files.get_session_files('w', '$session', "limit" => 100, field => 'created_at', "order" => 'ASC')});

# What the statistics say of the index files_pkey, when all that were connected have reported.
sub scans_and_pages
{
	$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'client backend'});
	return split /\|/, $node->safe_psql('postgres', q{
		SELECT idx_scan, idx_blks_hit + idx_blks_read FROM pg_stat_user_indexes JOIN pg_statio_user_indexes USING (indexrelid)
		WHERE indexrelid = 'session_files.files_pkey'::regclass});
}

# Runs a query in a backend of its own; returns what it says, and how many scans and pages of the index it took.
sub measure
{
	my ($query) = @_;
	my ($scans, $pages) = scans_and_pages();
	my (undef, $stdout, $stderr) = $node->psql('postgres', $query);
	my ($scans_after, $pages_after) = scans_and_pages();
	return ($stdout . $stderr, $scans_after - $scans, $pages_after - $pages);
}

for my $order ('ASC', 'DESC')
{
	my $listing = qq{session_files.get_session_files('w', '$session', "limit" => 8, field => 'created_at', "order" => '$order')};
	my ($names, $scans, $pages) = measure("SELECT string_agg(e ->> 'name', ' ') FROM json_array_elements($listing -> 'data') AS e");
	my @expected = (1 .. 5, 29996 .. 30000);
	is($names, join(' ', ($order eq 'ASC' ? @expected : reverse @expected)[ 0 .. 7 ]), "$order: the files are listed");
	cmp_ok($pages, '>', 200, "$order: from behind 200 pages and more");
	is($scans, 2, "$order: over which the walk of the leaf pages does not go on, but an index scan, which can be cancelled");

	# The signal is there before the listing begins, in a backend that need not look anything up.
	my $warm_up = "SELECT session_files.get_session_files('w', '$other_session')";
	my ($error, undef, $cancelled_pages) = measure("$warm_up;\nSELECT pg_cancel_backend(pg_backend_pid()), $listing");
	like($error, qr/canceling statement due to user request/, "$order: the listing is cancelled");
	cmp_ok($cancelled_pages, '<', 200, "$order: before it has read them all");
}

$node->stop;
done_testing();
