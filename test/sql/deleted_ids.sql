-- Files that are inserted under the id of one that was deleted, or become PENDING again: to the queue they are other files, by their generation.
\set VERBOSITY terse
\set s '''00000000-0000-7000-8000-000000000001'''
\set other '''00000000-0000-7000-8000-000000000002'''
SELECT session_files.create_workspace('w');
INSERT INTO session_files.upload_sessions (session_id, workspace_name) VALUES (:s, 'w'), (:other, 'w');

-- Shows the files, in how many queue rows that are not void each is, whether a worker holds it, and what check() finds.
CREATE VIEW state AS
	SELECT right(f.session_id::text, 1) AS session, right(f.file_ingestion_id::text, 2) AS id, f.ingestion_status AS status, q.rows, q.is_held
	FROM session_files.files AS f,
		LATERAL (SELECT count(*) AS rows, bool_or(q.lease_token IS NOT NULL) AS is_held FROM session_files.file_queue AS q
			WHERE q.session_id = f.session_id AND f.file_ingestion_id = ANY (q.file_ingestion_ids) AND q.generation >= f.generation) AS q
	ORDER BY 1, 2;
CREATE VIEW broken AS SELECT invariant, broken, example FROM session_files.check() WHERE broken > 0;
CREATE PROCEDURE put(session uuid, VARIADIC ids integer[]) LANGUAGE sql AS $$
	INSERT INTO session_files.files (session_id, file_ingestion_id, name)
		SELECT session, format('01900000-0000-7000-8000-0000000000%s', i)::uuid, 'file ' || i FROM unnest(ids) AS i
$$;

-- Waiting, deleted, inserted again: one worker gets it.
CALL put(:s, 10, 11, 12, 13);
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

-- In one statement, also where it has inserted all that it wants before it has deleted all.
WITH gone AS (DELETE FROM session_files.files WHERE session_id = :s AND name IN ('file 10', 'file 12') RETURNING session_id, file_ingestion_id, name)
	INSERT INTO session_files.files (session_id, file_ingestion_id, name) SELECT * FROM gone LIMIT 1;
SELECT count(*), max(rows), bool_or(is_held) FROM state WHERE session = '1' AND id IN ('10', '12');
WITH gone AS (UPDATE session_files.files SET file_ingestion_id = overlay(file_ingestion_id::text placing '3' from 35)::uuid WHERE session_id = :s AND name = 'file 11'
	RETURNING session_id, name)
	INSERT INTO session_files.files (session_id, file_ingestion_id, name) SELECT session_id, '01900000-0000-7000-8000-000000000011', 'other ' || name FROM gone LIMIT 1;
SELECT * FROM state WHERE session = '1' AND id IN ('11', '31');
SELECT * FROM broken;
DELETE FROM session_files.files WHERE session_id = :s;
CALL put(:s, 10, 11, 12, 13);

-- Settled by plain SQL, which leaves the queue row; and inserted as FAILED, to be retried later.
UPDATE session_files.files SET ingestion_status = 'FINISHED' WHERE session_id = :s AND name = 'file 10';
DELETE FROM session_files.files WHERE session_id = :s AND name IN ('file 10', 'file 11');
INSERT INTO session_files.files (session_id, file_ingestion_id, name, ingestion_status, ingestion_status_reason)
	VALUES (:s, '01900000-0000-7000-8000-000000000010', 'file 10', 'FAILED', 'SLOWDOWN'),
		(:s, '01900000-0000-7000-8000-000000000011', 'file 11', 'PENDING', NULL);
SELECT session_files.retry_failed(:s);
SELECT * FROM state WHERE session = '1';
SELECT * FROM broken;

-- Another key takes a file away as a DELETE does; here also to a session from which one with its id was deleted, and to the id of one that
-- went to another, under a lease.
CALL put(:other, 10, 12);
SELECT count(*), bool_and(attempt = 1) AS first FROM session_files.claim_files('third', 10);
DELETE FROM session_files.files WHERE session_id = :other;
UPDATE session_files.files SET session_id = :other WHERE session_id = :s AND name = 'file 12';
CALL put(:s, 12);
UPDATE session_files.files SET file_ingestion_id = '01900000-0000-7000-8000-000000000020' WHERE session_id = :s AND name = 'file 11';
UPDATE session_files.files SET file_ingestion_id = '01900000-0000-7000-8000-000000000011' WHERE session_id = :s AND name = 'file 13';
CALL put(:other, 10);
SELECT * FROM state;
SELECT * FROM broken;
SELECT count(*) FROM session_files.claim_files('fourth', 10);

-- What changes neither the key nor the status leaves a file to the worker who holds it; also what asks for another generation.
SELECT generation AS before FROM session_files.files WHERE session_id = :other AND name = 'file 10' \gset
UPDATE session_files.files SET name = name, ingestion_status = 'PENDING';
UPDATE session_files.files SET generation = DEFAULT;
UPDATE session_files.files SET generation = 1000000;
SELECT generation = :before AS same FROM session_files.files WHERE session_id = :other AND name = 'file 10';
SELECT count(*), min(rows), max(rows), bool_and(is_held) FROM state;
SELECT count(*) FROM session_files.claim_files('fifth', 10);
-- Finished, and PENDING again: twice, in one transaction.
BEGIN;
UPDATE session_files.files SET ingestion_status = 'FINISHED' WHERE name = 'file 10';
UPDATE session_files.files SET ingestion_status = 'PENDING' WHERE name = 'file 10';
UPDATE session_files.files SET ingestion_status = 'FINISHED' WHERE name = 'file 10' AND session_id = :s;
UPDATE session_files.files SET ingestion_status = 'PENDING' WHERE name = 'file 10' AND session_id = :s;
COMMIT;
SELECT * FROM state WHERE id = '10';
SELECT count(*) FROM session_files.claim_files('sixth', 10);
SELECT * FROM broken;

-- An INSERT cannot choose the generation.
INSERT INTO session_files.files (session_id, name, generation) VALUES (:s, 'chosen', 1);
\echo :LAST_ERROR_SQLSTATE

DROP VIEW state, broken;
DROP PROCEDURE put;
TRUNCATE session_files.workspaces CASCADE;
