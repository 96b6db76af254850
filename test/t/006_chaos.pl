# Whatever is killed, each file gets exactly one final status: 8 workers claim and end 50,000 files in 20 sessions while these are
# filled; workers are killed at random, the server is stopped without a checkpoint twice, and maintain() runs all the time. Then totals
# equal what count(*) says, nothing is lost, nothing was ended twice, by a worker that had lost it, or held by two; and each session was
# announced to be done, however many ended its last files at the same time.
# FAULTS_SEED replays the choices of a run (the seed is printed), though not its timing; CHAOS_SCALE=10 makes it ten times as long.
use strict;
use warnings;

use File::Basename;
use lib dirname(__FILE__);
use Faults;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $scale = $ENV{CHAOS_SCALE} || 1;
my @sizes = map { $_ * $scale }
	(10, 10, 10, 20, 50, 100, 100, 200, 300, 500, 700, 1000, 1500, 2000, 3000, 4000, 5000, 7000, 10_000, 14_500);
my $files = 50_000 * $scale;
# When: at how many files that have a final status.
my @kills = sort { $a <=> $b } map { int(rand(0.95 * $files)) } 1 .. 30 * $scale;
my @crashes = map { int($files * ($_ + rand(0.5) - 0.25) / (2 * $scale + 1)) } 1 .. 2 * $scale;
my ($kills, $crashes) = (scalar(@kills), scalar(@crashes));
diag("CHAOS_SCALE=$scale");

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->append_conf('postgresql.conf', q{
	autovacuum_naptime = 1s
	autovacuum_vacuum_cost_delay = 0
	session_files.max_attempts = 6
	session_files.retry_delay = 100ms
	session_files.retry_delay_limit = 500ms
});
$node->start;
$node->safe_psql('postgres', q{
	CREATE EXTENSION session_files;
	SELECT session_files.create_workspace(name) FROM unnest(ARRAY['a', 'b', 'race']) name;
	CREATE TABLE plan (id serial, session_id uuid, size int, expires bool, registrar int, registered int DEFAULT 0, filled bool DEFAULT false);
	CREATE TABLE audit (n bigserial, at timestamptz DEFAULT clock_timestamp(), kind text, worker text, session_id uuid, file_ingestion_id uuid,
		name text, token uuid, attempt int, until timestamptz, status text, reason text);
	CREATE TABLE upkeep (sessions_expired bigint, files_failed bigint, sessions_deleted bigint, files_deleted bigint, more bool, sessions_failed bigint);
});
# Two sessions are not closed but expire.
for my $i (0 .. $#sizes)
{
	my ($workspace, $expires, $registrar) = (('a', 'b')[ $i % 2 ], $i == 10 || $i == 14 ? 'true' : 'false', 1 + int($i / 2) % 2);
	$node->safe_psql('postgres', qq{
		INSERT INTO plan (session_id, size, expires, registrar)
			VALUES (session_files.create_session('$workspace'), $sizes[$i], $expires, $registrar)
	});
}

my %clients;    # the running ones: process id => name
my $workers = 0;

sub log_of
{
	my ($name) = @_;
	return $node->basedir . "/$name.log";
}

sub start_client
{
	my ($role, $name, @number) = @_;
	my $pid = start_program(log_of($name), '/usr/bin/python3', dirname(__FILE__) . '/chaos.py', $node->connstr('postgres'), $seed, $role, $name, @number);
	$clients{$pid} = $name;
	return $pid;
}

sub stop_client
{
	my ($pid, $signal) = @_;
	stop_program($pid, $signal);
	delete $clients{$pid};
}

sub start_worker
{
	$workers++;
	return start_client('work', "worker_$workers");
}

# Takes note of clients that ended by themselves; dies of those that should not have.
sub reap_clients
{
	for my $pid (keys %clients)
	{
		next if !program_ended($pid);
		my ($name, $status) = (delete $clients{$pid}, $?);
		die "$name ended with status $status: " . slurp_file(log_of($name)) if $status != 0;
	}
}

# Waits for a condition, and gives up when what it stands at has not changed for too long.
sub wait_until
{
	my ($what, $condition) = @_;
	my ($stands_at, $since) = ('', time);
	until ($condition->(\my $now))
	{
		reap_clients();
		($stands_at, $since) = ($now, time) if ($now // '') ne $stands_at;
		die "gave up waiting: $what; it stands at '$stands_at'" if time - $since > $PostgreSQL::Test::Utils::timeout_default;
		usleep(100_000);
	}
}

sub listening
{
	my ($name) = @_;
	wait_until("$name listens", sub { return slurp_file(log_of($name)) =~ /listening/ });
}

# What was announced, each session once per announcement, when maintain() has announced what no other could; ends the listener.
sub announced
{
	my ($pid) = @_;
	my $log = log_of($clients{$pid});
	wait_until('no session is marked', sub {
		my ($now) = @_;
		$$now = $node->safe_psql('postgres', 'SELECT count(*) FROM session_files.file_counts WHERE slot < 0');
		return $$now == 0;
	});
	$node->safe_psql('postgres', q{NOTIFY session_files_done, 'no more'});
	wait_until('all is announced', sub { return slurp_file($log) =~ /no more/ });
	stop_client($pid, 'TERM');
	return slurp_file($log) =~ /^(\S+-\S+)$/mg;
}

# The run.
start_worker() for 1 .. 8;
start_client('register', "registrar_$_", $_) for 1 .. 2;
start_client('maintain', "maintenance_$_") for 1 .. 2;
my $listener = start_client('listen', 'listener_0');
listening('listener_0');
my ($killed, $crashed, $done_before, $end) = (0, 0, '', '');

sub kill_worker
{
	my @running = sort { $a <=> $b } grep { $clients{$_} =~ /^worker_/ } keys %clients;
	stop_client($running[ rand @running ], 'KILL');
	start_worker();
	$killed++;
}

# The sessions that are done; one that is not can only be announced later.
my $done = q{
	SELECT string_agg(s.session_id::text, ' ') FROM session_files.upload_sessions AS s
	WHERE s.status <> 'OPEN' AND NOT EXISTS (SELECT FROM session_files.files AS f WHERE f.session_id = s.session_id AND f.ingestion_status = 'PENDING')
};

sub crash
{
	$node->stop('immediate');
	$node->start;
	$crashed++;
	stop_client($listener, 'TERM');
	$listener = start_client('listen', "listener_$crashed");
	listening("listener_$crashed");
	$done_before = $node->safe_psql('postgres', $done);
}

# How many files have a final status; and 'done' when all of them have one, or 'lost' when no worker can claim those that have none.
my $state = q{
	SELECT count(*) FILTER (WHERE ingestion_status <> 'PENDING'),
		CASE WHEN count(*) FILTER (WHERE ingestion_status = 'PENDING') > 0
				THEN CASE WHEN EXISTS (SELECT FROM session_files.file_queue) THEN '' ELSE 'lost' END
			WHEN EXISTS (SELECT FROM plan WHERE NOT filled) OR EXISTS (SELECT FROM session_files.upload_sessions WHERE status = 'OPEN') THEN ''
			ELSE 'done' END
	FROM session_files.files
};
wait_until('each file has a final status', sub {
	my ($now) = @_;
	$$now = $node->safe_psql('postgres', $state);
	(my $ended, $end) = split(/\|/, $$now, -1);
	while (@kills && $kills[0] <= $ended)
	{
		shift @kills;
		kill_worker();
	}
	if (@crashes && $crashes[0] <= $ended)
	{
		shift @crashes;
		crash();
	}
	return $end ne '';
});
is($end, 'done', 'none of the files got lost: each has a final status');
for my $pid (keys %clients)
{
	stop_client($pid, 'TERM') if $clients{$pid} =~ /^worker/;
}
is("$killed workers killed, $crashed crashes",
	"$kills workers killed, $crashes crashes", 'what was to be killed was killed');

# What is there.
no_row($node, q{
	SELECT p.*, s.status, f.* FROM plan AS p LEFT JOIN session_files.upload_sessions AS s USING (session_id),
		LATERAL (SELECT count(*) AS files, count(DISTINCT split_part(name, ' ', 2)) AS numbers, min(split_part(name, ' ', 2)::int) AS first,
				max(split_part(name, ' ', 2)::int) AS last, count(*) FILTER (WHERE ingestion_status = 'PENDING') AS pending
			FROM session_files.files AS f WHERE f.session_id = p.session_id) AS f
	WHERE (s.status::text = CASE WHEN p.expires THEN 'EXPIRED' ELSE 'CLOSED' END AND f.files = p.size AND f.numbers = p.size
		AND f.first = 0 AND f.last = p.size - 1 AND f.pending = 0) IS NOT TRUE
}, 'each session is at its end, and has the files that were committed, none of them PENDING');
is($node->safe_psql('postgres', 'SELECT count(*) FROM session_files.files'), $files, 'no file is anywhere else');
is($node->safe_psql('postgres', 'SELECT count(*) FROM session_files.file_queue'), 0, 'the queue is empty');
totals_are_exact($node, 'in the end');
no_row($node, q{
	SELECT p.*, f.* FROM session_files.session_progress AS p,
		LATERAL (SELECT count(*) AS total, count(*) FILTER (WHERE ingestion_status = 'FAILED') AS failed,
			count(*) FILTER (WHERE ingestion_status = 'FINISHED') AS finished FROM session_files.files AS f WHERE f.session_id = p.session_id) AS f
	WHERE (p.total, p.failed, p.finished, p.pending, p.claimed, p.delayed) IS DISTINCT FROM (f.total, f.failed, f.finished, 0, 0, 0)
}, 'session_progress agrees');

# What happened, by the audit: what the calls told the workers, written by the same transactions. A step is what changed a file's state,
# with what was before it: the last step, the token that held the file, until when, and how many failed attempts. An attempt has failed if the
# file was delayed, or if the lease of a claim that had this file alone (company) was lost.
$node->safe_psql('postgres', q{
	CREATE TABLE steps AS
		WITH companies AS (SELECT token, count(*) AS company FROM audit WHERE kind = 'claimed' GROUP BY token),
		neighbours AS (
			SELECT a.*, company, lag(kind) OVER w AS last_kind, lag(token) OVER w AS holder, lag(company) OVER w AS held_with,
				lag(until) OVER w AS held_until, lead(n) OVER w AS next_n
			FROM audit AS a JOIN companies USING (token) WHERE kind <> 'lost'
			WINDOW w AS (PARTITION BY session_id, file_ingestion_id ORDER BY n))
		SELECT *, kind = 'claimed' AND last_kind IN ('claimed', 'extended') AS is_lost,
			count(*) FILTER (WHERE kind = 'delayed' OR kind = 'claimed' AND last_kind IN ('claimed', 'extended') AND held_with = 1)
				OVER (PARTITION BY session_id, file_ingestion_id ORDER BY n) AS failed_attempts
		FROM neighbours;
	CREATE INDEX ON steps (session_id, file_ingestion_id, n);
	-- The files: what should become of them, and what did.
	CREATE TABLE results AS
		SELECT f.*, split_part(f.name, ' ', 1) AS kind, coalesce(ends, 0) AS ends, told_status, told_reason, leased_alone, coalesce(attempts, 0) AS attempts,
			coalesce(slowed, false) AS slowed
		FROM session_files.files AS f LEFT JOIN (
			SELECT session_id, file_ingestion_id, count(*) FILTER (WHERE kind = 'ended') AS ends,
				max(status) FILTER (WHERE kind = 'ended') AS told_status, max(reason) FILTER (WHERE kind = 'ended') AS told_reason,
				bool_or(kind IN ('claimed', 'extended') AND company = 1) FILTER (WHERE next_n IS NULL) AS leased_alone,
				max(attempt) AS attempts, bool_or(kind = 'delayed') AS slowed
			FROM steps GROUP BY 1, 2) AS s USING (session_id, file_ingestion_id);
	ANALYZE steps;
	ANALYZE results;
});
no_row($node, q{SELECT * FROM results WHERE ends > 1}, 'no file was ended twice');
no_row($node, q{SELECT * FROM steps WHERE last_kind = 'ended'}, 'what was ended was left alone');
no_row($node, q{
	SELECT * FROM steps WHERE kind <> 'claimed' AND (last_kind IN ('claimed', 'extended') AND token = holder) IS NOT TRUE
}, 'files were ended, extended, delayed and released by the last who claimed them');
no_row($node, q{
	SELECT * FROM steps WHERE kind = 'claimed' AND last_kind <> 'released' AND at < held_until
}, 'no file was claimed while a lease held it, or before its time to be tried again');
no_row($node, q{SELECT * FROM steps WHERE kind = 'claimed' AND (attempt <> failed_attempts + 1 OR attempt > 6)},
	'an attempt begins after each that failed: a report, or the loss of a lease of one file');
no_row($node, q{SELECT * FROM steps WHERE is_lost AND company > greatest(1, held_with / 2)},
	'what comes back from a lost lease is claimed in at most half the company');
no_row($node, q{
	SELECT s.* FROM steps AS s LEFT JOIN session_files.files AS f USING (session_id, file_ingestion_id)
	WHERE s.kind = 'claimed' AND s.name IS DISTINCT FROM f.name
}, 'who claimed a file was told its name');
no_row($node, q{
	SELECT * FROM audit AS a
		LEFT JOIN LATERAL (SELECT * FROM steps AS s
			WHERE s.session_id = a.session_id AND s.file_ingestion_id = a.file_ingestion_id AND s.n < a.n ORDER BY s.n DESC LIMIT 1) AS s ON true
		LEFT JOIN session_files.files AS f ON f.session_id = a.session_id AND f.file_ingestion_id = a.file_ingestion_id
	WHERE a.kind = 'lost' AND (s.kind IN ('claimed', 'extended') AND s.token = a.token AND a.at < s.until
		OR a.status <> 'PENDING' AND (a.status, a.reason) IS DISTINCT FROM (f.ingestion_status::text, f.ingestion_status_reason::text))
}, 'who was told that a file is lost did not hold it, and was told what became of it');
no_row($node, q{
	SELECT * FROM results WHERE ends > 0 AND ((ingestion_status::text, ingestion_status_reason::text) IS DISTINCT FROM (told_status, told_reason)
		OR coalesce(ingestion_status_reason::text, 'FINISHED') <> CASE kind WHEN 'empty' THEN 'EMPTY_FILE' WHEN 'slow' THEN 'SLOWDOWN' ELSE 'FINISHED' END
		OR kind = 'deadly' OR kind = 'slow' AND attempts <> 6)
}, 'a file that was ended has the status with which it was');
no_row($node, q{
	SELECT * FROM results AS r JOIN plan AS p USING (session_id)
	WHERE ends = 0 AND (ingestion_status = 'FAILED' AND CASE ingestion_status_reason
		WHEN 'FILE NAME TOO LONG. MAX LENGTH IS 800' THEN char_length(name) > 800 AND attempts = 0
		WHEN 'INGESTING_FILE_FAILED' THEN leased_alone AND attempts = 6 AND NOT slowed
		WHEN 'FILE_NOT_FOUND' THEN p.expires AND NOT slowed
		WHEN 'SLOWDOWN' THEN slowed AND (leased_alone AND attempts = 6 OR p.expires) END) IS NOT TRUE
}, 'one that no worker ended had a name too long, all its attempts, or a session that expired');
no_row($node, q{
	SELECT * FROM (SELECT sum(sessions_expired) AS sessions, sum(files_failed) AS files FROM upkeep) AS u,
		(SELECT count(*) FILTER (WHERE ingestion_status_reason = 'FILE_NOT_FOUND') AS least, count(*) AS most FROM results
			WHERE ends = 0 AND ingestion_status_reason IN ('FILE_NOT_FOUND', 'SLOWDOWN')) AS r
	WHERE (sessions = 2 AND files BETWEEN least AND most) IS NOT TRUE
}, 'maintain() ended the two sessions, each once, and what was left of their files');
no_row($node, q{
	SELECT kind FROM unnest(ARRAY['claimed', 'extended', 'released', 'delayed', 'ended', 'lost']) AS kind
		WHERE NOT EXISTS (SELECT FROM audit AS a WHERE a.kind = kind.kind)
	UNION ALL
	SELECT reason::text FROM unnest(enum_range(NULL::session_files.ingestion_status_reason)) AS reason
		WHERE reason IN ('EMPTY_FILE', 'FILE_NOT_FOUND', 'INGESTING_FILE_FAILED', 'SLOWDOWN', 'FILE NAME TOO LONG. MAX LENGTH IS 800')
			AND NOT EXISTS (SELECT FROM results WHERE ingestion_status_reason = reason)
}, 'all of this took place');

# Announcements.
my %count;
$count{$_}++ for announced($listener);
my @late = grep { index($done_before, $_) < 0 } split(' ', $node->safe_psql('postgres', $done));
cmp_ok(scalar(@late), '>', 0, 'sessions were done after the last crash');
is(join(' ', grep { !$count{$_} } @late), '', 'each of them was announced');

my $rounds = 150 * $scale;
$listener = start_client('listen', 'race_listener');
listening('race_listener');
my $race = start_client('race', 'race', $rounds);
wait_until('the race is over', sub {
	my ($now) = @_;
	$$now = $node->safe_psql('postgres', 'SELECT count(*) FROM session_files.upload_sessions');
	return !$clients{$race};
});
%count = ();
$count{$_}++ for announced($listener);
my @raced = split(' ', $node->safe_psql('postgres', $done . q{ AND s.workspace_name = 'race'}));
cmp_ok(scalar(@raced), '>=', $rounds, 'sessions whose last files were ended at the same moment, and some closed meanwhile');
is(join(' ', grep { !$count{$_} } @raced), '', 'each was announced');
is($node->safe_psql('postgres', q{SELECT count(*) FROM session_files.upload_sessions WHERE workspace_name = 'race'}), scalar(@raced), 'all of them are done');

$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP:|leak|you don't own|deadlock detected/, 'the server had nothing to complain of');
done_testing();
