-- What happens when a file is finished whose name the workspace has finished before: KEEP keeps both, FAIL makes it FAILED, OVERWRITE supersedes
-- the others.
\set VERBOSITY terse
SET session_files.notify = off;
SELECT session_files.create_workspace(name) FROM unnest(ARRAY['write 1', 'write 2']) name;
CREATE TEMP TABLE made (label text PRIMARY KEY, session_id uuid, file_ingestion_id uuid);

-- Registers a file in a session of its own; finishes it.
CREATE FUNCTION pg_temp.add(label text, workspace text, mode session_files.write_mode, name text) RETURNS void LANGUAGE sql AS $$
	INSERT INTO made SELECT label, s.id, r.file_ingestion_id
	FROM session_files.create_session(workspace, mode) AS s (id), session_files.register_files(s.id, ARRAY[name]) AS r
$$;
CREATE FUNCTION pg_temp.finish(label text, OUT status session_files.ingestion_status, OUT reason session_files.ingestion_status_reason, OUT changed boolean)
	LANGUAGE sql AS $$
	SELECT f.ingestion_status, f.ingestion_status_reason, f.changed
	FROM made AS m, session_files.finish_files(m.session_id, ARRAY[m.file_ingestion_id]) AS f WHERE m.label = finish.label
$$;
CREATE VIEW pg_temp.files AS
	SELECT m.label, s.workspace_name AS workspace, s.write_mode AS mode, f.name, f.ingestion_status AS status, f.ingestion_status_reason AS reason, b.label AS superseded_by
	FROM made AS m JOIN session_files.files AS f USING (session_id) JOIN session_files.upload_sessions AS s USING (session_id)
		LEFT JOIN made AS b ON b.file_ingestion_id = f.superseded_by ORDER BY m.label;

SELECT pg_temp.add('1 first', 'write 1', 'KEEP', 'a'), pg_temp.add('2 kept', 'write 1', 'KEEP', 'a'), pg_temp.add('3 fails', 'write 1', 'FAIL', 'a'),
	pg_temp.add('4 other name', 'write 1', 'FAIL', 'A'), pg_temp.add('5 other workspace', 'write 2', 'FAIL', 'a'),
	pg_temp.add('6 takes the place', 'write 1', 'OVERWRITE', 'a'), pg_temp.add('7 is kept', 'write 1', 'KEEP', 'a'),
	pg_temp.add('8 again', 'write 1', 'OVERWRITE', 'a'), pg_temp.add('9 fails', 'write 1', 'FAIL', 'a');
SELECT m.label, f.* FROM made AS m CROSS JOIN LATERAL pg_temp.finish(m.label) AS f ORDER BY m.label;
SELECT * FROM pg_temp.files;

-- Claims say what the mode is.
SELECT pg_temp.add('claimed', 'write 1', 'FAIL', 'a');
SELECT c.name, c.write_mode, f.ingestion_status, f.ingestion_status_reason, f.changed
FROM session_files.claim_files('worker') AS c, session_files.finish_files(c.session_id, ARRAY[c.file_ingestion_id], c.lease_token) AS f;
SELECT count(*) AS queued FROM session_files.file_queue;

-- The totals of the sessions are right, and nothing is wrong.
SELECT m.label, c.failed, c.finished, c.pending FROM made AS m, session_files.session_counts(m.session_id) AS c ORDER BY 1;
SELECT invariant, broken, example FROM session_files.check() WHERE broken > 0 AND invariant <> 'grants';

-- A file whose place was taken does not count any more; nor one that is deleted, or is tried again.
DELETE FROM made WHERE label NOT IN ('1 first', '8 again');
DELETE FROM session_files.upload_sessions AS s WHERE s.session_id NOT IN (SELECT session_id FROM made);
DELETE FROM session_files.files WHERE file_ingestion_id = (SELECT file_ingestion_id FROM made WHERE label = '8 again');
SELECT pg_temp.add('free', 'write 1', 'FAIL', 'a');
SELECT * FROM pg_temp.finish('free');
UPDATE session_files.files SET ingestion_status = 'PENDING' WHERE session_id IN (SELECT session_id FROM made WHERE label IN ('1 first', 'free'));
SELECT * FROM pg_temp.finish('free');
SELECT * FROM pg_temp.finish('1 first');
SELECT label, status, superseded_by FROM pg_temp.files;

