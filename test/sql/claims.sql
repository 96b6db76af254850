-- Claims and leases: who gets what, in which order, and who may end it; good and bad arguments.
\set VERBOSITY terse
\set SHOW_CONTEXT never
SELECT session_files.create_workspace('claims');
SELECT session_files.create_workspace('claims elsewhere');
SELECT session_files.create_session('claims') AS s \gset
SELECT session_files.create_session('claims elsewhere') AS other \gset
CREATE FUNCTION pg_temp.ids(VARIADIC names text[]) RETURNS uuid[] RETURN
	(SELECT array_agg(f.file_ingestion_id) FROM session_files.files f WHERE f.name = ANY (names));
CREATE FUNCTION pg_temp.name_of(id uuid) RETURNS text RETURN (SELECT f.name FROM session_files.files f WHERE f.file_ingestion_id = id);
-- Lets the leases of a worker, and the waits of files, end now.
CREATE FUNCTION pg_temp.run_out() RETURNS void LANGUAGE sql AS $$
	UPDATE session_files.file_queue SET due_at = now() - interval '1 second' WHERE claimed_at IS NOT NULL $$;
-- A session that was finished without leases leaves nothing in the queue. First, as a backend that has deleted much leaves some of it to others.
SELECT session_files.create_session('claims') AS early \gset
SELECT count(*) FROM session_files.register_files(:'early', ARRAY['t1', 't2', 't3', 't4']);
SELECT count(*) AS in_the_queue FROM session_files.file_queue WHERE session_id = :'early';
SELECT count(*) FROM session_files.finish_files(:'early', pg_temp.ids('t1', 't2', 't3', 't4'));
SELECT count(*) AS in_the_queue FROM session_files.file_queue WHERE session_id = :'early';
DELETE FROM session_files.upload_sessions WHERE session_id = :'early';
SELECT count(*) FROM session_files.register_files(:'s', ARRAY['a', 'b', 'c', 'd', 'e', 'f']);

-- The oldest first, none twice, and what the worker needs to know.
SELECT name, attempt, session_id = :'s' AS right_session, lease_expires_at BETWEEN now() + interval '9 minutes' AND now() + interval '11 minutes' AS for_so_long
	FROM session_files.claim_files('w1', 2, '10 minutes');
SELECT lease_token AS w1 FROM session_files.leases WHERE worker = 'w1' \gset
SELECT name, attempt FROM session_files.claim_files('w2', 3, session_id => :'s');
SELECT lease_token AS w2 FROM session_files.leases WHERE worker = 'w2' \gset
SELECT name FROM session_files.claim_files('w3', 10, workspace_name => 'claims elsewhere');
SELECT name FROM session_files.claim_files('w3', 10, workspace_name => 'claims', session_id => :'s');
SELECT name FROM session_files.claim_files('w4');
SELECT worker, session_id = :'s' AS right_session, files, attempt, remaining > '4 minutes' AS holds FROM session_files.leases ORDER BY worker;
SELECT worker, sessions, leases, files, overdue_files FROM session_files.workers ORDER BY worker;
SELECT total, pending, claimed, delayed, finished, failed, failed_by_reason FROM session_files.session_progress WHERE session_id = :'s';

-- Each ends its own only.
SELECT pg_temp.name_of(file_ingestion_id), ingestion_status, changed FROM session_files.finish_files(:'s', pg_temp.ids('a', 'c'), :'w1');
SELECT pg_temp.name_of(file_ingestion_id), ingestion_status, ingestion_status_reason, changed, retry_at
	FROM session_files.fail_files(:'s', pg_temp.ids('c', 'd', 'a', 'c'), 'EMPTY_FILE', :'w2');
SELECT pg_temp.name_of(file_ingestion_id), ingestion_status, changed FROM session_files.finish_files(:'s', pg_temp.ids('a', 'b', 'c'), gen_random_uuid());
SELECT pg_temp.name_of(file_ingestion_id), changed FROM session_files.release_files(:'s', pg_temp.ids('a', 'b', 'c', 'e'), :'w2');
SELECT pg_temp.name_of(file_ingestion_id), lease_expires_at > now() + interval '50 minutes' AS for_so_long
	FROM session_files.extend_lease(:'s', pg_temp.ids('a', 'b', 'c'), :'w1', '1 hour');
-- What was released comes back first, and the attempt did not count.
SELECT name, attempt FROM session_files.claim_files('w4', 1);
SELECT lease_token AS w4 FROM session_files.leases WHERE worker = 'w4' \gset

