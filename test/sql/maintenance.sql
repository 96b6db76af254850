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
CREATE TEMP TABLE deletions AS SELECT n, m.* FROM generate_series(1, 4) n, LATERAL session_files.maintain(4 + 0 * n) m;
SELECT sum(sessions_deleted) AS sessions_deleted, sum(files_deleted) AS files_deleted, max(files_deleted) AS largest, bool_or(more) AS more
	FROM deletions;
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

-- One that is past its end says so, whether or not maintain() has been called.
DELETE FROM session_files.upload_sessions;
INSERT INTO session_files.upload_sessions (session_id, workspace_name) SELECT pg_temp.session(n), 'maintenance' FROM generate_series(1, 4) n;
SELECT count(*) FROM generate_series(1, 4) n, LATERAL session_files.register_files(pg_temp.session(n), ARRAY['a', 'b', 'c']);
SELECT pg_temp.age(n, '1 day') FROM generate_series(1, 3) n;
SELECT p.status AS is_seen_as, s.status, p.pending FROM session_files.session_progress p JOIN session_files.upload_sessions s USING (session_id) ORDER BY 1, 2;

-- A session that meets an error stays as it was, is reported, and keeps no other from its end: whatever raises it, in a trigger of an
-- application, or in a foreign key.
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not b' USING ERRCODE = 'XX123'; END $$;
CREATE TRIGGER refuse BEFORE UPDATE ON session_files.files FOR EACH ROW
	WHEN (NEW.session_id = '00000000-0000-7000-8000-000000000002' AND NEW.name = 'b') EXECUTE FUNCTION refuse();
SELECT * FROM session_files.maintain();
SELECT session, status, file, reason, count(*) FROM pg_temp.seen GROUP BY 1, 2, 3, 4 ORDER BY 1;
-- Work that is rolled back is no reason to come again at once.
SELECT * FROM session_files.maintain(2);
DROP TRIGGER refuse ON session_files.files;
SELECT * FROM session_files.maintain();
CREATE TABLE invoices (session_id uuid PRIMARY KEY REFERENCES session_files.upload_sessions);
INSERT INTO invoices VALUES (pg_temp.session(2));
SET session_files.session_retention = '0';
SELECT * FROM session_files.maintain();
SELECT session, status, file, reason, count(*) FROM pg_temp.seen GROUP BY 1, 2, 3, 4 ORDER BY 1;
-- Calls that have time for one alone come to each of them.
DELETE FROM session_files.upload_sessions WHERE session_id = pg_temp.session(4);
INSERT INTO session_files.upload_sessions (workspace_name, status, created_at, expires_at)
	SELECT 'maintenance', 'EXPIRED', now() - interval '2 days', now() - interval '1 day' FROM generate_series(1, 20);
SET client_min_messages = error;
SELECT sum(m.sessions_deleted) AS sessions_deleted, sum(m.sessions_failed) > 0 AS some_failed, bool_and(m.sessions_deleted + m.sessions_failed <= 1) AS one_each
	FROM generate_series(1, 1000) n, LATERAL session_files.maintain(1 + 0 * n) m;
RESET client_min_messages;
SELECT session, status FROM pg_temp.seen;
RESET session_files.session_retention;
DROP TABLE invoices;
DROP FUNCTION refuse;

-- No file of an EXPIRED session is PENDING: one that becomes so makes the session CLOSED, for maintain() to expire again.
INSERT INTO session_files.files (session_id, name, ingestion_status) VALUES (pg_temp.session(2), 'finished', 'FINISHED');
SELECT DISTINCT session, status FROM pg_temp.seen;
INSERT INTO session_files.files (session_id, name) VALUES (pg_temp.session(2), 'inserted');
SELECT * FROM pg_temp.seen;
SELECT * FROM session_files.maintain();
UPDATE session_files.files SET ingestion_status = 'PENDING' WHERE name = 'finished';
SELECT * FROM pg_temp.seen;
UPDATE session_files.upload_sessions SET status = 'EXPIRED';
SELECT * FROM session_files.maintain();
SELECT * FROM pg_temp.seen;
UPDATE session_files.upload_sessions SET status = 'EXPIRED';
-- Without triggers, as in a restore, check() and repair() see to it.
BEGIN;
SET session_replication_role = replica;
UPDATE session_files.upload_sessions SET status = 'EXPIRED';
UPDATE session_files.files SET ingestion_status = 'PENDING', ingestion_status_reason = NULL;
RESET session_replication_role;
SELECT invariant, broken FROM session_files.check() WHERE broken > 0 AND invariant = 'expired_pending';
SELECT * FROM session_files.repair() WHERE invariant = 'expired_pending';
SELECT * FROM session_files.maintain();
SELECT * FROM pg_temp.seen;
SELECT invariant, broken FROM session_files.check() WHERE broken > 0;
ROLLBACK;

-- Bad arguments.
SELECT * FROM session_files.maintain(0);
SELECT * FROM session_files.maintain(NULL);
SELECT * FROM session_files.maintain(1000001);
DELETE FROM session_files.upload_sessions;
DELETE FROM session_files.workspaces;
