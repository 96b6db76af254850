# Back to a point in the middle of the load: what a base backup and the WAL archive restore has each transaction as a whole or not at all,
# leases and prepared transactions as they were, exact totals; and work goes on there.
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

my ($node, $port) = create_faults_node('main', max_wal_size => '1GB');
$node->enable_archiving;
$node->start;
fill_faults($node);
my $session = '00000000-0000-7000-8000-000000000001';
my $restores = 0;

sub value
{
	my ($query) = @_;
	return $node->safe_psql('postgres', $query);
}

# What was there at a moment, of a batch whose transaction goes on over it.
sub names_of
{
	my ($restored, $batch) = @_;
	return $restored->safe_psql('postgres', "SELECT count(*) || ' ' || count(*) FILTER (WHERE ingestion_status = 'FINISHED') FROM session_files.files
		WHERE session_id = '$session' AND name LIKE '$batch %'");
}

# Restores the backup up to a target, and opens it for work.
sub restore
{
	my ($name, %target) = @_;
	my $restored = PostgreSQL::Test::Cluster->new($name);
	$restored->init_from_backup($node, 'base', has_restoring => 1, standby => 0);
	reconfigure($restored, archive_mode => 'off', recovery_target_action => 'promote',
		'session_files.http_port' => PostgreSQL::Test::Cluster::get_free_port(), %target);
	$restored->start;
	$restored->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or die "$name does not end its recovery";
	$restores++;
	return $restored;
}

for my $round (1 .. $rounds)
{
	system_or_bail('rm', '-rf', $node->backup_dir . '/base');
	my $load = start_load($node, "round$round", clients => 3);
	await_load($load, 20);
	$node->backup('base');
	await_load($load, 30);

	# A batch that is open over the first restore point, with all its statements done; one that is prepared over it; and a lease.
	my $open = $node->background_psql('postgres');
	$open->query_safe('BEGIN');
	$open->query_safe("SELECT count(*) FROM session_files.register_files('$session', ARRAY(SELECT 'open$round ' || n FROM generate_series(1, 500) n))");
	$open->query_safe("SELECT count(*) FROM session_files.finish_files('$session', ARRAY(SELECT file_ingestion_id FROM session_files.files
		WHERE session_id = '$session' AND name LIKE 'open$round %' AND name LIKE '%7'))");
	my $xid = $open->query_safe('SELECT pg_current_xact_id()');
	value("BEGIN; SELECT session_files.register_files('$session', ARRAY(SELECT 'prepared$round ' || n FROM generate_series(1, 200) n));
		PREPARE TRANSACTION 'pitr$round'");
	value("SELECT session_files.register_files('$session', ARRAY(SELECT 'leased$round ' || n FROM generate_series(1, 50) n))");
	my ($token, $ids) = split(/\|/, value("SELECT lease_token, array_agg(file_ingestion_id) FROM session_files.claim_files('holder', 10000, '1 hour', NULL, '$session') GROUP BY 1"));
	my %earlier = (middle => copy_ledgers("middle$round"));
	value("SELECT pg_create_restore_point('middle$round')");
	my $middle_lsn = value('SELECT pg_current_wal_insert_lsn()');
	my $time = value('SELECT clock_timestamp()');
	await_load($load, 20);

	# It is committed, and then the lease is ended.
	my $before = copy_ledgers("before$round");
	$open->query_safe('COMMIT');
	$open->quit;
	value("COMMIT PREPARED 'pitr$round'");
	value("SELECT session_files.finish_files('$session', '$ids', '$token')");
	await_load($load, 20);
	my $after = copy_ledgers("after$round");
	value("SELECT pg_create_restore_point('after$round')");
	await_load($load, 20);
	settle_down($load, "round $round");
	# All of it into the archive.
	my $file = value('SELECT pg_walfile_name(pg_current_wal_insert_lsn())');
	value('SELECT pg_switch_wal()');
	$node->poll_query_until('postgres', "SELECT last_archived_wal >= '$file' FROM pg_stat_archiver") or die 'the WAL is not archived';
	my $later = copy_ledgers("later$round");

	# Of the open batch, of the prepared one, and of those that are leased: how many there are, and how many FINISHED. A time and an xid are
	# places of commits: by xid the batch is the last that there is, or the first that is not.
	my %targets = (
		"name$round" => [ { recovery_target_name => "middle$round" }, $earlier{middle}, '0 0', '0 0', '50 0', 1 ],
		"lsn$round" => [ { recovery_target_lsn => $middle_lsn, recovery_target_inclusive => 'off' }, $earlier{middle}, '0 0', '0 0', '50 0', 1 ],
		"time$round" => [ { recovery_target_time => $time }, $earlier{middle}, '0 0', '0 0', '50 0', 1 ],
		"without$round" => [ { recovery_target_xid => $xid, recovery_target_inclusive => 'off' }, $before, '0 0', '0 0', '50 0', 1 ],
		"with$round" => [ { recovery_target_xid => $xid }, $before, '500 50', '0 0', '50 0', 1 ],
		"after$round" => [ { recovery_target_name => "after$round" }, $after, '500 50', '200 0', '50 50', 0 ],
		"all$round" => [ {}, $later, '500 50', '200 0', '50 50', 0 ]);
	for my $name (sort keys %targets)
	{
		my ($target, $ledgers, $of_open, $of_prepared, $of_leased, $held) = @{ $targets{$name} };
		my $restored = restore($name, %$target);
		is(names_of($restored, "open$round"), $of_open, "$name: the batch that was open");
		is(names_of($restored, "prepared$round"), $of_prepared, "$name: the one that was prepared");
		is(names_of($restored, "leased$round"), $of_leased, "$name: the one that was leased");
		prefix_holds($restored, $ledgers, $later, $name);
		totals_are_exact($restored, $name);
		answers_are_right($restored, $name);
		if ($held)
		{
			$restored->safe_psql('postgres', "COMMIT PREPARED 'pitr$round'");
			is($restored->safe_psql('postgres', "SELECT bool_and(changed) FROM session_files.finish_files('$session', '$ids', '$token')"), 't',
				"$name: the lease holds");
			is(names_of($restored, "prepared$round"), '200 0', "$name: as a whole");
			is(names_of($restored, "leased$round"), '50 50', "$name: what the lease held is finished");
		}
		# Work goes on.
		$restored->safe_psql('postgres', "SELECT session_files.register_files('$session', ARRAY(SELECT 'new ' || n FROM generate_series(1, 100) n))");
		is($restored->safe_psql('postgres', "SELECT count(*) FROM session_files.claim_files('new', 100, '1 hour', NULL, '$session')"), 100, "$name: work goes on");
		totals_are_exact($restored, "$name, on");
		pages_are_intact($restored, $name);
		$restored->stop;
		$restored->clean_node;
	}
}
cmp_ok($restores, '>=', 7 * $rounds, "$restores restores");
$node->stop;
done_testing();
