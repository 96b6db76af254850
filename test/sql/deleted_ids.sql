-- Files that are inserted under the id of one that was deleted: to the queue they are other files.
\set s '''00000000-0000-7000-8000-000000000001'''
\set other '''00000000-0000-7000-8000-000000000002'''
SELECT session_files.create_workspace('w');
INSERT INTO session_files.upload_sessions (session_id, workspace_name) VALUES (:s, 'w'), (:other, 'w');

-- Shows the files, their entries in the queue that are not void, and whether check() finds anything.
CREATE VIEW state AS
	SELECT right(f.session_id::text, 1) AS session, right(f.file_ingestion_id::text, 2) AS id, f.ingestion_status AS status, f.retries,
		(SELECT count(*) FROM session_files.file_queue AS q
			WHERE q.session_id = f.session_id AND f.file_ingestion_id = ANY (q.file_ingestion_ids) AND q.retries = f.retries) AS entries
	FROM session_files.files AS f ORDER BY 1, 2;
CREATE VIEW broken AS SELECT invariant, broken, example FROM session_files.check() WHERE broken > 0;
CREATE PROCEDURE put(session uuid, VARIADIC ids integer[]) LANGUAGE sql AS $$
	INSERT INTO session_files.files (session_id, file_ingestion_id, name)
		SELECT session, format('01900000-0000-7000-8000-0000000000%s', i)::uuid, 'file ' || i FROM unnest(ids) AS i
$$;

-- Nothing was deleted: nothing is kept.
CALL put(:s, 10, 11, 12, 13);
CALL put(:other, 10);
SELECT * FROM state;
SELECT count(*) FROM session_files.file_deletions;

-- Waiting, deleted, inserted again: one worker gets it.
DELETE FROM session_files.files WHERE session_id = :s AND name = 'file 10';
CALL put(:s, 10);
SELECT * FROM state;
SELECT name, attempt FROM session_files.claim_files('first', 10, session_id => :s) ORDER BY name;
SELECT name, attempt FROM session_files.claim_files('second', 10, session_id => :s) ORDER BY name;

-- Claimed, deleted, inserted again: the claim does not hold it, and another worker gets it.
SELECT lease_token AS token FROM session_files.file_queue WHERE worker = 'first' LIMIT 1 \gset
DELETE FROM session_files.files WHERE session_id = :s AND name IN ('file 11', 'file 12');
CALL put(:s, 11, 12);
SELECT name, attempt FROM session_files.claim_files('second', 10, session_id => :s) ORDER BY name;
SELECT right(file_ingestion_id::text, 2) AS id, changed FROM session_files.finish_files(:s,
	ARRAY(SELECT file_ingestion_id FROM session_files.files WHERE session_id = :s AND name IN ('file 11', 'file 12', 'file 13')), :'token');
SELECT * FROM state;
SELECT * FROM broken;

-- Over and over, each time with more retries.
DO $$
BEGIN
	FOR i IN 1 .. 5 LOOP
		DELETE FROM session_files.files WHERE session_id = '00000000-0000-7000-8000-000000000001' AND name = 'file 10';
		CALL put('00000000-0000-7000-8000-000000000001', 10);
	END LOOP;
END
$$;
SELECT * FROM state WHERE id = '10';
-- What is kept is within one bound, whatever the number of deletions.
SELECT right(session_id::text, 1) AS session, retries, count(*) FROM session_files.file_deletions GROUP BY 1, 2;
SELECT * FROM broken;

-- In one statement.
WITH gone AS (DELETE FROM session_files.files WHERE session_id = :s AND name IN ('file 10', 'file 12') RETURNING session_id, file_ingestion_id, name)
	INSERT INTO session_files.files (session_id, file_ingestion_id, name) SELECT * FROM gone;
SELECT * FROM state WHERE session = '1';

-- Also where the statement has inserted all that it wants before it has deleted all.
WITH gone AS (DELETE FROM session_files.files WHERE session_id = :s AND name IN ('file 10', 'file 12') RETURNING session_id, file_ingestion_id, name)
	INSERT INTO session_files.files (session_id, file_ingestion_id, name) SELECT * FROM gone LIMIT 1;
SELECT count(*), max(retries), max(entries) FROM state WHERE session = '1' AND id IN ('10', '12');
WITH gone AS (UPDATE session_files.files SET file_ingestion_id = overlay(file_ingestion_id::text placing '3' from 35)::uuid WHERE session_id = :s AND name = 'file 11'
	RETURNING session_id, name)
	INSERT INTO session_files.files (session_id, file_ingestion_id, name) SELECT session_id, '01900000-0000-7000-8000-000000000011', 'other ' || name FROM gone LIMIT 1;
SELECT * FROM state WHERE session = '1' AND id IN ('11', '31');
SELECT * FROM broken;
DELETE FROM session_files.files WHERE session_id = :s AND name IN ('file 10', 'file 11', 'file 12', 'other file 11');
CALL put(:s, 10, 11, 12);

