# Beside a transaction that was there before, so that nothing that is deleted can be removed, the 8,000th insertion and deletion of a file
# reads as much as the first ones. Rows, index tuples and pages are counted, not time.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->append_conf('postgresql.conf', "max_prepared_transactions = 1\nautovacuum = off\nenable_seqscan = off");
$node->start;

# A file stays PENDING, so that the session keeps its queue rows.
$node->safe_psql('postgres', q{
	CREATE EXTENSION session_files;
	SELECT session_files.create_workspace('w');
	SELECT count(*) FROM session_files.register_files(session_files.create_session('w'), '{first}');
	CREATE PROCEDURE insert_and_delete(low int, high int) LANGUAGE plpgsql AS $$
	DECLARE
		session constant uuid := (SELECT session_id FROM session_files.upload_sessions);
		id uuid;
	BEGIN
		FOR n IN low .. high LOOP
			INSERT INTO session_files.files (session_id, name) VALUES (session, 'file ' || n) RETURNING file_ingestion_id INTO id;
			COMMIT;
			DELETE FROM session_files.files AS f WHERE f.session_id = session AND f.file_ingestion_id = id;
			COMMIT;
		END LOOP;
	END
	$$;
	-- What was read so far. file_counts has slots, and tests of its own.
	CREATE VIEW reads AS
		SELECT (SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FROM pg_stat_user_tables WHERE schemaname = 'session_files' AND relname <> 'file_counts')
			+ (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes WHERE schemaname = 'session_files' AND relname <> 'file_counts')
			+ (SELECT sum(heap_blks_hit + heap_blks_read + coalesce(idx_blks_hit + idx_blks_read, 0)) FROM pg_statio_user_tables
				WHERE schemaname = 'session_files' AND relname <> 'file_counts') AS reads;
	BEGIN;
	CREATE TABLE old ();
	PREPARE TRANSACTION 'old';
});

my @reads;
foreach my $thousand (0 .. 7)
{
	my $low = $thousand * 1000;
	my $high = $low + 999;
	push @reads, $node->safe_psql('postgres', qq{
		SELECT pg_stat_force_next_flush() \\g /dev/null
		TABLE reads \\gset before_
		CALL insert_and_delete($low, $high);
		SELECT pg_stat_force_next_flush() \\g /dev/null
		SELECT reads - :before_reads FROM reads;
	});
}
diag("reads of each thousand: @reads");
cmp_ok($reads[0], '>', 10000, 'reads are counted');
cmp_ok($reads[7] / $reads[0], '<=', 1.5, 'the last thousand insertions and deletions read as much as the first');

$node->safe_psql('postgres', 'VACUUM session_files.files, session_files.file_queue; SELECT pg_stat_force_next_flush()');
is($node->safe_psql('postgres', q{SELECT bool_and(n_dead_tup >= 8000) FROM pg_stat_user_tables WHERE relname = 'files'}), 't', 'dead rows are all there');
is($node->safe_psql('postgres', q{SELECT count(*) FROM session_files.check() WHERE broken > 0}), '0', 'every invariant holds');

$node->safe_psql('postgres', q{ROLLBACK PREPARED 'old'});
$node->stop;
done_testing();
