# Standbys under load: their answers are the primary's of the same moment, and they write nothing of their own; one that follows
# synchronously is promoted when the primary is killed, and has all that was acknowledged; work, leases and HTTP go on there; the old primary
# is wound back and follows. A copy of the folder with its WAL is the same again.
# FAULTS_ROUNDS, FAULTS_SEED.
use strict;
use warnings;

use File::Basename;
use lib dirname(__FILE__);
use Faults;
use HttpNode;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my ($node, $port) = create_faults_node('a', wal_log_hints => 'on', wal_keep_size => '1GB',
	hot_standby_feedback => 'on', synchronous_commit => 'remote_apply', max_wal_size => '1GB');
$node->start;
fill_faults($node);

# All answers of a node: every session, by several parameters, with headers.
my $answers = q{
	SELECT md5(string_agg(concat_ws('|', s.session_id, parameters, a.status, a.headers::text, a.body), E'\n' ORDER BY s.session_id, parameters)),
		count(*), sum((SELECT count(*) FROM session_files.files AS f WHERE f.session_id = s.session_id))
	FROM session_files.upload_sessions AS s, unnest(ARRAY['limit=100', 'limit=5&page_number=3', 'field=name&order=ASC', 'ingestion_status=PENDING',
			'field=ingestion_status_reason', 'field=name&ingestion_status=FAILED&limit=50']) AS parameters,
		session_files.handle_request('GET', '/api/v1/workspaces/' || s.workspace_name || '/upload_sessions/' || s.session_id || '/files?' || parameters) AS a
};

# A standby of a node, with an HTTP port of its own.
sub follow
{
	my ($primary, $name) = @_;
	$primary->backup("for_$name");
	my $standby = PostgreSQL::Test::Cluster->new($name);
	my $its_port = PostgreSQL::Test::Cluster::get_free_port();
	$standby->init_from_backup($primary, "for_$name", has_streaming => 1);
	reconfigure($standby, 'session_files.http_port' => $its_port, synchronous_standby_names => '');
	$standby->start;
	return ($standby, $its_port);
}

sub follows_synchronously
{
	my ($primary, $standby) = @_;
	reconfigure($primary, synchronous_standby_names => $standby->name);
	$primary->reload;
	$primary->poll_query_until('postgres', q{SELECT sync_state FROM pg_stat_replication WHERE application_name = '} . $standby->name . q{'}, 'sync')
		or die 'the standby is not synchronous';
}

# Compares the standby's answers with the primary's at one place of the WAL, in the middle of the clients' transactions: they stand still.
sub same_at_one_moment
{
	my ($primary, $standby, $load, $name) = @_;
	kill('STOP', $load->{pid});
	$primary->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'ledger' AND state = 'active' AND wait_event IS DISTINCT FROM 'ClientRead'})
		or die 'the load does not stand still';
	my $expected = $primary->safe_psql('postgres', $answers);
	my $lsn = $primary->safe_psql('postgres', 'SELECT pg_current_wal_insert_lsn()');
	$standby->poll_query_until('postgres', "SELECT pg_last_wal_replay_lsn() >= '$lsn'") or die 'the standby does not follow';
	$standby->safe_psql('postgres', 'SELECT pg_wal_replay_pause()');
	$standby->poll_query_until('postgres', 'SELECT pg_get_wal_replay_pause_state()', 'paused') or die 'replay does not pause';
	kill('CONT', $load->{pid});
	is($standby->safe_psql('postgres', $answers), $expected, "$name: the standby's answers and ETags are the primary's");
	totals_are_exact($standby, "$name, on the standby");
	$standby->safe_psql('postgres', 'SELECT pg_wal_replay_resume()');
}

