# pg_upgrade from each older major, by copy and by link: what was there is there, byte for byte, the extension is as one created again, and work
# goes on. OLD_PREFIXES has the folders of the older majors, with the extension installed, separated by colons.
use strict;
use warnings;

use File::Basename;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# Everything that a user, or a client over HTTP, can see of it.
my $data = q{
	SELECT * FROM session_files.workspaces ORDER BY 1;
	SELECT * FROM session_files.upload_sessions ORDER BY 1;
	SELECT * FROM session_files.files ORDER BY 1, 2;
	SELECT * FROM session_files.file_queue ORDER BY 1, 2, 3;
	SELECT * FROM session_files.workspace_grants ORDER BY 1, 2;
	SELECT session_id, workspace_name, status, created_at, expires_at, total, pending, finished, failed, failed_by_reason, oldest_pending, claimed,
		delayed FROM session_files.session_progress ORDER BY 1;
	SELECT worker, lease_token, session_id, files, attempt, claimed_at, expires_at FROM session_files.leases ORDER BY 1, 2, 3;
	SELECT worker, sessions, leases, files, oldest_claim, newest_claim FROM session_files.workers ORDER BY 1;
};
my $answers = q{
	SELECT f, o, p, s, session_files.get_session_files(u.workspace_name, u.session_id, s, 7, page_number => p, field => f, "order" => o)
	FROM session_files.upload_sessions u, unnest(ARRAY['created_at', 'ingestion_status', 'ingestion_status_reason', 'name']) f,
		unnest(ARRAY['ASC', 'DESC']) o, unnest(ARRAY[1, 2, 30]) p, unnest(ARRAY[NULL, 'PENDING', 'FINISHED', 'FAILED']) s ORDER BY u.session_id, f, o, p, s;
	SELECT r.status, r.headers, r.body FROM session_files.upload_sessions u,
		session_files.handle_request('GET', format('/api/v1/workspaces/%s/upload_sessions/%s/files?limit=3', u.workspace_name, u.session_id)) r
	ORDER BY u.session_id;
};

# Privileges in order, those by default too: pg_upgrade leaves these out. From 17 on an owner has one more, m.
sub acl
{
	my ($acl, $type, $owner) = @_;
	return "(SELECT array_agg(regexp_replace(item::text, '(=[a-zA-Z*]+)m/', '\\1/') ORDER BY item::text)
		FROM unnest(coalesce($acl, acldefault($type, $owner))) item)";
}

# What the administrator has made of it.
my $rights = qq{
	SELECT oid::regclass, @{[ acl('relacl', q{'r'}, 'relowner') ]} FROM pg_class
		WHERE relnamespace = 'session_files'::regnamespace AND relkind IN ('r', 'v') ORDER BY relname;
	SELECT oid::regprocedure, @{[ acl('proacl', q{'f'}, 'proowner') ]} FROM pg_proc
		WHERE pronamespace = 'session_files'::regnamespace ORDER BY oid::regprocedure::text;
	SELECT nspacl FROM pg_namespace WHERE nspname = 'session_files';
	SELECT tablename, policyname, permissive, roles, cmd FROM pg_policies WHERE schemaname = 'session_files' ORDER BY 1, 2;
};
my $seen = join '', map { qq{SET ROLE $_; SELECT current_user, session_id, workspace_name FROM session_files.upload_sessions ORDER BY 2;
	SELECT count(*), min(name), max(name) FROM session_files.files; RESET ROLE;} } ('lister', 'every');