-- A lease that ran out: its worker goes on as long as no other worker has the file, and then has lost it.
SELECT pg_temp.run_out();
SELECT worker, overdue_files FROM session_files.workers ORDER BY worker;
SELECT pg_temp.name_of(file_ingestion_id), lease_expires_at > now() AS extended FROM session_files.extend_lease(:'s', pg_temp.ids('b'), :'w1');
SELECT pg_temp.name_of(file_ingestion_id), ingestion_status, changed FROM session_files.finish_files(:'s', pg_temp.ids('f'), (SELECT lease_token FROM session_files.leases WHERE worker = 'w3'));
SELECT name, attempt FROM session_files.claim_files('w5', 10);
SELECT lease_token AS w5 FROM session_files.leases WHERE worker = 'w5' \gset
SELECT pg_temp.name_of(file_ingestion_id), ingestion_status, changed FROM session_files.finish_files(:'s', pg_temp.ids('e'), :'w4');
SELECT pg_temp.name_of(file_ingestion_id), lease_expires_at FROM session_files.extend_lease(:'s', pg_temp.ids('e'), :'w4');
SELECT pg_temp.name_of(file_ingestion_id), changed FROM session_files.release_files(:'s', pg_temp.ids('e'), :'w4');
SELECT pg_temp.name_of(file_ingestion_id), ingestion_status, changed, retry_at FROM session_files.fail_files(:'s', pg_temp.ids('e'), 'SLOWDOWN', :'w4');
SELECT pg_temp.name_of(file_ingestion_id), ingestion_status, changed FROM session_files.finish_files(:'s', pg_temp.ids('e'), :'w5');
-- Without a token, whatever worker holds the file; that worker learns it.
SELECT pg_temp.name_of(file_ingestion_id), ingestion_status, ingestion_status_reason, changed FROM session_files.fail_files(:'s', pg_temp.ids('b'), 'SLOWDOWN');
SELECT pg_temp.name_of(file_ingestion_id), ingestion_status, ingestion_status_reason, changed FROM session_files.finish_files(:'s', pg_temp.ids('b'), :'w1');
SELECT count(*) AS left_in_the_queue FROM session_files.file_queue;

-- Retry: a growing wait, cut by up to half; then FAILED with the last reason.
SET session_files.max_attempts = 4;
SET session_files.retry_delay = '10s';
SET session_files.retry_delay_limit = '30s';
SELECT count(*) FROM session_files.register_files(:'s', ARRAY(SELECT 'wait ' || n FROM generate_series(1, 100) n));
CREATE TEMPORARY TABLE waits (attempt integer, wait numeric);
DO $$
BEGIN
	FOR attempt IN 1..4 LOOP
		INSERT INTO waits
			SELECT c.attempt, extract(epoch FROM f.retry_at - clock_timestamp())
			FROM (SELECT c.attempt, c.session_id, c.lease_token, array_agg(c.file_ingestion_id) AS ids FROM session_files.claim_files('w', 100) AS c GROUP BY 1, 2, 3) AS c,
				unnest(c.ids) AS i (id), session_files.fail_files(c.session_id, ARRAY[i.id], 'SLOWDOWN', c.lease_token) AS f;
		PERFORM pg_temp.run_out();
	END LOOP;
END $$;
SELECT attempt, min(wait) >= longest / 2 - 0.5 AND min(wait) < longest * 0.7 AND max(wait) > longest * 0.8 AND max(wait) <= longest AS within,
		count(wait) AS waits, count(*) AS files
	FROM (SELECT w.attempt, w.wait, least(30, 10 * 2 ^ (w.attempt - 1)) AS longest FROM waits w) waits
	GROUP BY attempt, longest ORDER BY attempt;
DELETE FROM session_files.files WHERE name LIKE 'wait %';
SELECT count(*) FROM session_files.register_files(:'s', ARRAY['g', 'h']);
DO $$
DECLARE
	claimed record;
	failed record;
BEGIN
	FOR round IN 1..5 LOOP
		FOR claimed IN SELECT * FROM session_files.claim_files('w', 10) ORDER BY name LOOP
			SELECT * INTO failed FROM session_files.fail_files(claimed.session_id, ARRAY[claimed.file_ingestion_id],
				CASE claimed.name WHEN 'g' THEN 'SLOWDOWN' ELSE 'UNKNOWN_ERROR' END::session_files.ingestion_status_reason, claimed.lease_token);
			RAISE NOTICE 'round %: %, attempt %: %, %, changed %, again %', round, claimed.name, claimed.attempt, failed.ingestion_status,
				failed.ingestion_status_reason, failed.changed, failed.retry_at > now();
		END LOOP;
		IF EXISTS (SELECT FROM session_files.claim_files('w', 10)) THEN
			RAISE 'claimed before its time';
		END IF;
		PERFORM pg_temp.run_out();
	END LOOP;
