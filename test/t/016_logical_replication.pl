# Logical replication: a subscriber applies rows without the triggers that keep totals and queue; check() says so, and repair(), after the
# switch, makes them exact. Grants count at once.
use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my %nodes;
foreach my $name ('publisher', 'subscriber')
{
	$nodes{$name} = PostgreSQL::Test::Cluster->new($name);
	$nodes{$name}->init(allows_streaming => 'logical', extra => [ '--encoding=UTF8', '--locale=C' ]);
	$nodes{$name}->start;
	$nodes{$name}->safe_psql('postgres', q{
		CREATE EXTENSION session_files;
		CREATE ROLE reader;
		GRANT SELECT ON session_files.files TO reader;
	});
}
my ($publisher, $subscriber) = @nodes{ 'publisher', 'subscriber' };

my $tables = 'session_files.workspaces, session_files.upload_sessions, session_files.files';
$publisher->safe_psql('postgres', qq{
	SELECT session_files.create_workspace('w');
	SELECT count(*) FROM session_files.register_files(session_files.create_session('w'), ARRAY(SELECT 'first ' || n FROM generate_series(1, 300) n));
	CREATE PUBLICATION uploads FOR TABLE $tables;
});
$subscriber->safe_psql('postgres', q{CREATE SUBSCRIPTION uploads CONNECTION $$} . $publisher->connstr('postgres') . q{$$ PUBLICATION uploads});
$subscriber->wait_for_subscription_sync($publisher, 'uploads');
$publisher->safe_psql('postgres', q{
	SELECT count(*) FROM session_files.upload_sessions s, LATERAL session_files.register_files(s.session_id, ARRAY(SELECT 'second ' || n FROM generate_series(1, 300) n));
	SELECT count(*) FROM session_files.upload_sessions s, LATERAL session_files.finish_files(s.session_id, ARRAY(SELECT file_ingestion_id FROM session_files.files WHERE name LIKE '%7'));
});
$publisher->wait_for_catchup('uploads');

my $files = 'SELECT * FROM session_files.files ORDER BY 1, 2';
is($subscriber->safe_psql('postgres', $files), $publisher->safe_psql('postgres', $files), 'the files are there');
is($subscriber->safe_psql('postgres', q{SELECT count(*) FROM session_files.check() WHERE broken > 0 AND invariant IN ('totals', 'queue', 'generations')}), '3', 'check() finds what apply has not counted, nor drawn');

# The switch.
$publisher->stop;
$subscriber->safe_psql('postgres', 'ALTER SUBSCRIPTION uploads DISABLE');
$subscriber->safe_psql('postgres', 'SELECT session_files.repair()');
is($subscriber->safe_psql('postgres', 'SELECT count(*) FROM session_files.check() WHERE broken > 0'), '0', 'repair() has counted and queued it');
is($subscriber->safe_psql('postgres', q{SELECT session_files.get_session_files('w', session_id, filter, "limit" => 0)::json -> 'total'
	FROM session_files.upload_sessions, unnest('{NULL,FINISHED}'::text[]) filter}), "600\n60", 'listings have exact totals');
is($subscriber->safe_psql('postgres', q{SELECT count(*), count(DISTINCT file_ingestion_id) FROM session_files.claim_files('w', 1000)}), '540|540', 'every PENDING file can be claimed, once');
is($subscriber->safe_psql('postgres', q{
	UPDATE session_files.files SET ingestion_status = 'FINISHED' WHERE name = 'first 1';
	UPDATE session_files.files SET ingestion_status = 'PENDING' WHERE name = 'first 1';
	SELECT changed FROM session_files.files f, session_files.leases l, session_files.finish_files(f.session_id, ARRAY[f.file_ingestion_id], l.lease_token)
		WHERE f.name = 'first 1';
	SELECT name FROM session_files.claim_files('another', 1000);
}), "f\nfirst 1", 'one that becomes PENDING again is held by no lease');
is($subscriber->safe_psql('postgres', q{SELECT session_files.grant_workspace('reader', 'w'); SET ROLE reader; SELECT count(*) FROM session_files.files}), "\n600", 'grants are made there');

$subscriber->stop;
done_testing();