# What the extension consists of, as CREATE EXTENSION makes it.
my $catalog = qq{
	SELECT extname, extversion, extrelocatable, extnamespace::regnamespace, extconfig::regclass[], extcondition FROM pg_extension ORDER BY 1;
	SELECT pg_describe_object(d.classid, d.objid, 0) FROM pg_depend d JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass
		AND d.refobjid = e.oid WHERE d.deptype = 'e' AND e.extname = 'session_files' ORDER BY 1;
	SELECT a.attrelid::regclass, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attcollation::regcollation,
		pg_get_expr(d.adbin, d.adrelid), col_description(a.attrelid, a.attnum) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
		LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
		WHERE c.relnamespace = 'session_files'::regnamespace AND a.attnum > 0 ORDER BY a.attrelid::regclass::text, a.attnum;
	SELECT oid::regclass, relkind, reloptions, relpersistence, relreplident, relrowsecurity, relforcerowsecurity, obj_description(oid, 'pg_class')
		FROM pg_class WHERE relnamespace = 'session_files'::regnamespace ORDER BY oid::regclass::text;
	SELECT pg_get_indexdef(i.indexrelid), i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
		WHERE c.relnamespace = 'session_files'::regnamespace ORDER BY 1;
	SELECT conrelid::regclass, conname, contype, convalidated, pg_get_constraintdef(oid) FROM pg_constraint
		WHERE connamespace = 'session_files'::regnamespace ORDER BY conrelid::regclass::text, conname;
	SELECT tgrelid::regclass, tgenabled, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal ORDER BY tgrelid::regclass::text, tgname;
	SELECT tablename, policyname, permissive, roles, cmd, qual, with_check FROM pg_policies WHERE policyname <> 'mine' ORDER BY 1, 2;
	SELECT object, privileges FROM (SELECT pg_describe_object(classoid, objoid, objsubid) AS object, @{[ acl('initprivs', 'NULL', 'NULL') ]} AS privileges,
			CASE classoid WHEN 'pg_class'::regclass THEN @{[ acl('NULL', q{'r'}, '10') ]} WHEN 'pg_proc'::regclass THEN @{[ acl('NULL', q{'f'}, '10') ]} END AS usual
		FROM pg_init_privs WHERE privtype = 'e') p WHERE object LIKE '%session\\_files%' AND privileges IS DISTINCT FROM usual ORDER BY 1;
	SELECT pg_get_functiondef(oid), obj_description(oid, 'pg_proc') FROM pg_proc WHERE pronamespace = 'session_files'::regnamespace ORDER BY oid::regprocedure::text;
	SELECT viewname, definition FROM pg_views WHERE schemaname = 'session_files' ORDER BY 1;
	SELECT enumtypid::regtype, array_agg(enumlabel ORDER BY enumsortorder) FROM pg_enum GROUP BY 1 ORDER BY enumtypid::regtype::text;
};

sub create_node
{
	my ($name, %params) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name, %params);
	# Before 18 initdb makes none unless it is told to.
	$node->init(extra => [ '--encoding=UTF8', '--locale=C', '--data-checksums' ]);
	return $node;
}

# Has everything that works on its own do so, or nothing.
sub preload
{
	my ($node, $libraries) = @_;
	$node->append_conf('postgresql.conf', "shared_preload_libraries = '$libraries'");
}

sub configure_workers
{
	my ($node) = @_;
	my $port = PostgreSQL::Test::Cluster::get_free_port();
	$node->append_conf('postgresql.conf', "session_files.$_") foreach ('http_workers = 1', "http_port = $port", "http_database = 'uploads'",
		"maintenance_database = 'uploads'", 'maintenance_interval = 1');
	preload($node, 'session_files_http');
	return $port;
}

