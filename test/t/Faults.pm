# What the tests of faults share: a cluster that serves HTTP and has a maintenance worker, the load of test/load/ledger.py, and what must hold of
# the database after a fault; programs that end with the test.
package Faults;
use strict;
use warnings;

use parent 'Exporter';
use File::Basename;
use lib dirname(__FILE__);
use HttpNode;
use POSIX qw(_exit);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::RecursiveCopy;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

our @EXPORT = qw($rounds $seed answers_are_right await_load copy_ledgers count_ends create_faults_node fill_faults drop_loads ledgers_hold no_row
	pages_are_intact prefix_holds program_ended settle_down start_answers start_load start_program stop_load stop_program totals_are_exact);

# How often each fault takes place, and what chooses among them.
our $rounds = $ENV{FAULTS_ROUNDS} || 2;
our $seed = $ENV{FAULTS_SEED} || int(rand(1_000_000_000));
srand($seed);
diag("FAULTS_SEED=$seed FAULTS_ROUNDS=$rounds");

my ($program, $test) = (dirname(__FILE__) . '/../load/ledger.py', $$);
my %programs;    # the running ones: process id => 1
my $ledgers;    # the folder of all ledgers of this test: a load may go on at another node
my @outputs;    # kept: to close one waits for its process, which ends with the test

END
{
	kill('KILL', keys %programs) if $$ == $test;
}

# Makes a cluster with the library preloaded and the given settings; returns it, not started, and its HTTP port.
sub create_faults_node
{
	my ($name, %settings) = @_;
	$ledgers = $PostgreSQL::Test::Utils::log_path . '/ledgers_' . basename($0, '.pl');
	mkdir $ledgers;
	return create_http_node($name,
		shared_preload_libraries => 'session_files,session_files_http',
		'session_files.maintenance_database' => 'postgres',
		'session_files.maintenance_interval' => '1s',
		'session_files.max_attempts' => 1000,
		autovacuum_naptime => '1s',
		autovacuum_vacuum_cost_delay => 0,
		max_connections => 40,
		max_prepared_transactions => 40,
		# Half of the statements would be in the log, with all their names.
		log_statement => 'none',
		log_min_error_statement => 'panic',
		restart_after_crash => 'on',
		%settings);
}

sub fill_faults
{
	my ($node) = @_;
	fill($node, 'postgres');
	$node->safe_psql('postgres', q{
		CREATE EXTENSION amcheck;
		INSERT INTO session_files.workspaces VALUES ('load');
		SELECT session_files.grant_workspace('session_files_anonymous', 'load');
	});
}

# Programs

# Starts a program with its output in a log; returns its process.
sub start_program
{
	my ($name, @command) = @_;
	# It is there at once, to be read.
	open(my $log, '>', $name) or die "$name: $!";
	my $pid = fork // die "fork: $!";
	if ($pid == 0)
	{
		open(STDOUT, '>&', $log) && open(STDERR, '>&', $log) && exec(@command);
		_exit(127);
	}
	$programs{$pid} = 1;
	return $pid;
}

# Ends a program by a signal; returns its status.
sub stop_program
{
	my ($pid, $signal) = @_;
	kill($signal, $pid);
	waitpid($pid, 0);
	delete $programs{$pid};
	return $?;
}

# Whether a program has ended by itself; $? is its status.
sub program_ended
{
	my ($pid) = @_;
	return 0 if waitpid($pid, POSIX::WNOHANG) != $pid;
	delete $programs{$pid};
	return 1;
}

# The load