END $$;
-- Which reasons: a setting.
SET session_files.retry_reasons = 'SLOWDOWN, UNKNOWN_ERROR';
CREATE FUNCTION pg_temp.is_retried(session uuid, reason session_files.ingestion_status_reason) RETURNS boolean LANGUAGE sql AS $$
	SELECT count(*) FROM session_files.register_files($1, ARRAY[$2 || ' once']);
	SELECT f.retry_at IS NOT NULL FROM session_files.claim_files('w', 10) AS c,
		session_files.fail_files(c.session_id, ARRAY[c.file_ingestion_id], $2, c.lease_token) AS f WHERE c.name = $2 || ' once' $$;
SELECT pg_temp.is_retried(:'s', 'UNKNOWN_ERROR');
SELECT pg_temp.is_retried(:'s', 'EMPTY_FILE');
SET session_files.retry_reasons = '';
SELECT pg_temp.is_retried(:'s', 'SLOWDOWN');
DELETE FROM session_files.files WHERE name LIKE '% once';
SET session_files.retry_reasons = 'SLOWDOWN, NO_REASON';
SET session_files.retry_reasons = '"FILE NAME TOO LONG. MAX LENGTH IS 800"';
SET session_files.retry_reasons = 'SLOWDOWN,,';
SET session_files.max_attempts = 0;
SET session_files.retry_delay = '2 days';
-- The text of an error that names the range says the unit in newer versions of PostgreSQL.
\set VERBOSITY sqlstate
SET session_files.session_lifetime = 0;
\set VERBOSITY terse
-- One that is not there. Before 15 PostgreSQL takes it all the same.
DO $$
BEGIN
	PERFORM set_config('session_files.no_such_setting', '1', true);
	ASSERT current_setting('server_version_num')::integer < 150000, 'a setting that is not there was taken';
EXCEPTION WHEN invalid_name THEN
	NULL;
END
$$;
RESET session_files.retry_reasons;

-- Whose worker dies each time is not tried for ever.
SELECT count(*) FROM session_files.register_files(:'s', ARRAY['deadly']);
SET session_files.max_attempts = 2;
SELECT name, attempt FROM session_files.claim_files('w', 10);
SELECT pg_temp.run_out();
SELECT name, attempt FROM session_files.claim_files('w', 10);
SELECT pg_temp.run_out();
SELECT name, attempt FROM session_files.claim_files('w', 10);
SELECT ingestion_status, ingestion_status_reason FROM session_files.files WHERE name = 'deadly';
RESET session_files.max_attempts;

-- By hand: FAILED files are tried again, FINISHED ones are final.
SELECT name, ingestion_status_reason FROM session_files.files WHERE session_id = :'s' AND ingestion_status = 'FAILED' ORDER BY name;
SELECT count(*) FROM session_files.register_files(:'s', ARRAY[repeat('x', 801)]);
SELECT session_files.retry_failed(:'s', ARRAY['SLOWDOWN', 'EMPTY_FILE']::session_files.ingestion_status_reason[]);
SELECT name, attempt FROM session_files.claim_files('w', 10);
SELECT session_files.retry_failed(:'s', '{}');
SELECT session_files.retry_failed(:'s');
SELECT name, attempt FROM session_files.claim_files('w', 10);
SELECT session_files.retry_failed(:'s');
SELECT total, pending, claimed, finished, failed, failed_by_reason FROM session_files.session_progress WHERE session_id = :'s';
SELECT session_files.retry_failed(NULL);
SELECT session_files.retry_failed(:'s', ARRAY[NULL]::session_files.ingestion_status_reason[]);
SELECT session_files.retry_failed(:'s', '{NO_REASON}');
SELECT session_files.retry_failed(:'s', ARRAY['FILE NAME TOO LONG. MAX LENGTH IS 800']::session_files.ingestion_status_reason[]);
SELECT session_files.retry_failed('00000000-0000-7000-8000-00000000000f');

