-- Which files a claim gives: what came back first, workspaces and sessions in turn, priorities; what a session changes; files of lost leases.
\set VERBOSITY terse
SELECT session_files.create_workspace('order ' || n) FROM generate_series(1, 3) n;
CREATE TEMPORARY TABLE sessions AS
	SELECT w || '.' || s AS session, session_files.create_session('order ' || w) AS id FROM generate_series(1, 3) w, generate_series(1, 3) s ORDER BY w, s;
CREATE FUNCTION pg_temp.s(text) RETURNS uuid LANGUAGE sql AS $$ SELECT s.id FROM sessions AS s WHERE s.session = $1 $$;
CREATE FUNCTION pg_temp.fill(per_session integer) RETURNS bigint LANGUAGE sql AS $$
	SELECT count(*) FROM sessions AS s, session_files.register_files(s.id, ARRAY(SELECT s.session || '.' || n FROM generate_series(1, $1) n)) $$;
CREATE FUNCTION pg_temp.empty() RETURNS void LANGUAGE sql AS $$ DELETE FROM session_files.files $$;
-- From which session a claim has its files.
CREATE FUNCTION pg_temp.claimed(files integer, workspace text DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(DISTINCT s.session, ' ' ORDER BY s.session) FROM session_files.claim_files('w', files, workspace_name => workspace) AS c JOIN sessions AS s ON s.id = c.session_id $$;
CREATE FUNCTION pg_temp.run_out() RETURNS void LANGUAGE sql AS $$
	UPDATE session_files.file_queue SET due_at = now() - interval '1 second' WHERE claimed_at IS NOT NULL $$;
-- How many files each claim has until there are no more, and in which attempt.
CREATE FUNCTION pg_temp.companies() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	one text;
	claims text[] := '{}';
BEGIN
	LOOP
		SELECT count(*) || ' in attempt ' || max(attempt) INTO one FROM session_files.claim_files('w', 100);
		IF one IS NULL THEN
			RETURN (SELECT string_agg(format('%s x %s', n, c), ', ' ORDER BY c) FROM (SELECT c, count(*) AS n FROM unnest(claims) AS c GROUP BY c) AS counted);
		END IF;
		claims := claims || one;
	END LOOP;
END $$;
SELECT pg_temp.fill(6);

-- Nine claims serve each session once, and three in a row each workspace.
DO $$
DECLARE
	served text[] := '{}';
BEGIN
	FOR claim IN 1..9 LOOP
		served := served || pg_temp.claimed(2);
	END LOOP;
	RAISE NOTICE 'all sessions: %', (SELECT string_agg(s, ' ' ORDER BY s) FROM unnest(served) s);
	RAISE NOTICE 'workspaces in turn: %', (SELECT bool_and(left(served[n], 1) <> ALL (ARRAY[left(served[n + 1], 1), left(served[n + 2], 1)])) FROM generate_series(1, 7) n);
END $$;
-- Of one workspace too; what one session does not have comes from the next.
SELECT pg_temp.claimed(12, 'order 2');
SELECT pg_temp.claimed(12, 'order 2');
SELECT pg_temp.claimed(1000);
SELECT pg_temp.claimed(1000);

-- What came back goes first, from whatever session, the longest waiting first.
SELECT pg_temp.empty();
SELECT pg_temp.fill(1);
SELECT count(*) FROM session_files.claim_files('w', session_id => pg_temp.s('3.2')) AS c, session_files.release_files(c.session_id, ARRAY[c.file_ingestion_id], c.lease_token);
SELECT count(*) FROM session_files.claim_files('w', session_id => pg_temp.s('1.3')) AS c, session_files.release_files(c.session_id, ARRAY[c.file_ingestion_id], c.lease_token);
SELECT pg_temp.claimed(1);
SELECT pg_temp.claimed(1, 'order 1');

-- The highest priority of a workspace goes first; workspaces still take turns.
SELECT pg_temp.empty();
UPDATE session_files.upload_sessions SET priority = 5 WHERE session_id = pg_temp.s('2.3');
SELECT pg_temp.fill(2);
UPDATE session_files.upload_sessions SET priority = -5 WHERE session_id = pg_temp.s('2.1');
SELECT s.session, q.priority, count(*) FROM session_files.file_queue q JOIN sessions s ON s.id = q.session_id WHERE q.workspace_name = 'order 2' GROUP BY 1, 2 ORDER BY 1;
SELECT pg_temp.claimed(2, 'order 2');
SELECT pg_temp.claimed(2, 'order 2');
SELECT pg_temp.claimed(2, 'order 2');

-- Another name of a workspace, and another workspace of a session: the queue follows.
SELECT pg_temp.empty();
SELECT pg_temp.fill(1);
UPDATE session_files.workspaces SET name = 'renamed' WHERE name = 'order 3';
UPDATE session_files.upload_sessions SET workspace_name = 'renamed' WHERE session_id = pg_temp.s('1.1');
SELECT pg_temp.claimed(100, 'renamed');
SELECT pg_temp.run_out();
UPDATE session_files.workspaces SET name = 'order 3' WHERE name = 'renamed';
SELECT pg_temp.claimed(1, 'order 3') IS NOT NULL AS what_came_back;
SELECT pg_temp.claimed(100, 'order 1');
SELECT invariant, broken FROM session_files.check() WHERE broken > 0 AND invariant <> 'grants';

-- A lease that ended without a report: its files come back alone, at most half as many, and that was no attempt unless there was one.
SELECT pg_temp.empty();
SELECT count(*) FROM session_files.register_files(pg_temp.s('1.1'), ARRAY(SELECT 'f' || n FROM generate_series(1, 10) n));
SELECT count(*), max(attempt) FROM session_files.claim_files('w', 10);
SELECT pg_temp.run_out();
SELECT count(*) FROM session_files.register_files(pg_temp.s('1.2'), ARRAY['another']);
SELECT count(*), max(attempt), count(DISTINCT session_id) FROM session_files.claim_files('w', 100);
SELECT count(*), max(attempt), count(DISTINCT session_id) FROM session_files.claim_files('w', 100);
SELECT pg_temp.claimed(100);
SELECT pg_temp.run_out();
SELECT pg_temp.companies();
SELECT pg_temp.run_out();
SELECT pg_temp.companies();
SELECT pg_temp.run_out();
SELECT pg_temp.companies();
-- What the worker itself reports, or gives back, is no loss.
SELECT pg_temp.run_out();
SELECT count(*) FROM session_files.leases AS l, session_files.release_files(NULL, ARRAY(SELECT file_ingestion_id FROM session_files.files), l.lease_token) AS r WHERE r.changed;
SELECT count(*), max(attempt) FROM session_files.claim_files('w', 100);

-- Without a session: what the lease holds, of all its sessions; what was wrong, for people.
SELECT pg_temp.empty();
SELECT pg_temp.fill(2);
SELECT lease_token AS t FROM session_files.claim_files('w', 100) LIMIT 1 \gset
SELECT count(*) FROM session_files.register_files(pg_temp.s('3.3'), ARRAY['not held']);
SELECT ingestion_status, changed, count(*) FROM session_files.finish_files(NULL, ARRAY(SELECT file_ingestion_id FROM session_files.files WHERE name LIKE '%.1' OR name = 'not held'), :'t') GROUP BY 1, 2 ORDER BY 1;
SELECT changed, count(*) FROM session_files.fail_files(NULL, ARRAY(SELECT file_ingestion_id FROM session_files.files WHERE name LIKE '%.2'), 'EMPTY_FILE', :'t', 'nothing in it') GROUP BY 1;
SELECT ingestion_status, ingestion_status_reason, error, count(*) FROM session_files.files GROUP BY 1, 2, 3 ORDER BY 1;
SELECT count(*), max(char_length(error)) FROM session_files.fail_files(pg_temp.s('3.3'), ARRAY(SELECT file_ingestion_id FROM session_files.files WHERE name = 'not held'), 'EMPTY_FILE', error => repeat('é', 3000)), session_files.files WHERE name = 'not held';
SELECT char_length(error) FROM session_files.files WHERE name = 'not held';
UPDATE session_files.files SET error = repeat('e', 2001) WHERE name = 'not held';
UPDATE session_files.files SET ingestion_status = 'FINISHED', ingestion_status_reason = NULL WHERE name = 'not held';
SELECT session_files.retry_failed(pg_temp.s('3.3'));
SELECT ingestion_status, error FROM session_files.files WHERE name = 'not held';
SELECT session_files.finish_files(NULL, ARRAY[gen_random_uuid()]);
SELECT ingestion_status, changed FROM session_files.finish_files(NULL, ARRAY[gen_random_uuid()], gen_random_uuid());
SELECT invariant, broken FROM session_files.check() WHERE broken > 0 AND invariant <> 'grants';
DELETE FROM session_files.upload_sessions WHERE session_id IN (SELECT id FROM sessions);
DELETE FROM session_files.workspaces WHERE name LIKE 'order %';
