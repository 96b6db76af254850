-- check() finds what does not agree, and repair() makes again what follows from the rest. Damage is done with all triggers off, as a restore
-- with --disable-triggers does.
\set VERBOSITY terse
\set SHOW_CONTEXT never
SELECT session_files.create_workspace('check');
INSERT INTO session_files.upload_sessions (session_id, workspace_name)
	SELECT ('00000000-0000-7000-8000-00000000000' || n)::uuid, 'check' FROM generate_series(1, 4) n;
CREATE FUNCTION pg_temp.s(n int) RETURNS uuid RETURN ('00000000-0000-7000-8000-00000000000' || n)::uuid;
CREATE FUNCTION pg_temp.f(n int) RETURNS uuid RETURN ('01980000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid;
INSERT INTO session_files.files (session_id, file_ingestion_id, name) SELECT pg_temp.s(1 + n % 2), pg_temp.f(n), 'f' || n FROM generate_series(1, 60) n;
SELECT count(*) FROM session_files.finish_files(pg_temp.s(1), ARRAY(SELECT pg_temp.f(n) FROM generate_series(2, 20, 2) n));
SELECT count(*) FROM session_files.fail_files(pg_temp.s(2), ARRAY[pg_temp.f(1)], 'EMPTY_FILE');
CREATE ROLE regress_check_granted;
SELECT session_files.grant_workspace('regress_check_granted', 'check');

-- All is well: each invariant, and how much of it there is.
SELECT * FROM session_files.check();
-- Also where times are printed as they are not read: CST, which is China's there, is read as America's (before 18).
BEGIN;
UPDATE session_files.workspaces SET created_at = '1970-01-01 00:00:00+00';
SET LOCAL timezone = 'Asia/Shanghai';
SELECT created_at, created_at::text::timestamptz = created_at AND current_setting('server_version_num')::integer < 180000 AS is_read_so
	FROM session_files.workspaces;
SELECT * FROM session_files.check() WHERE broken > 0;
ROLLBACK;
SELECT * FROM session_files.repair();

-- Restored without triggers: files that are not counted and not queued, over a hundred; counts that were there before;
-- the totals of listings.
SET session_replication_role = replica;
INSERT INTO session_files.files (session_id, file_ingestion_id, name) SELECT pg_temp.s(3), pg_temp.f(n), 'g' || n FROM generate_series(1001, 4500) n;
INSERT INTO session_files.files (session_id, file_ingestion_id, name) SELECT pg_temp.s(4), pg_temp.f(n), 'h' || n FROM generate_series(5001, 5005) n;
UPDATE session_files.files SET ingestion_status = 'FINISHED' WHERE name IN ('f3', 'f4');
UPDATE session_files.files SET name = 'another name' WHERE name = 'f6';
DELETE FROM session_files.files WHERE name = 'f5';
RESET session_replication_role;
SELECT invariant, broken, example FROM session_files.check() WHERE broken > 0;
SELECT session_files.get_session_files('check', pg_temp.s(3), "limit" => 0)::json -> 'total' AS total;
SELECT * FROM session_files.repair();
SELECT * FROM session_files.check() WHERE broken > 0;
SELECT session_files.get_session_files('check', pg_temp.s(3), "limit" => 0)::json -> 'total' AS total;
-- As the trigger would have queued them: a hundred in a row where there are many, one where there are few.
SELECT session_id = pg_temp.s(4) AS few, count(*), min(cardinality(file_ingestion_ids)), max(cardinality(file_ingestion_ids)), bool_and(due_at = session_files.uuid7_time(file_ingestion_ids[1])) AS due
	FROM session_files.file_queue WHERE session_id IN (pg_temp.s(3), pg_temp.s(4)) GROUP BY 1 ORDER BY 1;
SELECT count(*), count(DISTINCT file_ingestion_id) FROM session_files.claim_files('w', 100000, session_id => pg_temp.s(3));
SELECT * FROM session_files.repair() WHERE repaired > 0;

-- Twice in the queue: a worker that holds it keeps it, be it alone in its row or not.
SELECT lease_token AS t FROM session_files.claim_files('holder', 1, session_id => pg_temp.s(4)) \gset
INSERT INTO session_files.file_queue (session_id, workspace_name, due_at, file_ingestion_ids, generation)
	SELECT session_id, workspace_name, 'epoch', file_ingestion_ids, generation FROM session_files.file_queue WHERE lease_token = :'t';
INSERT INTO session_files.file_queue (session_id, workspace_name, due_at, file_ingestion_ids, generation)
	SELECT session_id, workspace_name, 'epoch', file_ingestion_ids || pg_temp.f(5003), generation FROM session_files.file_queue WHERE lease_token = :'t';
-- One of a smaller generation is void, and no harm.
INSERT INTO session_files.file_queue (session_id, workspace_name, due_at, file_ingestion_ids, generation)
	SELECT session_id, workspace_name, 'epoch', file_ingestion_ids, 0 FROM session_files.file_queue WHERE lease_token = :'t';
SELECT invariant, broken, example FROM session_files.check() WHERE broken > 0;
SELECT * FROM session_files.repair() WHERE repaired > 0;
SELECT * FROM session_files.check() WHERE broken > 0;
SELECT name FROM session_files.claim_files('another', 10, session_id => pg_temp.s(4)) ORDER BY 1;
SELECT changed FROM session_files.files f, session_files.finish_files(pg_temp.s(4), ARRAY[f.file_ingestion_id], :'t') WHERE f.name = 'h5001';

-- A sequence that is behind, as logical replication leaves it: a file that becomes PENDING would get a generation that another had.
SELECT setval('session_files.files_generation_seq', 1) \g /dev/null
SELECT invariant, broken > 0 AS broken, example ~ '^the sequence files_generation_seq is at 1, and the greatest generation is [0-9]+$' AS example
	FROM session_files.check() WHERE broken > 0;
SELECT invariant, repaired > 0 AS repaired FROM session_files.repair() WHERE repaired > 0;
SELECT * FROM session_files.check() WHERE broken > 0;
SELECT nextval('session_files.files_generation_seq') > max(generation) AS is_greater FROM session_files.files;

-- What belongs to nothing is removed, except files and sessions, which are a user's data.
SET session_replication_role = replica;
INSERT INTO session_files.file_counts VALUES (pg_temp.s(8), 1, 0, 0, 1, 1);
INSERT INTO session_files.file_queue (session_id, workspace_name, due_at, file_ingestion_ids, generation) VALUES (pg_temp.s(8), 'check', now(), ARRAY[pg_temp.f(1)], 0);
INSERT INTO session_files.files (session_id, file_ingestion_id, name) VALUES (pg_temp.s(9), pg_temp.f(9), 'lost');
INSERT INTO session_files.upload_sessions (session_id, workspace_name) VALUES (pg_temp.s(7), 'lost');
INSERT INTO session_files.workspace_grants (role, workspace_name, kind) VALUES (4294967295::oid::regrole, 'check', 'lister'), ('regress_check_granted', 'lost', 'lister');
RESET session_replication_role;
SELECT invariant, broken, example FROM session_files.check() WHERE broken > 0;
SELECT * FROM session_files.repair() WHERE repaired > 0;
SELECT invariant, broken, example FROM session_files.check() WHERE broken > 0;
SELECT role, workspace_name FROM session_files.workspace_grants;
SET session_replication_role = replica;
DELETE FROM session_files.files WHERE name = 'lost';
DELETE FROM session_files.upload_sessions WHERE workspace_name = 'lost';
RESET session_replication_role;

-- Rules that rows break; triggers, constraints, indexes and policies that are not as they should be. Only the administrator can know why.
BEGIN;
ALTER TABLE session_files.files DISABLE TRIGGER count_updates;
DROP TRIGGER queue_inserts ON session_files.files;
ALTER TABLE session_files.upload_sessions DISABLE TRIGGER ALL;
ALTER TABLE session_files.upload_sessions DISABLE ROW LEVEL SECURITY;
DROP POLICY visible_workspaces ON session_files.workspaces;
ALTER DOMAIN session_files.file_name DROP CONSTRAINT files_name_not_empty;
INSERT INTO session_files.files (session_id, file_ingestion_id, name) VALUES (pg_temp.s(1), pg_temp.f(99), '');
ALTER DOMAIN session_files.file_name ADD CONSTRAINT files_name_not_empty CHECK (VALUE <> '') NOT VALID;
UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'session_files.files_reason_idx'::regclass;
SELECT invariant, broken, regexp_replace(example, '\(\d+,\d+\)', '(…)') AS example FROM session_files.check() WHERE broken > 0;
SELECT guard, problem FROM session_files._missing_guards() WHERE problem IS NOT NULL ORDER BY 1, 2;
ROLLBACK;
-- Row level security that is off everywhere is off on purpose.
BEGIN;
SELECT format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY', oid::regclass) FROM pg_class WHERE relnamespace = 'session_files'::regnamespace AND relkind = 'r' \gexec
SELECT invariant, broken FROM session_files.check() WHERE broken > 0;
ROLLBACK;
-- The list of them is complete.
SELECT 'trigger' AS kind, tgname AS unknown FROM pg_trigger WHERE tgrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'session_files'::regnamespace)
		AND NOT tgisinternal AND NOT EXISTS (SELECT FROM session_files._missing_guards() WHERE invariant = 'triggers' AND guard = format('%s: %s', tgrelid::regclass, tgname))
	UNION ALL SELECT 'constraint', conname FROM pg_constraint LEFT JOIN pg_attribute ON atttypid = contypid AND NOT attisdropped
		AND attrelid IN (SELECT oid FROM pg_class WHERE relkind = 'r')
	WHERE connamespace = 'session_files'::regnamespace AND contype <> 'n'
		AND NOT EXISTS (SELECT FROM session_files._missing_guards() WHERE invariant = 'constraints' AND guard = format('%s: %s', coalesce(attrelid, conrelid)::regclass, conname))
	UNION ALL SELECT 'index', c.relname FROM pg_index i JOIN pg_class c ON c.oid = indexrelid WHERE relnamespace = 'session_files'::regnamespace
		AND NOT EXISTS (SELECT FROM session_files._missing_guards() WHERE invariant = 'indexes' AND guard = format('%s: %s', indrelid::regclass, c.relname))
	UNION ALL SELECT 'policy', polname FROM pg_policy WHERE polrelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'session_files'::regnamespace)
		AND NOT EXISTS (SELECT FROM session_files._missing_guards() WHERE invariant = 'policies' AND guard = format('%s: %s', polrelid::regclass, polname));