my ($standby, $standby_port) = follow($node, 'b');
for my $round (1 .. $rounds)
{
	follows_synchronously($node, $standby);
	my ($host, @ports) = ($node->host, $node->port, $standby->port);
	my $load = start_load($node, "round$round", clients => 3,
		connstr => "host=$host,$host port=$ports[0],$ports[1] dbname=postgres target_session_attrs=read-write");
	# At first each page that the WAL changes is in it, and is compared with the standby's own. That makes much WAL.
	for my $checked ('all', '')
	{
		reconfigure($node, wal_consistency_checking => $checked);
		$node->reload;
		await_load($load, $checked ? 15 : 40);
		same_at_one_moment($node, $standby, $load, "round $round, " . ($checked ? 'pages compared' : 'no pages compared'));
	}

	# A worker holds files when the primary goes, and another one's lease is over by then.
	$node->safe_psql('postgres', q{
		SELECT count(*) FROM session_files.register_files('00000000-0000-7000-8000-000000000001', ARRAY(SELECT 'held } . $round . q{ ' || n FROM generate_series(1, 30) n));
	});
	my $held = $node->safe_psql('postgres', q{SELECT lease_token, array_agg(file_ingestion_id) FROM session_files.claim_files('holder', 20, '1 hour', NULL,
		'00000000-0000-7000-8000-000000000001') GROUP BY 1});
	my ($token, $ids) = split(/\|/, $held);
	my ($last_id) = $node->safe_psql('postgres', 'SELECT session_files.uuid7()');

	await_load($load, 20);
	my $page = await_answer($standby_port, 200, $listing)->{body};
	my $end_answers = start_answers($standby_port, $page);
	my @pids = split(' ', $node->safe_psql('postgres', q{SELECT string_agg(pid::text, ' ') FROM pg_stat_activity}));
	$node->kill9;
	await('all processes are gone', sub { return !kill(0, @pids) });
	$standby->promote;
	await_load($load, 40);
	$end_answers->("round $round, while it is promoted");
	is($standby->safe_psql('postgres', "SELECT count(*) FILTER (WHERE changed) FROM session_files.finish_files(
		'00000000-0000-7000-8000-000000000001', '$ids', '$token')"), 20, "round $round: a lease of before the promotion holds");
	is($standby->safe_psql('postgres', "SELECT session_files.uuid7() > '$last_id'"), 't', "round $round: ids go on");
	is($standby->safe_psql('postgres', q{SELECT count(*) FROM session_files.claim_files('next', 100, '1 hour', NULL, '00000000-0000-7000-8000-000000000001')
		WHERE name LIKE 'held%'}) > 0, 1, "round $round: and claims");
	stop_load($load);
	ledgers_hold($standby, "round $round, promoted");
	totals_are_exact($standby, "round $round, promoted");
	answers_are_right($standby, "round $round, promoted");
	$standby->poll_query_until('postgres', $workers, '2') or die 'the HTTP server did not go on';
	my $settled = $listing =~ s/limit=5/ingestion_status=FINISHED/r;
	is(await_answer($standby_port, 200, $settled)->{body},
		$standby->safe_psql('postgres', "SELECT (session_files.handle_request('GET', '$settled')).body"), "round $round: HTTP serves what has changed since");

	# The old primary may have what it told no client of; it is wound back, and follows.
	system_or_bail('pg_ctl', 'start', '--silent', '-D', $node->data_dir, '-l', $node->logfile, '-o', '--cluster-name=' . $node->name);
	$node->_update_pid(1);
	$node->stop;
	$standby->safe_psql('postgres', 'CHECKPOINT');
	my $configuration = slurp_file($node->data_dir . '/postgresql.conf');
	command_ok([ 'pg_rewind', '--no-sync', '--target-pgdata', $node->data_dir, '--source-server', $standby->connstr('postgres') ], "round $round: pg_rewind");
	unlink($node->data_dir . '/postgresql.conf') or die "postgresql.conf: $!";
	append_to_file($node->data_dir . '/postgresql.conf', $configuration);
	$node->enable_streaming($standby);
	reconfigure($node, synchronous_standby_names => '');
	$node->start;
	$standby->wait_for_catchup($node);
	is($node->safe_psql('postgres', $answers), $standby->safe_psql('postgres', $answers), "round $round: the old primary follows");
	totals_are_exact($node, "round $round, the old primary");
	($node, $standby, $port, $standby_port) = ($standby, $node, $standby_port, $port);
}

for my $one ($node, $standby)
{
	pages_are_intact($one, $one->name);
	# 17 takes the files of prepared transactions for those of another epoch, and goes on with what the WAL has of them.
	no_complaints($one, qr/terminating|removing future two-phase state file|pg_twophase\/FFFFFFFF|could not recover two-phase state file/);
}
is(join('', map { slurp_file($_->logfile) =~ /(inconsistent page found[^\n]*)/ ? $1 : '' } $node, $standby), '', 'no page differed');
$standby->stop;

# The folder and its WAL, on their own.
reconfigure($node, synchronous_standby_names => '');
$node->reload;
my $load = start_load($node, 'copied', clients => 2);
await_load($load, 20);
$node->backup('copy');
await_load($load, 20);
settle_down($load, 'before the copy');
my $expected = $node->safe_psql('postgres', $answers);
$node->stop('immediate');
my $copy = PostgreSQL::Test::Cluster->new('copy');
$copy->init_from_backup($node, 'copy');
system_or_bail('cp', '-rf', $node->data_dir . '/pg_wal/.', $copy->data_dir . '/pg_wal');
reconfigure($copy, 'session_files.http_port' => PostgreSQL::Test::Cluster::get_free_port());
$copy->start;
is($copy->safe_psql('postgres', $answers), $expected, 'a copy of the folder, with the WAL since: the same answers');
ledgers_hold($copy, 'the copy');
totals_are_exact($copy, 'the copy');
pages_are_intact($copy, 'the copy');
$copy->stop;
done_testing();