# Starts clients, by default of the node itself; returns what stop_load takes. Two loads have two names.
sub start_load
{
	my ($node, $name, %options) = @_;
	my @command = ('/usr/bin/python3', $program, 'load', $options{connstr} // $node->connstr('postgres'), $seed, $ledgers, $name,
		$options{clients} // 4, @{ $options{errors} // [] });
	my $log = "$ledgers/$name.log";
	local $ENV{FAULTS_FILES} = $options{files} if $options{files};
	return { pid => start_program($log, @command), log => $log, node => $node };
}

# Has the load end; it looks what became of what is in doubt, if there is a server.
sub stop_load
{
	my ($load) = @_;
	is(stop_program($load->{pid}, 'TERM'), 0, 'no transaction of the load is half there') or diag(slurp_file($load->{log}));
}

# How many transactions ended so.
sub count_ends
{
	my ($end) = @_;
	my $count = 0;
	$count += () = slurp_file($_) =~ /"end": "$end/g for glob("$ledgers/*.ledger");
	return $count;
}

# Waits until the load has done more, and dies if it has ended.
sub await_load
{
	my ($load, $more) = @_;
	my $wanted = count_ends('there') + $more;
	await("$more transactions more", sub {
		die 'the load ended: ' . slurp_file($load->{log}) if program_ended($load->{pid});
		usleep(100_000);
		return count_ends('there') >= $wanted;
	});
}

sub copy_ledgers
{
	my ($name) = @_;
	my $copy = "${ledgers}_$name";
	PostgreSQL::Test::RecursiveCopy::copypath($ledgers, $copy);
	return $copy;
}

sub compare_ledgers
{
	my ($name, @arguments) = @_;
	my ($out, $error) = run_command([ '/usr/bin/python3', $program, @arguments ]);
	like($out, qr/transactions of \d+ clients: /, $name) or diag($error);
	diag("$name: $out");
}

# Passes if all that was acknowledged is there, and nothing else.
sub ledgers_hold
{
	my ($node, $name) = @_;
	compare_ledgers("$name: what was acknowledged is there, and nothing else", 'verify', $node->connstr('postgres'), $ledgers);
}

# Passes if a node has what was there at a moment between two copies of the ledgers.
sub prefix_holds
{
	my ($node, $earlier, $later, $name) = @_;
	compare_ledgers("$name: of each client the first transactions, whole", 'prefix', $node->connstr('postgres'), $later, $earlier);
}

# What must hold

# Passes when a query, of things that must not be, has no rows; shows some that it has. A node is asked, or a session of one.
sub no_row
{
	my ($asked, $query, $name) = @_;
	my $limited = "SELECT * FROM ($query) AS wrong LIMIT 5";
	return is($asked->can('query_safe') ? $asked->query_safe($limited) : $asked->safe_psql('postgres', $limited), '', $name);
}

# Whatever goes on beside.
sub totals_are_exact
{
	my ($node, $name) = @_;
	no_row($node, q{
		SELECT s.session_id, filter, l.listed, c.counted
		FROM session_files.upload_sessions AS s, unnest(ARRAY[NULL, 'FAILED', 'FINISHED', 'PENDING']) AS filter,
			LATERAL (SELECT (session_files.get_session_files(s.workspace_name, s.session_id, filter, 0) ->> 'total')::bigint AS listed) AS l,
			LATERAL (SELECT count(*) AS counted FROM session_files.files AS f
				WHERE f.session_id = s.session_id AND (filter IS NULL OR f.ingestion_status::text = filter)) AS c
		WHERE l.listed IS DISTINCT FROM c.counted
	}, "$name: totals equal count(*)");
	no_row($node, q{SELECT * FROM session_files.check() WHERE broken > 0}, "$name: check() finds nothing broken");
}

# While no client writes: answers, with their ETag, are those of a copy of the session that is written at once; each PENDING file can be
# claimed, once.
sub answers_are_right
{
	my ($node, $name) = @_;
	my $wrong = $node->safe_psql('postgres', q{
		BEGIN;
		CREATE TEMPORARY TABLE twins AS SELECT s.*, session_files.uuid7() AS twin FROM session_files.upload_sessions AS s;
		INSERT INTO session_files.upload_sessions SELECT twin, workspace_name, status, write_mode, created_at, expires_at FROM twins;
		INSERT INTO session_files.files (session_id, file_ingestion_id, ingestion_status, ingestion_status_reason, name)
			SELECT t.twin, f.file_ingestion_id, f.ingestion_status, f.ingestion_status_reason, f.name
			FROM twins AS t JOIN session_files.files AS f USING (session_id);
		SELECT t.session_id, parameters FROM twins AS t, unnest(ARRAY['limit=100', 'limit=5&page_number=3', 'field=name&order=ASC',
				'ingestion_status=PENDING', 'field=ingestion_status_reason', 'field=name&ingestion_status=FAILED&limit=50']) AS parameters,
			LATERAL (SELECT '/api/v1/workspaces/' || t.workspace_name || '/upload_sessions/' AS path) AS p,
			session_files.handle_request('GET', path || t.session_id || '/files?' || parameters) AS a,
			session_files.handle_request('GET', path || t.twin || '/files?' || parameters) AS b
		WHERE (a.status, a.headers::text, a.body) IS DISTINCT FROM (200, b.headers::text, b.body) OR a.headers::text !~ 'ETag';
		ROLLBACK;
	});
	is($wrong, '', "$name: answers and ETags are those of a copy");
	$wrong = $node->safe_psql('postgres', q{
		BEGIN;
		SET LOCAL lock_timeout = '100s';
		UPDATE session_files.file_queue SET due_at = clock_timestamp() - interval '1 second' WHERE due_at > clock_timestamp();
		CREATE TEMPORARY TABLE claimed (session_id uuid, file_ingestion_id uuid);
		-- Not those that a transaction has settled which was prepared: it may have removed their entries, too.
		CREATE TEMPORARY TABLE free AS
			SELECT session_id, file_ingestion_id FROM session_files.files WHERE ingestion_status = 'PENDING' FOR UPDATE SKIP LOCKED;
		DO $$
		BEGIN
			LOOP
				INSERT INTO claimed SELECT session_id, file_ingestion_id FROM session_files.claim_files('all', 1000, '1 hour');
				EXIT WHEN NOT FOUND;
			END LOOP;
		END
		$$;
		SELECT * FROM (SELECT session_id, file_ingestion_id FROM session_files.files WHERE ingestion_status = 'PENDING') AS f
			FULL JOIN (SELECT session_id, file_ingestion_id, count(*) AS times FROM claimed GROUP BY 1, 2) AS c USING (session_id, file_ingestion_id)
			WHERE f IS NULL OR c.times > 1 OR (c.times IS NULL AND (session_id, file_ingestion_id) IN (SELECT * FROM free)) LIMIT 5;
		ROLLBACK;
	});
	is($wrong, '', "$name: each PENDING file can be claimed, once")
		or diag($node->safe_psql('postgres', q{
			SELECT now(), f, s, q FROM session_files.files AS f JOIN session_files.upload_sessions AS s USING (session_id)
				LEFT JOIN session_files.file_queue AS q ON q.session_id = f.session_id AND f.file_ingestion_id = ANY (q.file_ingestion_ids)
				WHERE f.file_ingestion_id::text = '} . ((split(/\|/, $wrong))[1] // '') . q{' ORDER BY q.due_at}));
}

# All heaps and indexes, entry by entry.
sub pages_are_intact
{
	my ($node, $name) = @_;
	$node->command_ok([ 'pg_amcheck', '--schema', 'session_files', '--heapallindexed', $node->connstr('postgres') ],
		"$name: amcheck finds nothing");
}

# Ends a load, and has a look at everything.
sub settle_down
{
	my ($load, $name) = @_;
	stop_load($load);
	ledgers_hold($load->{node}, $name);
	totals_are_exact($load->{node}, $name);
	answers_are_right($load->{node}, $name);
}

# Removes what loads have left, and their ledgers; the room is free again.
sub drop_loads
{
	my ($node) = @_;
	$node->safe_psql('postgres', "ROLLBACK PREPARED '$_'") for split(/\n/, $node->safe_psql('postgres', 'SELECT gid FROM pg_prepared_xacts'));
	$node->safe_psql('postgres', q{DELETE FROM session_files.upload_sessions WHERE workspace_name = 'load'});
	$node->safe_psql('postgres', 'VACUUM FULL session_files.files, session_files.file_queue, session_files.file_counts');
	unlink(glob("$ledgers/*.ledger"));
}

# HTTP

# Starts clients that ask for the listing of HttpNode.pm; the second of what it returns ends them, and passes if no answer was another
# one than the right one, whole, or 503.
sub start_answers
{
	my ($port, $page) = @_;
	my ($clients, $out) = run_helper('load', $port, $listing, 2, 1);
	push @outputs, $out;
	return sub {
		my ($name) = @_;
		kill('TERM', $clients);
		my %seen = map { split(/\t/, $_) } <$out>;
		close($out);
		chomp(%seen);
		my $connections = delete $seen{connections};
		my $right = delete $seen{"200 $page"} // 0;
		my $refused = delete $seen{'503 {"detail":"Service Unavailable"}'} // 0;
		cmp_ok($right, '>', 0, "$name: $right right answers on $connections connections, $refused times 503");
		is(join("\n", map { "$seen{$_} times $_" } keys %seen), '', "$name: no other answer");
		return $right;
	};
}

1;
