# Whatever dies in the middle of a write, totals equal what count(*) says, nothing committed is lost and
# nothing uncommitted is there; a slot held by a prepared transaction makes no other wait.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->append_conf('postgresql.conf', 'max_prepared_transactions = 4');
$node->append_conf('postgresql.conf', 'restart_after_crash = on');
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION session_files;
	INSERT INTO session_files.workspaces VALUES ('w');
	INSERT INTO session_files.upload_sessions (session_id, workspace_name) VALUES ('00000000-0000-7000-8000-000000000001', 'w');
});

my $register = q{SELECT count(*) FROM session_files.register_files('00000000-0000-7000-8000-000000000001', ARRAY(SELECT '%s ' || n FROM generate_series(1, 1000) n))};
my $totals = q{
	SELECT session_files.get_session_files('w', '00000000-0000-7000-8000-000000000001', "limit" => 0) ->> 'total',
		(SELECT count(*) FROM session_files.files), (SELECT string_agg(DISTINCT split_part(name, ' ', 1), ' ') FROM session_files.files)
};

# The digest beside that of a copy of the files, which is written at once.
my $digests = q{
	BEGIN;
	INSERT INTO session_files.upload_sessions (session_id, workspace_name) VALUES ('00000000-0000-7000-8000-000000000002', 'w');
	INSERT INTO session_files.files SELECT '00000000-0000-7000-8000-000000000002', file_ingestion_id, ingestion_status, ingestion_status_reason, name FROM session_files.files;
	SELECT count(DISTINCT digest) || ' of ' || count(*) FROM (SELECT bit_xor(digest) AS digest FROM session_files.file_counts GROUP BY session_id) d;
	ROLLBACK;
};

sub totals_are
{
	my ($count, $kinds, $name) = @_;
	is($node->safe_psql('postgres', $totals), "$count|$count|$kinds", $name);
	is($node->safe_psql('postgres', $digests), '1 of 2', "$name: the digest too");
}

$node->safe_psql('postgres', sprintf($register, 'kept'));
totals_are(1000, 'kept', 'a committed registration is counted');

# A backend killed in its transaction takes the server down, which comes up again by itself.
my $victim = $node->background_psql('postgres');
$victim->query_safe('BEGIN');
$victim->query_safe(sprintf($register, 'killed'));
my $pid = $victim->query_safe('SELECT pg_backend_pid()');
is(kill('KILL', $pid), 1, 'a backend is killed');
$node->poll_query_until('postgres', "SELECT pg_backend_pid() <> $pid AND NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $pid)")
	or die 'the server did not come back';
eval { $victim->quit };
totals_are(1000, 'kept', 'after kill -9 of a backend');

# The whole server stopped without a checkpoint.
my $other = $node->background_psql('postgres');
$other->query_safe('BEGIN');
$other->query_safe(sprintf($register, 'stopped'));
$node->safe_psql('postgres', sprintf($register, 'replayed'));
$node->stop('immediate');
eval { $other->quit };
$node->start;
totals_are(2000, 'kept replayed', 'after an immediate stop: what was committed is replayed, the rest is not there');

# A prepared transaction keeps its slot locked over a restart; others go on.
$node->safe_psql('postgres', 'BEGIN; ' . sprintf($register, 'prepared') . q{; PREPARE TRANSACTION 'p'});
$node->restart;
$node->safe_psql('postgres', q{SET lock_timeout = '10s'; } . sprintf($register, 'beside'));
totals_are(3000, 'beside kept replayed', 'beside a prepared transaction');
$node->safe_psql('postgres', q{COMMIT PREPARED 'p'});
totals_are(4000, 'beside kept prepared replayed', 'after COMMIT PREPARED');
$node->safe_psql('postgres', 'BEGIN; ' . sprintf($register, 'dropped') . q{; PREPARE TRANSACTION 'p'; ROLLBACK PREPARED 'p'});
totals_are(4000, 'beside kept prepared replayed', 'after ROLLBACK PREPARED');

$node->stop;
done_testing();
