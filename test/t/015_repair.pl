# repair() at work beside everything else: what is damaged again and again, by hand, while clients write and list, is exact after it, though
# two of them run at once; and one that is killed has done nothing.
# FAULTS_ROUNDS, FAULTS_SEED.
use strict;
use warnings;

use File::Basename;
use IPC::Run;
use lib dirname(__FILE__);
use Faults;
use HttpNode;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $damages = 5 * $rounds;
my ($node, $port) = create_faults_node('main');
$node->start;
fill_faults($node);
my $page = await_answer($port, 200, $listing)->{body};
$node->safe_psql('postgres', q{
	INSERT INTO session_files.upload_sessions (session_id, workspace_name, expires_at)
		SELECT ('00000000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, 'load', '2999-01-01' FROM generate_series(100, 104) n;
	INSERT INTO session_files.files (session_id, name)
		SELECT session_id, 'counted ' || n FROM session_files.upload_sessions, generate_series(1, 200) n WHERE workspace_name = 'load';
});

# Five sessions may be damaged in any way; of the load's the totals, and the queue where no worker holds anything.
sub damage
{
	my ($number) = @_;
	$node->safe_psql('postgres', qq{
		BEGIN;
		SET LOCAL session_replication_role = replica;
		INSERT INTO session_files.files (session_id, name)
			SELECT session_id, 'uncounted $number ' || n FROM session_files.upload_sessions, generate_series(1, 200) n
			WHERE session_id::text ~ '^00000000-0000-7000-8000-0000000001';
		UPDATE session_files.files SET ingestion_status = 'FINISHED' WHERE name ~ '^uncounted .*[05]\$' AND ingestion_status = 'PENDING';
		DELETE FROM session_files.files WHERE name ~ '^uncounted .*[37]\$';
		INSERT INTO session_files.file_queue (session_id, workspace_name, due_at, file_ingestion_ids, generation)
			SELECT session_id, workspace_name, due_at, file_ingestion_ids, generation FROM session_files.file_queue
			WHERE session_id::text ~ '^00000000-0000-7000-8000-0000000001';
		INSERT INTO session_files.file_counts (session_id, slot, failed, finished, pending, digest)
			SELECT session_id, $number, n, 2 * n, -n, n * 1234567890123
			FROM session_files.upload_sessions, LATERAL (SELECT 1 + (random() * 100)::int AS n) AS r WHERE workspace_name = 'load'
			UNION ALL SELECT gen_random_uuid(), 0, 1, 1, 1, 1;
		DELETE FROM session_files.file_counts WHERE ctid = ANY (ARRAY(
			SELECT c.ctid FROM session_files.file_counts AS c JOIN session_files.upload_sessions AS s USING (session_id)
			WHERE workspace_name = 'load' AND random() < 0.2 FOR UPDATE OF c SKIP LOCKED));
		DELETE FROM session_files.file_queue WHERE ctid = ANY (ARRAY(
			SELECT ctid FROM session_files.file_queue WHERE session_id::text !~ '^00000000-0000-7000-8000-00000000'
				AND lease_token IS NULL AND random() < 0.2 FOR UPDATE SKIP LOCKED));
		COMMIT;
	});
}

sub repairs
{
	my ($number) = @_;
	my @repairs = map {
		my ($out, $error) = ('', '');
		{ error => \$error, run => IPC::Run::start(
			[ 'psql', '-XqAt', '-d', $node->connstr('postgres'), '-c', 'SELECT * FROM session_files.repair()' ], '>', \$out, '2>', \$error) }
	} 1 .. $number;
	return grep { $_ ne '' } map { IPC::Run::finish($_->{run}); ${ $_->{error} } } @repairs;
}

sub broken
{
	return $node->safe_psql('postgres', q{SELECT string_agg(invariant, ' ') FROM session_files.check() WHERE broken > 0});
}

# Totals and queue are damaged, and repaired by two at once, while clients write to the same sessions and others list.
my $load = start_load($node, 'repaired', clients => 3);
my $end_answers = start_answers($port, $page);
my ($damaged, @errors) = (0);
for my $number (1 .. $damages)
{
	await_load($load, 10);
	damage($number);
	$damaged++ if broken() =~ /^(?=.*totals)(?=.*totals_session)(?=.*queue)(?=.*queue_once)/;
	push @errors, repairs(2);
	totals_are_exact($node, "damage $number, after two repairs");
}
is($damaged, $damages, 'each time there was something to repair');
is("@errors", '', 'the repairs had nothing to complain of');
$end_answers->('while it repairs');
settle_down($load, 'in the end');

# While one has done all but commit, others go on; a transaction that waits gives up. Nor has it waited for what the load has left prepared.
damage(0);
my $repair = $node->background_psql('postgres');
$repair->query_safe('BEGIN');
$repair->query_safe(q{SET lock_timeout = '10s'});
$repair->query_safe('SELECT * FROM session_files.repair()');
is($node->safe_psql('postgres', q{
	SET lock_timeout = '10s';
	SELECT count(*) FROM session_files.register_files('00000000-0000-7000-8000-000000000100', ARRAY['beside 1', 'beside 2']);
	SELECT count(*) FROM session_files.finish_files('00000000-0000-7000-8000-000000000100',
		ARRAY(SELECT file_ingestion_id FROM session_files.files WHERE name IN ('beside 1', 'uncounted 0 1') AND session_id = '00000000-0000-7000-8000-000000000100'));
	SELECT count(*) FROM session_files.claim_files('beside', 1, '1 second', NULL, '00000000-0000-7000-8000-000000000100');
	SELECT count(*) FROM session_files.maintain();
	SELECT count(session_files.get_session_files('load', session_id)) FROM session_files.upload_sessions WHERE session_id = '00000000-0000-7000-8000-000000000100';
	SELECT count(*) FROM pg_locks WHERE NOT granted;
}), "2\n2\n1\n1\n1\n0", 'an open repair stops no client from writing, claiming and listing');
is(ask($port, $listing)->{body}, $page, 'nor over HTTP');

# It is killed, before it has committed; and others, wherever they are.
my $pid = $repair->query_safe('SELECT pg_backend_pid()');
kill('KILL', $pid);
$node->poll_query_until('postgres', "SELECT pg_backend_pid() <> $pid AND NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $pid)")
	or die 'the server did not come back';
eval { $repair->quit };
like(broken(), qr/totals.*queue/, 'one that was killed has repaired nothing');
my $killed = 0;
for my $number (1 .. 2 * $rounds)
{
	my $log = '';
	my $run = IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('postgres'), '-c', 'SELECT * FROM session_files.repair()' ],
		'<', \'', '>', \$log, '2>', \$log);
	my $position = log_position($node);
	await('a repair runs', sub {
		($pid) = $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE query LIKE 'SELECT * FROM session_files.repair()' AND state = 'active'}) =~ /(\d+)/;
		# That it is over already is known when the end of its output is read.
		$run->pump_nb if $run->pumpable;
		return defined $pid || !$run->pumpable;
	});
	if (defined $pid && kill('KILL', $pid))
	{
		$killed++;
		await_log($node, $position, qr/database system is ready to accept connections/);
	}
	eval { IPC::Run::finish($run) };
	damage(-$number) if broken() eq '';
}
cmp_ok($killed, '>', 0, "$killed repairs killed at work");
is(join('', repairs(1)), '', 'the next one repairs');
totals_are_exact($node, 'after one that was left alone');
answers_are_right($node, 'after one that was left alone');
pages_are_intact($node, 'after all');
$node->stop;
done_testing();
