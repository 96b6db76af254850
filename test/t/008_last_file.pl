# The end of a closed session is announced, also when the transactions that finish its last files, or close it, cannot see each other: one of
# them has gone through all of its commit but the last step. Either the other waits for it, or maintain() announces it.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(allows_streaming => 1, extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->append_conf('postgresql.conf', 'max_prepared_transactions = 2');
$node->start;
$node->safe_psql('postgres', q{CREATE EXTENSION session_files; SELECT session_files.create_workspace('w')});
# A transaction that does not ask for a local commit waits for a standby that never comes, with its changes not visible yet.
$node->append_conf('postgresql.conf', q{synchronous_standby_names = 'absent'});
$node->reload;
$node->poll_query_until('postgres', q{SELECT current_setting('synchronous_standby_names') = 'absent'}) or die 'no reload';

my $local = 'SET synchronous_commit = local;';
my $listener = $node->background_psql('postgres');
$listener->query_safe('LISTEN session_files_done');

# Makes a session with files of the names 1, 2, …
sub make_session
{
	my ($files, $status) = @_;
	my $session = $node->safe_psql('postgres', qq{$local SELECT session_files.create_session('w')});
	$node->safe_psql('postgres', qq{$local SELECT count(*) FROM session_files.register_files('$session', ARRAY(SELECT n::text FROM generate_series(1, $files) n))});
	close_session($session) if $status eq 'CLOSED';
	return $session;
}

sub close_session
{
	my ($session) = @_;
	$node->safe_psql('postgres', qq{$local SELECT session_files.close_session('$session')});
}

# The statement that finishes the files of a session for which a condition holds.
sub finish
{
	my ($session, $condition) = @_;
	return qq{SELECT count(*) FROM session_files.finish_files('$session', ARRAY(SELECT file_ingestion_id FROM session_files.files
		WHERE session_id = '$session' AND $condition));};
}