sub fill
{
	my ($node) = @_;
	$node->safe_psql('postgres', 'CREATE DATABASE uploads');
	$node->safe_psql('uploads', 'CREATE EXTENSION session_files');
	$node->command_ok([ 'psql', '-XqAt', '-d', $node->connstr('uploads'), '-f', dirname(__FILE__) . '/../../http/roles.sql' ], 'roles');
	$node->safe_psql('uploads', q{
		CREATE ROLE lister;
		CREATE ROLE uploader;
		CREATE ROLE every;
		CREATE ROLE gone;
		GRANT SELECT ON session_files.upload_sessions, session_files.files TO lister, every;
		GRANT SELECT, INSERT ON session_files.workspaces, session_files.files TO uploader;
		CREATE POLICY mine ON session_files.upload_sessions TO every USING (write_mode = 'OVERWRITE');
		SELECT session_files.create_workspace('w' || n) FROM generate_series(1, 3) n;
		SELECT session_files.grant_workspace('lister', 'w1'), session_files.grant_workspace('uploader', 'w2', 'uploader'), session_files.grant_workspace('every', NULL, 'watcher'),
			session_files.grant_workspace('gone', 'w1'), session_files.grant_workspace('session_files_anonymous', 'w1');
		DROP ROLE gone;
		SELECT session_files.create_session('w' || n % 3 + 1, (ARRAY['KEEP', 'OVERWRITE', 'FAIL'])[n % 3 + 1]::session_files.write_mode, '1 day')
			FROM generate_series(1, 6) n;
		SELECT count(*) FROM session_files.upload_sessions s, session_files.register_files(s.session_id,
			ARRAY(SELECT 'file ' || n || repeat('é', n % 40) FROM generate_series(1, 5000) n) || repeat('x', 801));
		DELETE FROM session_files.files WHERE name LIKE 'file _9%';
		UPDATE session_files.files SET ingestion_status = 'FINISHED' WHERE name LIKE 'file _5%';
		UPDATE session_files.files SET ingestion_status = 'FAILED', ingestion_status_reason = 'EMPTY_FILE' WHERE name LIKE 'file _7%';
		SELECT session_files.retry_failed(session_id, '{EMPTY_FILE}') FROM session_files.upload_sessions WHERE workspace_name = 'w1';
		SELECT session_files.close_session(min(session_id::text)::uuid) FROM session_files.upload_sessions;
	});
	# Held, run out, delayed, given back.
	$node->safe_psql('uploads', q{
		SET session_files.retry_delay = '1h';
		SET session_files.retry_delay_limit = '1h';
		SELECT count(*) FROM session_files.claim_files('holder', 40, '1 day');
		SELECT count(*) FROM session_files.claim_files('slow', 1, '1 hour');
		SELECT count(*) FROM (SELECT session_id, lease_token, array_agg(file_ingestion_id) ids FROM session_files.claim_files('failing', 20)
			GROUP BY 1, 2) c, session_files.fail_files(session_id, ids, 'SLOWDOWN', lease_token);
		SELECT count(*) FROM (SELECT session_id, lease_token, array_agg(file_ingestion_id) ids FROM session_files.claim_files('giving', 20)
			GROUP BY 1, 2) c, session_files.release_files(session_id, ids, lease_token);
		UPDATE session_files.file_queue SET due_at = now() - interval '1 hour' WHERE worker = 'slow';
	});
	# Work for the maintenance worker, if there were one.
	$node->safe_psql('uploads', q{
		SELECT session_files.register_files(session_files.create_session('w3'), '{late}');
		UPDATE session_files.upload_sessions SET created_at = now() - interval '2 hours', expires_at = now() - interval '1 hour'
			WHERE session_id = (SELECT session_id FROM session_files.files WHERE name = 'late');
	});
}

# What a server does while pg_upgrade runs, beyond what that asks for, is lost or worse: so nothing of ours may run.
sub check_quiet
{
	my ($new, $what) = @_;
	my @logs = glob $new->data_dir . '/pg_upgrade_output.d/*/log/pg_upgrade_server.log';
	my $log = join '', map { slurp_file($_) } @logs;
	like($log, qr/ready to accept connections/, "$what: the log of its servers is there");
	unlike($log, qr/session_files (maintenance|http)/, "$what: no worker of the extension has run meanwhile");
}

# As it was, and as new.
sub check_upgraded
{
	my ($new, $before, $what) = @_;
	$new->safe_psql('postgres', 'CREATE DATABASE fresh');
	$new->safe_psql('fresh', 'CREATE EXTENSION session_files');
	foreach my $name (sort keys %$before)
	{
		ok($new->safe_psql('uploads', $before->{$name}[0]) eq $before->{$name}[1], "$what: $name are as they were")
			or diag(difference($before->{$name}[1], $new->safe_psql('uploads', $before->{$name}[0])));
	}
	my ($fresh, $upgraded) = map { $new->safe_psql($_, $catalog) } ('fresh', 'uploads');
	like($fresh, qr/CREATE TRIGGER.*CREATE OR REPLACE FUNCTION/s, 'the catalog has something to compare');
	ok($fresh eq $upgraded, "$what: the catalog is that of an extension created again") or diag(difference($fresh, $upgraded));
}

