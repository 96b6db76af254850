-- Totals stay exact, whatever writes: each step shows what is counted beside what there is.
\set VERBOSITY terse
INSERT INTO session_files.workspaces VALUES ('counts');
INSERT INTO session_files.upload_sessions (session_id, workspace_name)
	SELECT ('00000000-0000-7000-8000-00000000000' || n)::uuid, 'counts' FROM generate_series(1, 3) n;
CREATE VIEW pg_temp.totals AS
	SELECT right(s.session_id::text, 1)::int AS session, c.counted, f.present, c.counted IS NOT DISTINCT FROM f.present AS equal
	FROM session_files.upload_sessions s,
		LATERAL (SELECT ARRAY[coalesce(sum(failed), 0), coalesce(sum(finished), 0), coalesce(sum(pending), 0)]::int[] AS counted
			FROM session_files.file_counts c WHERE c.session_id = s.session_id) c,
		LATERAL (SELECT ARRAY[count(*) FILTER (WHERE ingestion_status = 'FAILED'), count(*) FILTER (WHERE ingestion_status = 'FINISHED'),
			count(*) FILTER (WHERE ingestion_status = 'PENDING')]::int[] AS present FROM session_files.files f WHERE f.session_id = s.session_id) f
	ORDER BY 1;
CREATE FUNCTION pg_temp.s(n int) RETURNS uuid RETURN ('00000000-0000-7000-8000-00000000000' || n)::uuid;

-- INSERT into several sessions at once, UPDATE, UPDATE of the session, DELETE.
INSERT INTO session_files.files (session_id, name) SELECT pg_temp.s(1 + n % 2), 'f' || n FROM generate_series(1, 20) n;
SELECT * FROM pg_temp.totals;
UPDATE session_files.files SET ingestion_status = 'FINISHED' WHERE name IN ('f1', 'f2', 'f3');
UPDATE session_files.files SET ingestion_status = 'FAILED', ingestion_status_reason = 'SLOWDOWN' WHERE name IN ('f3', 'f4');
UPDATE session_files.files SET name = 'g5' WHERE name = 'f5';
SELECT * FROM pg_temp.totals;
UPDATE session_files.files SET session_id = pg_temp.s(3) WHERE name IN ('f1', 'f4', 'f7');
DELETE FROM session_files.files WHERE name IN ('f8', 'f9');
SELECT * FROM pg_temp.totals;

-- COPY, ON CONFLICT, three kinds of change in one statement, and a statement that changes nothing.
COPY session_files.files (session_id, name, ingestion_status) FROM stdin;
00000000-0000-7000-8000-000000000003	copied 1	PENDING
00000000-0000-7000-8000-000000000003	copied 2	FINISHED
\.
INSERT INTO session_files.files (session_id, name) VALUES (pg_temp.s(3), 'copied 1'), (pg_temp.s(3), 'new') ON CONFLICT DO NOTHING;
INSERT INTO session_files.files (session_id, name) VALUES (pg_temp.s(3), 'copied 1'), (pg_temp.s(3), 'newer')
	ON CONFLICT (session_id, session_files._name_key(name)) DO UPDATE SET ingestion_status = 'FINISHED';
WITH gone AS (DELETE FROM session_files.files WHERE name = 'f10' RETURNING session_id),
	changed AS (UPDATE session_files.files SET ingestion_status = 'FINISHED' WHERE name = 'f11')
	INSERT INTO session_files.files (session_id, name) SELECT session_id, 'instead' FROM gone;
UPDATE session_files.files SET ingestion_status = ingestion_status WHERE false;
SELECT * FROM pg_temp.totals;

-- A name that is too long is counted as what it is recorded as.
INSERT INTO session_files.files (session_id, name) VALUES (pg_temp.s(3), repeat('x', 801));
SELECT * FROM pg_temp.totals WHERE session = 3;

-- Savepoints, rollbacks, errors.
BEGIN;
INSERT INTO session_files.files (session_id, name) VALUES (pg_temp.s(1), 'kept');
SAVEPOINT one;
INSERT INTO session_files.files (session_id, name) VALUES (pg_temp.s(1), 'dropped');
UPDATE session_files.files SET ingestion_status = 'FINISHED' WHERE name = 'kept';
SELECT * FROM pg_temp.totals WHERE session = 1;
ROLLBACK TO one;
SELECT * FROM pg_temp.totals WHERE session = 1;
INSERT INTO session_files.files (session_id, name) VALUES (pg_temp.s(1), 'kept');
ROLLBACK TO one;
INSERT INTO session_files.files (session_id, name) VALUES (pg_temp.s(1), 'kept too');
COMMIT;
SELECT * FROM pg_temp.totals WHERE session = 1;
BEGIN ISOLATION LEVEL REPEATABLE READ;
INSERT INTO session_files.files (session_id, name) VALUES (pg_temp.s(1), 'repeatable 1');
INSERT INTO session_files.files (session_id, name) VALUES (pg_temp.s(1), 'repeatable 2');
SAVEPOINT one;
DELETE FROM session_files.files WHERE name = 'repeatable 1';
ROLLBACK TO one;
SELECT * FROM pg_temp.totals WHERE session = 1;
COMMIT;
SELECT * FROM pg_temp.totals WHERE session = 1;

