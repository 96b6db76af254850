# Ids are strictly increasing within a backend though the clock stands still.
use strict;
use warnings;

use IPC::Run qw(run);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION session_files');
$node->stop;

# A single-user backend prints each column as: 1: name = "value" (...).
my $query = q{SELECT count(*) AS ids, bool_and(id > previous) AS increasing, min(session_files.uuid7_time(id)) AS first, max(session_files.uuid7_time(id)) AS last }
	. q{FROM (SELECT id, lag(id) OVER (ORDER BY n) AS previous FROM (SELECT n, session_files.uuid7() AS id FROM generate_series(1, 10000) n) made) pairs};
my ($out, $err) = ('', '');
local $ENV{TZ} = 'UTC';
run([ 'faketime', '-f', '2026-01-01 12:00:00', 'postgres', '--single', '-c', 'timezone=UTC', '-D', $node->data_dir, 'postgres' ],
	'<', \"$query\n", '>', \$out, '2>', \$err)
	or die "single-user backend failed: $err";

like($out, qr/ids = "10000"/, 'ids are made');
like($out, qr/increasing = "t"/, 'each is greater than the one before');
like($out, qr/first = "2026-01-01 12:00:00\+00"/, 'the first has the time at which the clock stands');
like($out, qr/last = "2026-01-01 12:00:00.00[23]\d*\+00"/, 'the last is a few milliseconds ahead of it');

done_testing();