# The lines that only one of two outputs has, a few of them.
sub difference
{
	my ($left, $right) = map { { map { ($_ => 1) } split /\n/ } } @_;
	my @lines = ((map { "- $_" } grep { !$right->{$_} } sort keys %$left), (map { "+ $_" } grep { !$left->{$_} } sort keys %$right));
	return join "\n", map { substr $_, 0, 300 } @lines[0 .. ($#lines < 20 ? $#lines : 20)];
}

# Leases hold, claims and registrations go on, through the indexes although nothing was analyzed.
sub check_work
{
	my ($new, $last, $what) = @_;
	my $scans = q{SELECT pg_stat_force_next_flush(), seq_scan FROM pg_stat_user_tables WHERE schemaname = 'session_files' AND relname = 'files'};
	my $seq_scans = $new->safe_psql('uploads', $scans);
	is($new->safe_psql('uploads', q{SELECT count(*) FROM pg_stats WHERE schemaname = 'session_files' AND tablename = 'files'}) > 0,
		$new->pg_version->major >= 18, "$what: what the planner knows");
	is($new->safe_psql('uploads', q{
		SELECT bool_and(e.lease_expires_at > now()), count(*) FROM (SELECT session_id, lease_token FROM session_files.leases WHERE worker = 'holder') l,
			LATERAL (SELECT array_agg(id) ids FROM session_files.file_queue q, unnest(file_ingestion_ids) id WHERE q.lease_token = l.lease_token
				AND q.session_id = l.session_id) i, session_files.extend_lease(l.session_id, i.ids, l.lease_token, '2 days') e}), 't|40',
		"$what: a lease can be extended");
	is($new->safe_psql('uploads', q{
		WITH l AS (SELECT session_id, lease_token, (SELECT array_agg(id) FROM unnest(file_ingestion_ids) id) ids FROM session_files.file_queue
			WHERE worker = 'holder')
		SELECT bool_and(f.changed), count(*) FROM l, session_files.finish_files(l.session_id, l.ids, l.lease_token) f}), 't|40',
		"$what: its files can be finished");
	is($new->safe_psql('uploads', q{SELECT attempt FROM session_files.claim_files('next', 1,
		session_id => (SELECT session_id FROM session_files.leases WHERE worker = 'slow'))}), '2', "$what: what came back goes first");
	my ($claimed, $changed) = split /\|/, $new->safe_psql('uploads', q{
		WITH c AS MATERIALIZED (SELECT session_id, lease_token, array_agg(file_ingestion_id) ids, count(*) files
			FROM session_files.claim_files('next', 1000) GROUP BY 1, 2)
		SELECT (SELECT sum(files) FROM c), count(*) FILTER (WHERE f.changed) FROM c, session_files.finish_files(c.session_id, c.ids, c.lease_token) f});
	is($changed, $claimed, "$what: all that is claimed can be finished");
	is($new->safe_psql('uploads', qq{
		SELECT count(*), bool_and(r.file_ingestion_id > '$last') FROM (SELECT session_id FROM session_files.upload_sessions WHERE status = 'OPEN'
			AND expires_at > now() LIMIT 1) s, session_files.register_files(s.session_id, ARRAY(SELECT 'new ' || n FROM generate_series(1, 100) n)) r}),
		'100|t', "$what: files can be registered, and come after those that were there");
	is($new->safe_psql('uploads', $scans), $seq_scans, "$what: none of it has read the whole table");
	# The grant of a role that was dropped has been there before.
	is($new->safe_psql('uploads', q{SELECT count(*) > 1, sum(broken), min(example) FILTER (WHERE broken > 0) FROM session_files.check()}) =~ s/\d+, w/N, w/r,
		't|1|role N, workspace w1', "$what: every other invariant holds");
}

# A dump of what was upgraded.
sub check_dump
{
	my ($new, $what) = @_;
	my $dump = $new->basedir . '/dump';
	$new->safe_psql('postgres', 'CREATE DATABASE restored');
	$new->command_ok([ 'pg_dump', '-Fc', '-f', $dump, $new->connstr('uploads') ], "$what: pg_dump");
	$new->command_ok([ 'pg_restore', '--exit-on-error', '-d', $new->connstr('restored'), $dump ], "$what: pg_restore");
	my ($left, $right) = map { $new->safe_psql($_, $answers) } ('uploads', 'restored');
	ok($left eq $right, "$what: a dump of it gives the same answers") or diag(difference($left, $right));
}

# With the workers, as in production.
sub check_workers
{
	my ($new, $port, $what) = @_;
	preload($new, 'session_files_http');
	$new->restart;
	$new->poll_query_until('uploads', q{SELECT status = 'EXPIRED' FROM session_files.upload_sessions JOIN session_files.files USING (session_id)
		WHERE name = 'late'}) or die 'the maintenance worker did not work';
	pass("$what: the maintenance worker works");
	$new->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'session_files http worker'})
		or die 'no HTTP worker';
	my $path = $new->safe_psql('uploads', q{SELECT format('/api/v1/workspaces/w1/upload_sessions/%s/files', session_id) FROM session_files.upload_sessions
		WHERE workspace_name = 'w1' ORDER BY session_id LIMIT 1});
	my ($answer, $errors);
	IPC::Run::run([ 'curl', '--disable', '--noproxy', '*', '--silent', '--retry', '10', '--retry-connrefused', "http://127.0.0.1:$port$path" ], '>', \$answer, '2>', \$errors);
	is($answer, $new->safe_psql('uploads', qq{SELECT body FROM session_files.handle_request('GET', '$path')}),
		"$what: the HTTP server answers");
}