-- The same for plain SQL. What a dump has is left as it is.
SELECT pg_temp.add('plain', 'write 1', 'FAIL', 'a');
UPDATE session_files.files SET ingestion_status = 'FINISHED' WHERE session_id = (SELECT session_id FROM made WHERE label = 'plain');
SELECT label, status, reason FROM pg_temp.files WHERE label = 'plain';
UPDATE session_files.files SET ingestion_status = 'FINISHED', ingestion_status_reason = NULL WHERE session_id = (SELECT session_id FROM made WHERE label = 'plain');
SELECT label, status, reason FROM pg_temp.files WHERE label = 'plain';
INSERT INTO made (label, session_id) SELECT 'restored', session_files.create_session('write 1', 'FAIL');
INSERT INTO session_files.files (session_id, ingestion_status, name) SELECT session_id, 'FINISHED', 'a' FROM made WHERE label = 'restored';
SELECT label, status, reason FROM pg_temp.files WHERE label = 'restored';

-- In one statement: the second of two FAIL sessions, in whatever order; of two OVERWRITE sessions one takes the other's place.
SELECT pg_temp.add('one', 'write 1', 'FAIL', 'b'), pg_temp.add('two', 'write 1', 'FAIL', 'b'), pg_temp.add('three', 'write 1', 'OVERWRITE', 'c'),
	pg_temp.add('four', 'write 1', 'OVERWRITE', 'c');
UPDATE session_files.files SET ingestion_status = 'FINISHED' WHERE name IN ('b', 'c');
SELECT name, status, reason, count(*), count(superseded_by) AS superseded FROM pg_temp.files WHERE name IN ('b', 'c') GROUP BY 1, 2, 3 ORDER BY 1, 2;

-- With one snapshot for the whole transaction, too, a file that another has finished since then is found.
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT pg_temp.add('repeatable', 'write 1', 'OVERWRITE', 'b');
SELECT * FROM pg_temp.finish('repeatable');
SELECT count(superseded_by) AS superseded FROM pg_temp.files WHERE name = 'b';
ROLLBACK;

-- Another name of the workspace, another workspace of a session, another name of the file.
UPDATE session_files.workspaces SET name = 'write 3' WHERE name = 'write 1';
SELECT pg_temp.add('renamed workspace', 'write 3', 'FAIL', 'a');
SELECT * FROM pg_temp.finish('renamed workspace');
INSERT INTO session_files.workspaces VALUES ('write 1');
SELECT pg_temp.add('old name of the workspace', 'write 1', 'FAIL', 'a');
SELECT * FROM pg_temp.finish('old name of the workspace');
UPDATE session_files.upload_sessions SET workspace_name = 'write 2' WHERE session_id = (SELECT session_id FROM made WHERE label = 'four');
SELECT pg_temp.add('where it has come', 'write 2', 'FAIL', 'c'), pg_temp.add('where it was', 'write 3', 'FAIL', 'c');
SELECT label, f.* FROM made CROSS JOIN LATERAL pg_temp.finish(label) AS f WHERE label LIKE 'where%' ORDER BY label;
UPDATE session_files.files SET name = 'd' WHERE name = 'b' AND ingestion_status = 'FINISHED';
SELECT pg_temp.add('new name', 'write 3', 'FAIL', 'd'), pg_temp.add('old name', 'write 3', 'FAIL', 'b');
SELECT label, f.* FROM made CROSS JOIN LATERAL pg_temp.finish(label) AS f WHERE label LIKE '%w name' OR label = 'old name' ORDER BY label;
SELECT invariant, broken, example FROM session_files.check() WHERE broken > 0 AND invariant <> 'grants';

-- Another workspace's file does not count, even if its hash were the same.
SELECT pg_temp.add('far', 'write 2', 'KEEP', 'x'), pg_temp.add('near', 'write 3', 'FAIL', 'x');
SELECT * FROM pg_temp.finish('far');
SET session_replication_role = replica;
UPDATE session_files.files SET name_hash = (SELECT session_files._name_hash(workspace_id, 'x') FROM session_files.workspaces WHERE name = 'write 3') WHERE name = 'x' AND ingestion_status = 'FINISHED';
RESET session_replication_role;
SELECT * FROM pg_temp.finish('near');

-- Nothing sets the hash but the trigger. What a restore without triggers has broken is found and repaired.
UPDATE session_files.files SET name_hash = 1;
SELECT invariant, broken FROM session_files.check() WHERE broken > 0 AND invariant <> 'grants';
SET session_replication_role = replica;
UPDATE session_files.files SET name_hash = CASE WHEN name_hash IS NULL OR name = 'a' THEN 1 END;
RESET session_replication_role;
SELECT broken = (SELECT count(*) FROM session_files.files) AS all_broken, broken > 0 AS some FROM session_files.check() WHERE invariant = 'name_hashes';
SELECT repaired > 0 AS repaired FROM session_files.repair() WHERE invariant = 'name_hashes';
SELECT invariant, broken FROM session_files.check() WHERE broken > 0 AND invariant <> 'grants';

DELETE FROM session_files.upload_sessions;
DELETE FROM session_files.workspaces WHERE name LIKE 'write _';