# Starts a statement that will not be committed before end_commit().
sub begin_commit
{
	my ($statement) = @_;
	my $client = $node->background_psql('postgres');
	my $waiting = $node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'});
	$client->query_until(qr/begun/, "\\echo begun\n$statement\n");
	$node->poll_query_until('postgres', qq{SELECT count(*) = $waiting + 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'}) or die 'it does not wait';
	return $client;
}

sub end_commits
{
	my ($condition) = @_;
	$node->safe_psql('postgres', qq{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND $condition});
}

sub wait_for_pending
{
	my ($session, $pending) = @_;
	$node->poll_query_until('postgres', qq{SELECT sum(pending) = $pending FROM session_files.file_counts WHERE session_id = '$session'}) or die 'not as many are PENDING';
}

# How often the end of a session was announced since the last call.
my $heard = '';
sub announced
{
	my ($session) = @_;
	$heard .= $listener->query('SELECT 1');
	return ($heard =~ s/Asynchronous notification "session_files_done" with payload "$session"//g) || 0;
}

# The same, after a call of maintain().
sub maintained
{
	my ($session) = @_;
	$node->safe_psql('postgres', "$local SELECT session_files.maintain()");
	return announced($session);
}

my $session = make_session(2, 'CLOSED');
my $first = begin_commit(finish($session, q{name = '1'}));
my $second = $node->background_psql('postgres');
$second->query_safe($local);
$second->query_until(qr/begun/, "\\echo begun\n" . finish($session, q{name = '2'}) . "\n");
$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted}) or die 'it does not wait';
is(announced($session), 0, 'two that finish the last two files: not before both are committed');
end_commits('true');
wait_for_pending($session, 0);
$_->quit foreach $first, $second;
is(announced($session), 1, 'the second waits for the first, and announces it');
is(maintained($session), 0, 'and nothing is left to announce');
is($node->safe_psql('postgres', qq{SELECT count(*) FROM session_files.file_counts WHERE session_id = '$session' AND slot < 0}), 0, 'nor marked');

# So many files that the first need not fear to be the last, and takes no lock.
$session = make_session(1002, 'CLOSED');
$first = begin_commit(finish($session, q{name = '1'}));
$node->safe_psql('postgres', $local . finish($session, q{name <> '1'}));
end_commits('true');
wait_for_pending($session, 0);
$first->quit;
is(announced($session), 0, 'two that finish more than a thousand: neither sees the end');
is(maintained($session), 1, 'the next call announces it, once');
is(maintained($session), 0, 'and no other does');

# The one that finishes the last file does not see the close, which does not see it.
$session = make_session(1, 'OPEN');
$first = begin_commit(finish($session, 'true'));
close_session($session);
is(maintained($session), 0, 'not before the last file is finished');
end_commits('true');
wait_for_pending($session, 0);
$first->quit;
is(maintained($session), 1, 'a close beside the last file: the next call announces it, once');

# A transaction that is PREPAREd cannot notify.
$session = make_session(1, 'CLOSED');
$node->safe_psql('postgres', "$local BEGIN;" . finish($session, 'true') . "PREPARE TRANSACTION 'last'");
is(maintained($session), 0, 'a prepared transaction: not before it is committed');
$node->safe_psql('postgres', "$local COMMIT PREPARED 'last'");
$node->safe_psql('postgres', "$local BEGIN; SELECT session_files.maintain(); PREPARE TRANSACTION 'maintained'");
$node->safe_psql('postgres', "$local COMMIT PREPARED 'maintained'");
is(announced($session), 0, 'nor can one that calls maintain()');
is(maintained($session), 1, 'then the next call announces it, once');

# A session that maintain() looks at stays until the commit, which would leave a mark of none.
$session = make_session(1, 'CLOSED');
$node->safe_psql('postgres', "$local BEGIN;" . finish($session, 'true') . "PREPARE TRANSACTION 'last'");
$node->safe_psql('postgres', "$local COMMIT PREPARED 'last'");
$first = $node->background_psql('postgres');
$first->query_safe("$local BEGIN; SELECT session_files.maintain();");
my ($status, $output, $errors) = $node->psql('postgres', "$local SET lock_timeout = '1ms'; DELETE FROM session_files.upload_sessions WHERE session_id = '$session'");
like($errors, qr/lock timeout/, 'a session that maintain() may announce is not deleted meanwhile');
$first->query_safe("PREPARE TRANSACTION 'maintained'");
$first->quit;
$node->safe_psql('postgres', "$local COMMIT PREPARED 'maintained'");
$node->safe_psql('postgres', "$local DELETE FROM session_files.upload_sessions WHERE session_id = '$session'");
is($node->safe_psql('postgres', 'SELECT sum(broken) FROM session_files.check()'), 0, 'and no mark is left of it');

# With one snapshot, marks are not deleted: the end is announced again.
$session = make_session(2, 'CLOSED');
$node->safe_psql('postgres', $local . finish($session, q{name = '1'}));
$node->safe_psql('postgres', "$local BEGIN ISOLATION LEVEL REPEATABLE READ;" . finish($session, 'true') . 'COMMIT');
is(announced($session), 1, 'under REPEATABLE READ too');
is(maintained($session), 1, 'and once more, once');

# Files that are tried again are finished again.
$session = make_session(2, 'CLOSED');
$node->safe_psql('postgres', qq{$local UPDATE session_files.files SET ingestion_status = 'FAILED', ingestion_status_reason = 'SLOWDOWN' WHERE session_id = '$session'});
is(announced($session), 1, 'announced');
$node->safe_psql('postgres', qq{$local SELECT session_files.retry_failed('$session')});
$first = begin_commit(finish($session, q{name = '1'}));
is(maintained($session), 0, 'not while files are tried again');
end_commits('true');
wait_for_pending($session, 1);
$first->quit;
$node->safe_psql('postgres', $local . finish($session, q{name = '2'}));
is(announced($session), 1, 'announced again');

# A transaction that finishes the last files of two sessions waits for one lock at most, and has none while it waits.
my @sessions = map { make_session(2, 'CLOSED') } 1 .. 2;
my @others = map { begin_commit(finish($_, q{name = '1'})) } @sessions;
$second = $node->background_psql('postgres');
$second->query_until(qr/begun/, "\\echo begun\n$local BEGIN;" . join('', map { finish($_, q{name = '2'}) } @sessions) . "COMMIT;\n");
$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted}) or die 'it does not wait';
end_commits(q{pid IN (SELECT g.pid FROM pg_locks AS g JOIN pg_locks AS w ON (w.classid, w.objid) = (g.classid, g.objid)
	WHERE g.locktype = 'advisory' AND g.granted AND w.locktype = 'advisory' AND NOT w.granted)});
$node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted}) or die 'it waits again';
is($node->safe_psql('postgres', qq{SELECT count(*) FROM session_files.files WHERE session_id IN ('$sessions[0]', '$sessions[1]') AND ingestion_status = 'PENDING'}),
	1, 'it is committed, and one of the others is not');
end_commits('true');
wait_for_pending($_, 0) foreach @sessions;
$_->quit foreach $second, @others;
is(maintained($sessions[0]) + announced($sessions[1]), 2, 'the next call announces the session that it could not wait for; each is announced once');

$listener->quit;
$node->stop;
done_testing();