-- file_digest: what the trigger has added; NULL for what is no file.
SELECT bit_xor(session_files._file_digest(file_ingestion_id, ingestion_status, ingestion_status_reason, name)) = (SELECT bit_xor(digest) FROM session_files.file_counts WHERE session_id = pg_temp.s(2)) AS same
	FROM session_files.files WHERE session_id = pg_temp.s(2);
SELECT session_files._file_digest(NULL, 'PENDING', NULL, 'x'), session_files._file_digest(pg_temp.f(1), NULL, NULL, 'x'), session_files._file_digest(pg_temp.f(1), 'PENDING', NULL, NULL);

-- Who may: to check, those from whom nothing is hidden; to repair, those who need no grants. Not with a snapshot from before.
SELECT session_files.grant_workspace('regress_check_granted', NULL, 'worker');
SET ROLE regress_check_granted;
SELECT * FROM session_files.check();
RESET ROLE;
SELECT session_files.grant_workspace('regress_check_granted', NULL, 'watcher');
SET ROLE regress_check_granted;
SELECT count(*) FROM session_files.check() WHERE broken > 0;
SELECT * FROM session_files.repair();
RESET ROLE;
ALTER ROLE regress_check_granted BYPASSRLS;
SET ROLE regress_check_granted;
SELECT count(*) FROM session_files.check() WHERE broken > 0;
SELECT sum(repaired) FROM session_files.repair();
RESET ROLE;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM session_files.check() WHERE broken > 0;
SELECT * FROM session_files.repair();
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT * FROM session_files.repair();
ROLLBACK;

