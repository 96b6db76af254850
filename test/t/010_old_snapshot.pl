# What writers and readers look at does not grow with the row versions that an old snapshot keeps: over thousands of calls, the last ones read
# as many index tuples, rows and pages as the first. A cost that grew with each call would be fifteen times as high.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->append_conf('postgresql.conf', "autovacuum = off\nfsync = off\nfull_page_writes = off");
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION session_files;
	SELECT session_files.create_workspace('w');
	CREATE PROCEDURE call(statements text[], session uuid, first integer, calls integer) LANGUAGE plpgsql AS $$
	DECLARE
		statement text;
		id uuid;
	BEGIN
		FOR n IN first .. first + calls - 1 LOOP
			FOREACH statement IN ARRAY statements LOOP
				EXECUTE statement INTO id USING session, n::text, id;
				COMMIT;
			END LOOP;
		END LOOP;
	END $$;
});

# $1 is the session, $2 a name, $3 what the statement before returned.
my $register = q{SELECT file_ingestion_id FROM session_files.register_files($1, ARRAY[$2])};
my $finish = q{SELECT file_ingestion_id FROM session_files.finish_files($1, ARRAY[$3])};
my $delete = q{DELETE FROM session_files.files WHERE session_id = $1 AND file_ingestion_id = $3 RETURNING file_ingestion_id};
my $claim = q{SELECT c.file_ingestion_id FROM session_files.claim_files('w', 1, session_id => $1) AS c,
	LATERAL session_files.finish_files($1, ARRAY[c.file_ingestion_id], c.lease_token)};
my $page = q{SELECT NULL::uuid FROM (SELECT session_files.get_session_files('w', $1)) AS page};

# What was read so far, by table.
sub read_so_far
{
	my ($client) = @_;
	$client->query_safe('SELECT pg_stat_force_next_flush()');
	my %reads = map { split /\|/ } split /\n/, $client->query_safe(q{
		SELECT t.relname, t.seq_tup_read + t.idx_tup_fetch + b.heap_blks_hit + b.heap_blks_read + b.idx_blks_hit + b.idx_blks_read
			+ (SELECT sum(i.idx_tup_read) FROM pg_stat_all_indexes AS i WHERE i.relid = t.relid)
			FROM pg_stat_all_tables AS t JOIN pg_statio_all_tables AS b USING (relid)
			WHERE t.schemaname = 'session_files' AND t.relname IN ('file_counts', 'file_queue', 'files', 'upload_sessions')});
	return %reads;
}

# Returns what so many calls read, per call and by table.
sub reads_of
{
	my ($client, $statements, $session, $first, $calls) = @_;
	my %before = read_so_far($client);
	$client->query_safe("CALL call(ARRAY[" . join(', ', map { "\$s\$$_\$s\$" } @$statements) . "], '$session', $first, $calls)");
	my %after = read_so_far($client);
	return map { $_ => ($after{$_} - $before{$_}) / $calls } keys %after;
}

my %kinds = (
	'register and delete' => [ $register, $delete ],
	'register, claim and finish' => [ $register, $claim ],
	'register, finish and list' => [ $register, $finish, $page ],
);
# Of the queue, void rows are deleted within a budget of pages, which are not used up at the start.
my %more = (file_queue => 300);
my $first_session = $node->safe_psql('postgres', q{SELECT session_files.create_session('w')});
$node->safe_psql('postgres', qq{SELECT count(*) FROM session_files.register_files('$first_session', ARRAY(SELECT n::text FROM generate_series(1, 10000) n))});
foreach my $kind (sort keys %kinds)
{
	my $session = $node->safe_psql('postgres', q{SELECT session_files.create_session('w')});
	# Plans for tables that are not empty.
	$node->safe_psql('postgres', 'VACUUM ANALYZE');
	my $holder = $node->background_psql('postgres');
	$holder->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ');
	$holder->query_safe('SELECT count(*) FROM session_files.files');
	my $client = $node->background_psql('postgres');
	my %early = reads_of($client, $kinds{$kind}, $session, 1, 250);
	reads_of($client, $kinds{$kind}, $session, 251, 1500);
	my %late = reads_of($client, $kinds{$kind}, $session, 1751, 250);
	foreach my $table (sort keys %late)
	{
		cmp_ok($late{$table}, '<=', 2 * $early{$table} + ($more{$table} || 10), "$kind: $table, as much at the end as at the start")
			or diag("$early{$table} at the start");
	}
	$client->quit;
	$holder->quit;
}
$node->stop;
done_testing();