foreach my $prefix (split /:/, $ENV{OLD_PREFIXES})
{
	my $old = create_node('old_' . basename($prefix), install_path => $prefix);
	my $version = $old->pg_version->major;
	$old->start;
	fill($old);
	my %before = map { $_->[0] => [ $_->[1], $old->safe_psql('uploads', $_->[1]) ] }
		([ rows => $data ], [ answers => $answers ], [ rights => $rights ], [ 'what roles see' => $seen ]);
	like($before{rows}[1], qr/\|holder\|/, 'there are leases');
	like($before{answers}[1], qr/"total":[1-9]/, 'and answers');
	like($before{'what roles see'}[1], qr/^lister\|[^\n]*\|w1\n/m, 'and roles that see something');
	my $last = $old->safe_psql('uploads', 'SELECT max(file_ingestion_id::text) FROM session_files.files');
	$old->stop;
	configure_workers($old);

	# The last of them makes the old cluster useless.
	foreach my $mode ('--copy', '--link')
	{
		my $what = "$version, $mode";
		my $new = create_node("new_$version$mode");
		my $port = configure_workers($new);
		chdir $PostgreSQL::Test::Utils::tmp_check or die $!;
		command_ok([ 'pg_upgrade', '--no-sync', '--retain', $mode, '-d', $old->data_dir, '-D', $new->data_dir, '-b', $old->config_data('--bindir'),
			'-B', $new->config_data('--bindir'), '-s', $new->host, '-p', $old->port, '-P', $new->port ], "$what: pg_upgrade")
			or diag(map { "$_:\n" . join('', (split /^/, slurp_file($_))[-20 .. -1]) } glob($new->data_dir . '/pg_upgrade_output.d/*/log/pg_upgrade_dump_*.log'));
		check_quiet($new, $what);
		preload($new, '');
		$new->start;
		check_upgraded($new, \%before, $what);
		check_dump($new, $what);
		check_work($new, $last, $what);
		check_workers($new, $port, $what);
		$new->stop;
	}
}
done_testing();