-- Settled by plain SQL, which leaves the entry; and inserted as FAILED, to be retried later.
UPDATE session_files.files SET ingestion_status = 'FINISHED' WHERE session_id = :s AND name = 'file 10';
DELETE FROM session_files.files WHERE session_id = :s AND name IN ('file 10', 'file 11');
INSERT INTO session_files.files (session_id, file_ingestion_id, name, ingestion_status, ingestion_status_reason)
	VALUES (:s, '01900000-0000-7000-8000-000000000010', 'file 10', 'FAILED', 'SLOWDOWN'),
		(:s, '01900000-0000-7000-8000-000000000011', 'file 11', 'PENDING', NULL);
SELECT session_files.retry_failed(:s);
SELECT * FROM state WHERE session = '1';
SELECT * FROM broken;

-- Another key takes a file away as a DELETE does; here also to a session from which one with its id was deleted.
DELETE FROM session_files.files WHERE session_id = :other;
UPDATE session_files.files SET session_id = :other WHERE session_id = :s AND name = 'file 12';
CALL put(:s, 12);
UPDATE session_files.files SET file_ingestion_id = '01900000-0000-7000-8000-000000000020' WHERE session_id = :s AND name = 'file 11';
INSERT INTO session_files.files (session_id, file_ingestion_id, name) VALUES (:s, '01900000-0000-7000-8000-000000000011', 'once more 11');
CALL put(:other, 10);
SELECT * FROM state;
SELECT * FROM broken;

-- One that takes the key of another which had more retries.
UPDATE session_files.files SET retries = CASE name WHEN 'file 12' THEN 20 ELSE 30 END WHERE session_id = :s AND name IN ('file 12', 'file 13');
SELECT * FROM state WHERE id IN ('12', '13') AND session = '1';
UPDATE session_files.files SET file_ingestion_id = '01900000-0000-7000-8000-000000000022' WHERE session_id = :s AND name = 'file 13';
UPDATE session_files.files SET file_ingestion_id = '01900000-0000-7000-8000-000000000013' WHERE session_id = :s AND name = 'file 12';
SELECT * FROM state WHERE session = '1';
SELECT * FROM broken;

-- New files have ids that cannot have been deleted.
SELECT name, ingestion_status FROM session_files.register_files(:s, ARRAY['new 1', 'new 2']);
INSERT INTO session_files.files (session_id, name) VALUES (:s, 'new 3');
SELECT name, retries FROM session_files.files WHERE session_id = :s AND name LIKE 'new%' ORDER BY name;

-- A deletion that is rolled back does not count, and does not stand for the next one.
BEGIN;
SAVEPOINT undone;
DELETE FROM session_files.files WHERE session_id = :s AND name LIKE 'new%';
ROLLBACK TO undone;
DELETE FROM session_files.files WHERE session_id = :s AND name = 'new 1' RETURNING file_ingestion_id AS deleted \gset
COMMIT;
INSERT INTO session_files.files (session_id, file_ingestion_id, name) VALUES (:s, :'deleted', 'new 1');
SELECT name, retries FROM session_files.files WHERE session_id = :s AND name LIKE 'new%' ORDER BY name;
SELECT * FROM broken;

-- With the session go its bounds; and when all files are truncated, all go.
SELECT right(session_id::text, 1) AS session, count(*) FROM session_files.file_deletions GROUP BY 1 ORDER BY 1;
DELETE FROM session_files.upload_sessions WHERE session_id = :other;
SELECT right(session_id::text, 1) AS session, count(*) FROM session_files.file_deletions GROUP BY 1 ORDER BY 1;
TRUNCATE session_files.files;
SELECT right(session_id::text, 1) AS session, count(*) FROM session_files.file_deletions GROUP BY 1 ORDER BY 1;
CALL put(:s, 10);
SELECT * FROM state;
SELECT * FROM broken;

-- Numbers of retries that make no sense are not taken for anything else.
INSERT INTO session_files.files (session_id, file_ingestion_id, name, retries)
	SELECT :s, format('01900000-0000-7000-8000-0000000000%s', i)::uuid, 'less than none ' || i, 29 - i FROM generate_series(30, 32) AS i;
SELECT * FROM state;
UPDATE session_files.files SET retries = -2 WHERE name = 'less than none 30';
SELECT * FROM state;
SELECT * FROM broken;

-- A bound of no session, as other means may leave it, is found and removed.
INSERT INTO session_files.file_deletions VALUES ('00000000-0000-7000-8000-000000000009', '01900000-0000-7000-8000-000000000010', 0);
SELECT * FROM broken;
SELECT * FROM session_files.repair() WHERE repaired > 0;
SELECT * FROM broken;

DROP VIEW state, broken;
DROP PROCEDURE put;
TRUNCATE session_files.workspaces CASCADE;
