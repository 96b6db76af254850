-- An index that is missing, or not valid, is an error for what needs it, and for nothing else.

SET client_min_messages = warning;
INSERT INTO session_files.workspaces VALUES ('w');
INSERT INTO session_files.upload_sessions (session_id, workspace_name) VALUES ('00000000-0000-7000-8000-000000000001', 'w');
SELECT count(*) FROM session_files.register_files('00000000-0000-7000-8000-000000000001', '{a,b,c,d}');

-- What a statement comes to.
CREATE FUNCTION outcome(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	hint text;
BEGIN
	EXECUTE statement;
	RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	RETURN format('%s %s. %s', SQLSTATE, SQLERRM, hint);
END $$;

-- What becomes of each listing, and of writers.
CREATE VIEW uses AS
	SELECT field, status, outcome(format('SELECT session_files.get_session_files(''w'', ''00000000-0000-7000-8000-000000000001'', %L, field => %L)', status, field))
	FROM unnest('{created_at,ingestion_status,ingestion_status_reason,name}'::text[]) AS field, unnest('{NULL,FAILED,PENDING}'::text[]) AS status
	UNION ALL
	SELECT 'HTTP', NULL, outcome($$SELECT session_files.handle_request('GET', '/api/v1/workspaces/w/upload_sessions/00000000-0000-7000-8000-000000000001/files')$$)
	UNION ALL
	SELECT 'cursor', NULL, outcome($$SELECT session_files.get_session_files('w', '00000000-0000-7000-8000-000000000001',
		after => (SELECT file_ingestion_id FROM session_files.files WHERE name = 'a'))$$)
	UNION ALL
	SELECT 'insert', NULL, outcome($$INSERT INTO session_files.files (session_id, name) VALUES ('00000000-0000-7000-8000-000000000001', session_files.uuid7()::text)$$)
	UNION ALL
	SELECT 'register', NULL, outcome($$SELECT session_files.register_files('00000000-0000-7000-8000-000000000001', ARRAY['a', session_files.uuid7()::text])$$)
	UNION ALL
	SELECT 'claim', NULL, outcome($$SELECT session_files.claim_files('worker', 1)$$)
	UNION ALL
	SELECT 'finish', NULL, outcome($$SELECT session_files.finish_files('00000000-0000-7000-8000-000000000001',
		ARRAY(SELECT file_ingestion_id FROM session_files.files WHERE name = 'b'))$$)
	UNION ALL
	SELECT 'fail', NULL, outcome($$SELECT session_files.fail_files('00000000-0000-7000-8000-000000000001',
		ARRAY(SELECT file_ingestion_id FROM session_files.files WHERE name = 'c'), 'SLOWDOWN')$$)
	UNION ALL
	SELECT 'delete', NULL, outcome($$DELETE FROM session_files.files WHERE name = 'd'$$)
	UNION ALL
	SELECT 'maintain', NULL, outcome($$SELECT session_files.maintain()$$);

SELECT DISTINCT outcome FROM uses;

-- One after the other is missing.
CREATE TABLE indexes AS
	SELECT indexname::text AS name, indexdef AS definition FROM pg_indexes WHERE schemaname = 'session_files' AND indexname ~ '_(idx|key)$'
	ORDER BY indexname COLLATE "C";
CREATE TABLE outcomes (missing text, field text, status text, outcome text);
DO $$
DECLARE
	index indexes;
BEGIN
	FOR index IN SELECT * FROM indexes LOOP
		EXECUTE format('DROP INDEX session_files.%I', index.name);
		INSERT INTO outcomes SELECT index.name, u.* FROM uses AS u;
		EXECUTE index.definition;
		INSERT INTO outcomes SELECT 'none after ' || index.name, u.* FROM uses AS u;
	END LOOP;
END $$;
SELECT missing, field, status, outcome FROM outcomes WHERE outcome <> 'ok' ORDER BY missing COLLATE "C", field COLLATE "C", status COLLATE "C" NULLS FIRST;
SELECT missing, count(*) FROM outcomes WHERE outcome = 'ok' GROUP BY missing ORDER BY missing COLLATE "C";

-- One that is renamed away, and comes back.
ALTER INDEX session_files.files_reason_idx RENAME TO files_reason_idx_away;
SELECT * FROM uses WHERE outcome <> 'ok' ORDER BY field COLLATE "C", status COLLATE "C" NULLS FIRST;
ALTER INDEX session_files.files_reason_idx_away RENAME TO files_reason_idx;
SELECT * FROM uses WHERE outcome <> 'ok' ORDER BY field COLLATE "C", status COLLATE "C" NULLS FIRST;

-- What CREATE INDEX CONCURRENTLY leaves when it fails.
DROP INDEX session_files.files_status_idx;
CREATE UNIQUE INDEX CONCURRENTLY files_status_idx ON session_files.files (session_id, (ingestion_status IS NULL));
SELECT * FROM uses WHERE outcome <> 'ok' ORDER BY field COLLATE "C", status COLLATE "C" NULLS FIRST;
SELECT invariant, broken, example FROM session_files.check() WHERE broken > 0;
DROP INDEX session_files.files_status_idx;
SELECT definition FROM indexes WHERE name = 'files_status_idx' \gexec
SELECT * FROM uses WHERE outcome <> 'ok' ORDER BY field COLLATE "C", status COLLATE "C" NULLS FIRST;
SELECT invariant, broken, example FROM session_files.check() WHERE broken > 0;

-- Indexes of constraints, marked as not valid: also that of grants, for a role to which they apply.
CREATE ROLE regress_lister;
GRANT INSERT ON outcomes TO regress_lister;
TRUNCATE outcomes;
DO $$
DECLARE
	name text;
BEGIN
	FOREACH name IN ARRAY '{files_pkey,upload_sessions_pkey,file_counts_pkey,workspace_grants_key}'::text[] LOOP
		UPDATE pg_index SET indisvalid = false WHERE indexrelid = ('session_files.' || name)::regclass;
		-- A grant that was not looked up yet.
		PERFORM session_files.grant_workspace('regress_lister', 'w');
		SET LOCAL ROLE regress_lister;
		INSERT INTO outcomes SELECT name, 'as lister', NULL,
			outcome('SELECT session_files.get_session_files(''w'', ''00000000-0000-7000-8000-000000000001'')');
		RESET ROLE;
		PERFORM session_files.revoke_workspace('regress_lister', 'w');
		INSERT INTO outcomes SELECT name, 'name', NULL,
			outcome('SELECT session_files.get_session_files(''w'', ''00000000-0000-7000-8000-000000000001'', field => ''name'')');
		UPDATE pg_index SET indisvalid = true WHERE indexrelid = ('session_files.' || name)::regclass;
	END LOOP;
END $$;
SELECT missing, field, outcome FROM outcomes ORDER BY missing COLLATE "C", field COLLATE "C";
SELECT * FROM uses WHERE outcome <> 'ok' ORDER BY field COLLATE "C", status COLLATE "C" NULLS FIRST;

DROP OWNED BY regress_lister;
DROP ROLE regress_lister;
DROP VIEW uses;
DROP TABLE indexes, outcomes;
DROP FUNCTION outcome;
DELETE FROM session_files.upload_sessions;
DELETE FROM session_files.workspaces;