-- A name that is too long is never claimed; a file that is deleted, or settled by plain SQL, neither.
SELECT count(*) FROM session_files.register_files(:'s', ARRAY['gone', 'done', 'renamed', 'stays']);
DELETE FROM session_files.files WHERE name = 'gone';
UPDATE session_files.files SET ingestion_status = 'FINISHED' WHERE name = 'done';
UPDATE session_files.files SET name = 'new name' WHERE name = 'renamed';
SELECT name, attempt FROM session_files.claim_files('w', 10);
SELECT count(*) FROM session_files.file_queue WHERE worker IS NULL;
-- One that plain SQL makes PENDING, moves or gives another id, is claimed.
UPDATE session_files.files SET ingestion_status = 'PENDING' WHERE name = 'done';
UPDATE session_files.files SET session_id = :'other' WHERE name = 'stays';
UPDATE session_files.files SET file_ingestion_id = '00000000-0000-7000-8000-0000000000aa' WHERE name = 'new name';
INSERT INTO session_files.files (session_id, name, ingestion_status) VALUES (:'other', 'inserted', 'PENDING'), (:'other', 'finished', 'FINISHED');
-- By two calls: for a second the first may not look for a file whose id says that it is older than what was claimed before.
SELECT name, attempt, session_id = :'other' AS other
	FROM (SELECT * FROM session_files.claim_files('w', 10) UNION ALL SELECT * FROM session_files.claim_files('w', 10)) claimed ORDER BY name;

-- Made PENDING again while a worker holds it, by whatever way: that lease is void, and another worker has it.
SELECT session_files.create_session('claims') AS again \gset
SELECT count(*) FROM session_files.register_files(:'again', ARRAY['r1', 'r2', 'r3', 'r4']);
SELECT count(*), lease_token AS before FROM session_files.claim_files('before', 3, session_id => :'again') GROUP BY lease_token \gset
SELECT count(*) FROM session_files.fail_files(:'again', pg_temp.ids('r1', 'r4'), 'EMPTY_FILE');
SELECT session_files.retry_failed(:'again');
UPDATE session_files.files SET ingestion_status = 'FINISHED' WHERE name = 'r2';
UPDATE session_files.files SET ingestion_status = 'PENDING' WHERE name = 'r2';
SELECT name, attempt FROM session_files.claim_files('after', 10, session_id => :'again');
SELECT pg_temp.name_of(file_ingestion_id), ingestion_status, changed FROM session_files.finish_files(:'again', pg_temp.ids('r1', 'r2', 'r3'), :'before');
SELECT lease_token AS after FROM session_files.leases WHERE worker = 'after' \gset
SELECT pg_temp.name_of(file_ingestion_id), ingestion_status, changed FROM session_files.finish_files(:'again', pg_temp.ids('r1', 'r2', 'r4'), :'after');
SELECT name, rank() OVER (ORDER BY generation) FROM session_files.files WHERE session_id = :'again' ORDER BY name;
-- One token over rows that interleave, with different histories.
SELECT count(*) FROM session_files.register_files(:'again', ARRAY(SELECT 'm' || n FROM generate_series(1, 9) n));
SELECT count(*) FROM session_files.fail_files(:'again', pg_temp.ids('m5'), 'EMPTY_FILE');
SELECT session_files.retry_failed(:'again');
SELECT count(*), lease_token AS t FROM session_files.claim_files('w', 3, session_id => :'again') GROUP BY lease_token \gset
SELECT count(*) FROM session_files.release_files(:'again', pg_temp.ids('m1', 'm3'), :'t');
SELECT count(*), lease_token AS t, count(DISTINCT lease_token) AS tokens FROM session_files.claim_files('w', 9, session_id => :'again') GROUP BY lease_token \gset
SELECT rank() OVER (ORDER BY generation), cardinality(file_ingestion_ids) AS files FROM session_files.file_queue WHERE lease_token = :'t' ORDER BY 1;
SELECT pg_temp.name_of(file_ingestion_id), ingestion_status, changed FROM (
	SELECT f.* FROM session_files.finish_files(:'again', pg_temp.ids('m1', 'm2', 'm3', 'm4', 'm5', 'r1'), :'t') f
	UNION ALL SELECT f.file_ingestion_id, f.ingestion_status, f.ingestion_status_reason, f.changed
		FROM session_files.fail_files(:'again', pg_temp.ids('m1', 'm6', 'm9', 'r2'), 'EMPTY_FILE', :'t') f) f;
SELECT cardinality(file_ingestion_ids) AS left_under_the_lease FROM session_files.file_queue WHERE lease_token = :'t';