-- A library that does not know the tables says so, in every function, and works again when it does.
ALTER TABLE session_files.files RENAME generation TO tries;
SELECT session_files.get_session_files('check', pg_temp.s(1));
\echo :LAST_ERROR_SQLSTATE
INSERT INTO session_files.files (session_id, name) VALUES (pg_temp.s(1), 'x');
SELECT session_files.claim_files('w');
SELECT * FROM session_files.check();
SELECT status FROM session_files.handle_request('GET', '/api/v1/workspaces/check/upload_sessions/00000000-0000-7000-8000-000000000001/files');
ALTER TABLE session_files.files RENAME tries TO generation;
ALTER TABLE session_files.file_queue ALTER generation TYPE numeric;
SELECT session_files.get_session_files('check', pg_temp.s(1), "limit" => 0);
ALTER TABLE session_files.file_queue ALTER generation TYPE bigint;
SELECT session_files.get_session_files('check', pg_temp.s(1), "limit" => 0);

DELETE FROM session_files.upload_sessions;
DELETE FROM session_files.workspaces;
SELECT invariant, checked, broken FROM session_files.check() WHERE broken > 0;
DELETE FROM session_files.workspace_grants WHERE role = 'regress_check_granted'::regrole;
DROP ROLE regress_check_granted;