-- One slot does for transactions one after the other, whatever their isolation level.
DO $$ BEGIN
	FOR n IN 1..40 LOOP
		COMMIT;
		SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;
		INSERT INTO session_files.files (session_id, name) VALUES ('00000000-0000-7000-8000-000000000002', 'slot ' || n);
		UPDATE session_files.files SET ingestion_status = 'FINISHED' WHERE name = 'slot ' || n AND n % 2 = 0;
		COMMIT;
		SET TRANSACTION ISOLATION LEVEL SERIALIZABLE;
		UPDATE session_files.files SET ingestion_status = 'FINISHED' WHERE name = 'slot ' || n AND n % 2 = 1;
		COMMIT;
		DELETE FROM session_files.files WHERE name = 'slot ' || n - 5;
	END LOOP;
END $$;
SELECT count(*) AS slots FROM session_files.file_counts WHERE session_id = pg_temp.s(2);
-- Also when the table was made again meanwhile.
VACUUM FULL session_files.file_counts;
BEGIN ISOLATION LEVEL REPEATABLE READ;
INSERT INTO session_files.files (session_id, name) VALUES (pg_temp.s(2), 'after VACUUM FULL');
COMMIT;
SELECT count(*) AS slots FROM session_files.file_counts WHERE session_id = pg_temp.s(2);
SELECT * FROM pg_temp.totals WHERE session = 2;

-- Slots that many transactions at a time have left, which amount to nothing here, are merged by a backend that writes more often.
INSERT INTO session_files.file_counts (session_id, slot, failed, finished, pending, digest)
	SELECT pg_temp.s(2), n, sign, -sign, sign, n / 2 FROM (SELECT n, 1 - 2 * (n % 2) AS sign FROM generate_series(2, 41) AS n) AS s;
SELECT count(*) > 32 AS piled_up FROM session_files.file_counts WHERE session_id = pg_temp.s(2);
DO $$ BEGIN
	FOR n IN 1..16 LOOP
		INSERT INTO session_files.files (session_id, name) VALUES ('00000000-0000-7000-8000-000000000002', 'merges ' || n);
	END LOOP;
END $$;
SELECT count(*) AS slots FROM session_files.file_counts WHERE session_id = pg_temp.s(2);
SELECT * FROM pg_temp.totals WHERE session = 2;

-- Cascades and TRUNCATE leave no counts behind.
DELETE FROM session_files.upload_sessions WHERE session_id = pg_temp.s(1);
SELECT count(*) FROM session_files.file_counts WHERE session_id = pg_temp.s(1);
SELECT * FROM pg_temp.totals;
BEGIN;
TRUNCATE session_files.upload_sessions CASCADE;
SELECT count(*) FROM session_files.file_counts;
ROLLBACK;
SELECT * FROM pg_temp.totals;
TRUNCATE session_files.files;
SELECT * FROM pg_temp.totals;

-- A statement that moves the files of a session away and deletes it, in either order.
INSERT INTO session_files.upload_sessions (session_id, workspace_name) VALUES (pg_temp.s(4), 'counts'), (pg_temp.s(5), 'counts');
INSERT INTO session_files.files (session_id, name) SELECT pg_temp.s(n), 'moved ' || n FROM generate_series(4, 5) n;
WITH gone AS (DELETE FROM session_files.upload_sessions WHERE session_id = pg_temp.s(4))
	UPDATE session_files.files SET session_id = pg_temp.s(3) WHERE session_id = pg_temp.s(4);
WITH gone AS (DELETE FROM session_files.upload_sessions WHERE session_id = pg_temp.s(5) RETURNING session_id)
	UPDATE session_files.files AS f SET session_id = pg_temp.s(3) FROM gone WHERE f.session_id = gone.session_id;
SELECT * FROM pg_temp.totals;
SELECT count(*) FROM session_files.file_counts WHERE session_id IN (pg_temp.s(4), pg_temp.s(5));
DELETE FROM session_files.files;

-- A writer needs no right on the counts, and cannot touch them.
CREATE ROLE regress_writer;
GRANT SELECT, INSERT, UPDATE, DELETE ON session_files.files TO regress_writer;
SELECT session_files.grant_workspace('regress_writer', NULL);
SET ROLE regress_writer;
INSERT INTO session_files.files (session_id, name) VALUES (pg_temp.s(2), 'by another role');
UPDATE session_files.file_counts SET pending = 0;
SELECT current_user;
RESET ROLE;
SELECT * FROM pg_temp.totals;
REVOKE ALL ON ALL TABLES IN SCHEMA session_files FROM regress_writer;
DELETE FROM session_files.workspace_grants;
DROP ROLE regress_writer;

-- The trigger functions serve their own triggers only.
CREATE TEMP TABLE foreign_table (session_id uuid, slot bigint);
CREATE TRIGGER foreign_trigger AFTER INSERT ON foreign_table FOR EACH STATEMENT EXECUTE FUNCTION session_files._count_changes();
INSERT INTO foreign_table DEFAULT VALUES;
DROP TRIGGER foreign_trigger ON foreign_table;
CREATE TRIGGER foreign_trigger BEFORE INSERT ON foreign_table FOR EACH ROW EXECUTE FUNCTION session_files._session_cleanup();
INSERT INTO foreign_table DEFAULT VALUES;
SELECT session_files._count_changes();
DELETE FROM session_files.upload_sessions WHERE workspace_name = 'counts';
SELECT count(*) FROM session_files.file_counts;
DELETE FROM session_files.workspaces WHERE name = 'counts';