-- What looked taken to a transaction that rolled back is not.
SELECT session_files.create_session('claims') AS later \gset
INSERT INTO session_files.files (session_id, file_ingestion_id, name)
	SELECT :'later', ('0000000' || n || '-0000-7000-8000-000000000000')::uuid, 't' || n FROM generate_series(1, 4) n;
BEGIN;
SELECT name FROM session_files.claim_files('w', 1, session_id => :'later');
SELECT name FROM session_files.claim_files('w', 1, session_id => :'later');
ROLLBACK;
BEGIN;
SELECT name FROM session_files.claim_files('w', 1, session_id => :'later');
SELECT name FROM session_files.claim_files('w', 1, session_id => :'later');
SAVEPOINT s;
SELECT name FROM session_files.claim_files('w', 1, session_id => :'later');
SELECT name FROM session_files.claim_files('w', 1, session_id => :'later');
ROLLBACK TO s;
SELECT name FROM session_files.claim_files('w', 1, session_id => :'later');
ROLLBACK;
SELECT name FROM session_files.claim_files('w', 1, session_id => :'later');
-- What came of its files, and since when the first of those that are left waits.
SELECT session_files.create_session('claims') AS mixed \gset
SELECT count(*) FROM session_files.register_files(:'mixed', ARRAY(SELECT 'v' || n FROM generate_series(1, 400) n));
SELECT count(*) FROM session_files.finish_files(:'mixed', ARRAY(SELECT file_ingestion_id FROM session_files.files WHERE session_id = :'mixed' ORDER BY 1 LIMIT 200));
SELECT count(*) FROM session_files.fail_files(:'mixed', ARRAY(SELECT file_ingestion_id FROM session_files.files WHERE session_id = :'mixed' ORDER BY 1 DESC LIMIT 100), 'EMPTY_FILE');
SELECT total, pending, finished, failed, failed_by_reason, oldest_pending > now() - interval '1 minute' AS oldest
	FROM session_files.session_progress WHERE session_id = :'mixed';
DELETE FROM session_files.upload_sessions WHERE session_id = :'mixed';

-- Many in a call: more than a row of the queue holds, and all kinds of rows.
SELECT count(*) FROM session_files.register_files(:'other', ARRAY(SELECT 'n' || to_char(n, 'FM0000') FROM generate_series(1, 2500) n));
SELECT count(*) AS rows, max(cardinality(file_ingestion_ids)) AS longest FROM session_files.file_queue WHERE claimed_at IS NULL AND session_id = :'other';
SELECT count(*), min(name), max(name), count(DISTINCT lease_token) AS tokens FROM session_files.claim_files('w', 250, session_id => :'other');
SELECT count(*), min(name), max(name) FROM session_files.claim_files('w', 1, session_id => :'other');
SELECT count(*), min(name), max(name) FROM session_files.claim_files('w', 48, session_id => :'other');
SELECT count(*), min(name), max(name) FROM session_files.claim_files('w', 10000, session_id => :'other');
SELECT max(cardinality(file_ingestion_ids)) AS longest FROM session_files.file_queue;
UPDATE session_files.file_queue SET due_at = now(), lease_token = NULL, worker = NULL, company = NULL WHERE lease_token IS NOT NULL;
SELECT count(*), count(DISTINCT file_ingestion_id), min(attempt), max(attempt), bool_and(file_ingestion_id > before) AS in_order
	FROM (SELECT *, lag(file_ingestion_id) OVER (PARTITION BY lease_token ORDER BY n) AS before
		FROM session_files.claim_files('w', 100, session_id => :'other') WITH ORDINALITY AS c (session_id, file_ingestion_id, name, attempt, lease_token, lease_expires_at, n)) claimed;

-- One worker gets to all sessions in turn, whatever their size.
DELETE FROM session_files.upload_sessions;
SELECT count(*) AS queue_is_empty FROM session_files.file_queue;
INSERT INTO session_files.upload_sessions (session_id, workspace_name)
	SELECT ('00000000-0000-7000-8000-00000000000' || n)::uuid, 'claims' FROM generate_series(1, 4) n;
INSERT INTO session_files.files (session_id, name) SELECT s.session_id, n::text
	FROM session_files.upload_sessions s, generate_series(1, CASE right(s.session_id::text, 1) WHEN '1' THEN 1000 WHEN '4' THEN 0 ELSE 10 END) n;
SELECT min(count) AS fewest, max(count) AS most FROM (
	SELECT right(session_id::text, 1) AS session, count(*) FROM generate_series(1, 3) n, LATERAL session_files.claim_files('w' || n, 5) GROUP BY 1) turns;
