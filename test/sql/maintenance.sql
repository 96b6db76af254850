-- What time does to sessions: they refuse files, expire, and go. The clock is set by changing expires_at.
\set VERBOSITY terse
\set SHOW_CONTEXT never
SELECT session_files.create_workspace('maintenance');
CREATE FUNCTION pg_temp.session(n int) RETURNS uuid RETURN ('00000000-0000-7000-8000-00000000000' || n)::uuid;
CREATE FUNCTION pg_temp.age(n int, by interval) RETURNS void BEGIN ATOMIC
	UPDATE session_files.upload_sessions SET created_at = created_at - by, expires_at = expires_at - by WHERE session_id = pg_temp.session(n);
END;
CREATE VIEW pg_temp.seen AS
	SELECT right(s.session_id::text, 1) AS session, s.status, f.name, f.ingestion_status AS file, f.ingestion_status_reason AS reason
	FROM session_files.upload_sessions s LEFT JOIN session_files.files f USING (session_id) ORDER BY 1, f.file_ingestion_id;

-- How long a session lasts: an argument, or a setting.
SELECT session_files.create_session('maintenance') AS s \gset
SELECT expires_at - created_at AS lasts FROM session_files.upload_sessions WHERE session_id = :'s';
SET session_files.session_lifetime = '2h';
SELECT session_files.create_session('maintenance') AS s \gset
SELECT expires_at - created_at AS lasts FROM session_files.upload_sessions WHERE session_id = :'s';
SELECT session_files.create_session('maintenance', expires_in => '10 minutes') AS s \gset
SELECT expires_at - created_at AS lasts FROM session_files.upload_sessions WHERE session_id = :'s';
RESET session_files.session_lifetime;
DELETE FROM session_files.upload_sessions;

INSERT INTO session_files.upload_sessions (session_id, workspace_name) SELECT pg_temp.session(n), 'maintenance' FROM generate_series(1, 3) n;
SELECT count(*) FROM session_files.register_files(pg_temp.session(1), ARRAY['never delivered', 'finished', 'delayed', 'claimed', 'run out', 'empty']);
SELECT count(*) FROM session_files.register_files(pg_temp.session(2), ARRAY['of a closed session']);
SELECT session_files.close_session(pg_temp.session(2));
SELECT d.changed FROM session_files.files f, LATERAL session_files.finish_files(f.session_id, ARRAY[f.file_ingestion_id]) d WHERE f.name = 'finished';
SELECT d.changed FROM session_files.files f, LATERAL session_files.fail_files(f.session_id, ARRAY[f.file_ingestion_id], 'EMPTY_FILE') d WHERE f.name = 'empty';
-- Workers: one never comes back, one is at work, one was told to slow down.
SELECT name FROM session_files.claim_files('w1', 1, session_id => pg_temp.session(1));
SELECT r.changed FROM session_files.leases l,
	LATERAL session_files.release_files(l.session_id, ARRAY(SELECT f.file_ingestion_id FROM session_files.files f WHERE f.name = 'never delivered'), l.lease_token) r;
UPDATE session_files.file_queue SET due_at = now() + interval '1 hour' WHERE claimed_at IS NOT NULL;
SELECT name, lease_token AS t FROM session_files.claim_files('w2', 1, session_id => pg_temp.session(1)) \gset
-- For longer than the others take to claim.
SET session_files.retry_delay = '5 min';
SELECT ingestion_status, retry_at > now() AS later FROM session_files.fail_files(pg_temp.session(1),
	ARRAY(SELECT file_ingestion_id FROM session_files.files WHERE name = 'delayed'), 'SLOWDOWN', :'t');
SELECT name FROM session_files.claim_files('w3', 1, '1 hour', session_id => pg_temp.session(1));
SELECT name FROM session_files.claim_files('w4', 1, '1 microsecond', session_id => pg_temp.session(1));

-- Before its time nothing happens.
SELECT * FROM session_files.maintain();
SELECT pg_temp.age(n, '23 hours 59 minutes') FROM generate_series(1, 3) n;
SELECT * FROM session_files.maintain();

-- Past it: no more files, no more claims; what no worker holds fails, and the session waits for the rest.
SELECT pg_temp.age(1, '1 minute');
SELECT pg_temp.age(2, '1 minute');
DO $$ BEGIN
	PERFORM session_files.register_files(pg_temp.session(1), '{late}');
EXCEPTION WHEN object_not_in_prerequisite_state THEN
	RAISE NOTICE '55000: %', regexp_replace(SQLERRM, 'at .*, and', 'at TIME, and');
END $$;
DO $$ BEGIN
	PERFORM session_files.retry_failed(pg_temp.session(1));
EXCEPTION WHEN object_not_in_prerequisite_state THEN
	RAISE NOTICE '55000: %', regexp_replace(SQLERRM, 'at .*, and', 'at TIME, and');
END $$;
SELECT name FROM session_files.claim_files('w', 10);
SELECT * FROM session_files.maintain();
SELECT * FROM pg_temp.seen;
-- The worker that holds a file can still finish it.
SELECT ingestion_status, changed FROM session_files.leases, LATERAL session_files.finish_files(session_id,
	ARRAY(SELECT f.file_ingestion_id FROM session_files.files f WHERE f.name = 'claimed'), lease_token) WHERE worker = 'w3';
SELECT * FROM session_files.maintain();
SELECT * FROM pg_temp.seen WHERE session = '1' AND name = 'claimed';
SELECT session_files.close_session(pg_temp.session(1));
DO $$ BEGIN
	PERFORM session_files.register_files(pg_temp.session(1), '{late}');
EXCEPTION WHEN object_not_in_prerequisite_state THEN
	RAISE NOTICE '55000: %', SQLERRM;
END $$;
SELECT count(*) AS left_in_the_queue FROM session_files.file_queue;

-- Long after that a session goes, if it is set so, in small steps; others stay.
SELECT pg_temp.age(n, '1 day') FROM generate_series(1, 2) n;
SELECT * FROM session_files.maintain();
SET session_files.session_retention = '1d';
SELECT * FROM session_files.maintain(4);
SELECT count(*) FROM session_files.files WHERE session_id = pg_temp.session(1);
SELECT * FROM session_files.maintain(4);
SELECT * FROM session_files.maintain(4);
SELECT * FROM pg_temp.seen;
RESET session_files.session_retention;

-- Small steps for expiry too, which end.
SELECT count(*) FROM session_files.register_files(pg_temp.session(3), ARRAY(SELECT n::text FROM generate_series(1, 2500) n));
SELECT pg_temp.age(3, '1 hour');
CREATE TEMP TABLE steps AS SELECT n, m.* FROM generate_series(1, 6) n, LATERAL session_files.maintain(1000 + 0 * n) m;
SELECT sum(sessions_expired) AS sessions_expired, sum(files_failed) AS files_failed, max(files_failed) < 1100 AS small,
	string_agg(more::text, ' ' ORDER BY n) AS more FROM steps;
SELECT status, file, reason, count(*) FROM pg_temp.seen GROUP BY 1, 2, 3;

-- Bad arguments.
SELECT * FROM session_files.maintain(0);
SELECT * FROM session_files.maintain(NULL);
SELECT * FROM session_files.maintain(1000001);
DELETE FROM session_files.upload_sessions;
DELETE FROM session_files.workspaces;