-- A claim is filled from several sessions.
SELECT count(*), count(DISTINCT session_id) AS sessions, count(DISTINCT lease_token) AS tokens FROM session_files.claim_files('w', 2000);
SELECT count(*) FROM session_files.claim_files('w', 2000);
TRUNCATE session_files.files;
SELECT count(*) AS queue_is_empty FROM session_files.file_queue;

-- Bad arguments.
SELECT * FROM session_files.claim_files(NULL);
SELECT * FROM session_files.claim_files('');
SELECT * FROM session_files.claim_files(repeat('w', 201));
SELECT * FROM session_files.claim_files('w', NULL);
SELECT * FROM session_files.claim_files('w', 0);
SELECT * FROM session_files.claim_files('w', 100001);
SELECT * FROM session_files.claim_files('w', 1, NULL);
SELECT * FROM session_files.claim_files('w', 1, '0');
SELECT * FROM session_files.claim_files('w', 1, '-1 minute');
SELECT * FROM session_files.claim_files('w', 1, '1 year 1 day');
SELECT * FROM session_files.claim_files('w', 1, session_id => '00000000-0000-7000-8000-00000000000f');
SELECT * FROM session_files.claim_files('w', 1, workspace_name => 'claims elsewhere', session_id => '00000000-0000-7000-8000-000000000001');
SELECT * FROM session_files.claim_files('w', 1, workspace_name => 'nowhere');
BEGIN READ ONLY;
SELECT * FROM session_files.claim_files('w', 1);
ROLLBACK;
\set s 00000000-0000-7000-8000-000000000001
\set f 00000000-0000-7000-8000-0000000000a1
\set t 00000000-0000-7000-8000-0000000000b1
SELECT * FROM session_files.finish_files(:'s', ARRAY[:'f']::uuid[], :'t');
SELECT * FROM session_files.finish_files(:'s', NULL, :'t');
SELECT * FROM session_files.finish_files(NULL, ARRAY[:'f']::uuid[], :'t');
SELECT * FROM session_files.finish_files(:'s', ARRAY[:'f', NULL]::uuid[], :'t');
SELECT * FROM session_files.finish_files(:'s', '{}', :'t');
SELECT * FROM session_files.fail_files(:'s', ARRAY[:'f']::uuid[], 'EMPTY_FILE', :'t');
SELECT * FROM session_files.fail_files(:'s', ARRAY[:'f']::uuid[], NULL, :'t');
SELECT * FROM session_files.fail_files(:'s', '{}', 'EMPTY_FILE', :'t');
SELECT * FROM session_files.extend_lease(:'s', ARRAY[:'f']::uuid[], :'t');
SELECT * FROM session_files.extend_lease(:'s', ARRAY[:'f']::uuid[], NULL);
SELECT * FROM session_files.extend_lease(:'s', ARRAY[:'f']::uuid[], :'t', '-1 s');
SELECT * FROM session_files.extend_lease(:'s', NULL, :'t');
SELECT * FROM session_files.extend_lease(:'s', '{}', :'t');
SELECT * FROM session_files.release_files(:'s', ARRAY[:'f']::uuid[], :'t');
SELECT * FROM session_files.release_files(:'s', ARRAY[:'f']::uuid[], NULL);
SELECT * FROM session_files.release_files(NULL, ARRAY[:'f']::uuid[], :'t');

-- A file that was deleted, or never was, does not fail the others of a lease.
SELECT count(*) FROM session_files.register_files(:'s', ARRAY['x', 'y', 'z']);
SELECT count(*), lease_token AS t FROM session_files.claim_files('w', 3, session_id => :'s') GROUP BY lease_token \gset
CREATE TEMP TABLE ids AS SELECT pg_temp.ids('x', 'y', 'z') || :'f'::uuid AS ids;
DELETE FROM session_files.files WHERE name = 'y';
SELECT pg_temp.name_of(file_ingestion_id), ingestion_status, changed FROM ids, LATERAL session_files.finish_files(:'s', ids, :'t') ORDER BY 1;
SELECT pg_temp.name_of(file_ingestion_id), ingestion_status, ingestion_status_reason, changed, retry_at
	FROM ids, LATERAL session_files.fail_files(:'s', ids, 'SLOWDOWN', :'t') ORDER BY 1;
SELECT count(*) AS left_in_the_queue FROM session_files.file_queue;
DELETE FROM session_files.upload_sessions;
DELETE FROM session_files.workspaces;
