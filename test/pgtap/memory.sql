-- A backend that answers many requests, good and bad, keeps no memory of them.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;

INSERT INTO session_files.workspaces VALUES ('memory');
CREATE ROLE memory_worker;
SELECT session_files.grant_workspace('memory_worker', 'memory', 'worker');
INSERT INTO session_files.upload_sessions (session_id, workspace_name) VALUES ('00000000-0000-7000-8000-00000000000a', 'memory');
INSERT INTO session_files.files (session_id, name) SELECT '00000000-0000-7000-8000-00000000000a', repeat('n', 700) || n FROM generate_series(1, 300) n;

CREATE FUNCTION pg_temp.memory() RETURNS bigint LANGUAGE sql AS 'SELECT sum(used_bytes)::bigint FROM pg_backend_memory_contexts';
CREATE FUNCTION pg_temp.request(n int, kind text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	path constant text := '/api/v1/workspaces/memory/upload_sessions/00000000-0000-7000-8000-00000000000a/files?';
BEGIN
	CASE kind
		WHEN 'page' THEN
			PERFORM session_files.get_session_files('memory', '00000000-0000-7000-8000-00000000000a', "limit" => 100, page_number => 1 + n % 4, field => 'name');
		WHEN 'merged' THEN
			PERFORM session_files.handle_request('GET', path || 'limit=100&field=ingestion_status_reason&page_number=' || 1 + n % 4);
		WHEN 'bad' THEN
			PERFORM session_files.handle_request('GET', path || 'limit=x&before=y&order=%FF&field=' || repeat('z', 1000));
		WHEN 'raised' THEN
			BEGIN
				PERFORM session_files.get_session_files('memory', '00000000-0000-7000-8000-00000000000a', "limit" => 101);
				RAISE 'no error';
			EXCEPTION WHEN invalid_parameter_value THEN
				NULL;
			END;
		WHEN 'write' THEN
			UPDATE session_files.files SET ingestion_status = CASE WHEN n % 2 = 0 THEN 'PENDING' ELSE 'FINISHED' END::session_files.ingestion_status
				WHERE session_id = '00000000-0000-7000-8000-00000000000a' AND name = repeat('n', 700) || 1;
		WHEN 'claim' THEN
			PERFORM session_files.release_files(c.session_id, ARRAY[c.file_ingestion_id], c.lease_token)
				FROM session_files.claim_files('w' || n, 3, session_id => CASE WHEN n % 2 = 0 THEN '00000000-0000-7000-8000-00000000000a'::uuid END) c;
		WHEN 'grants' THEN
			-- Each change makes all look-ups start again.
			PERFORM session_files.grant_workspace('memory_worker', 'memory', 'lister'), session_files.revoke_workspace('memory_worker', 'memory', 'lister');
			PERFORM set_config('role', 'memory_worker', true);
			PERFORM session_files.get_session_files('memory', '00000000-0000-7000-8000-00000000000a', "limit" => 1);
			PERFORM session_files.release_files(c.session_id, ARRAY[c.file_ingestion_id], c.lease_token) FROM session_files.claim_files('w', 1) c;
			BEGIN
				PERFORM session_files.close_session('00000000-0000-7000-8000-00000000000a');
				RAISE 'no error';
			EXCEPTION WHEN insufficient_privilege THEN
				NULL;
			END;
			RESET ROLE;
	END CASE;
END $$;
-- Each kind runs three times, and what the backend holds is noted after each: the first time warms its caches.
CREATE TEMP TABLE held (n int GENERATED ALWAYS AS IDENTITY, kind text, bytes bigint);
\o /dev/null
\set note 'INSERT INTO held (kind, bytes) SELECT :kind, pg_temp.memory();'
\set run 'SELECT pg_temp.request(n, :kind) FROM generate_series(1, 2000) n;' :note
\set kind '\'page\''
:run :run :run
\set kind '\'merged\''
:run :run :run
\set kind '\'bad\''
:run :run :run
\set kind '\'raised\''
:run :run :run
\set kind '\'write\''
:run :run :run
\set kind '\'claim\''
:run :run :run
\set kind '\'grants\''
:run :run :run
\o

SELECT plan(7);
-- The caches may grow by a plan or so, a request not by the smallest chunk.
SELECT cmp_ok(b.bytes - a.bytes, '<', 2000 * 8::bigint, format('2,000 more requests of the kind "%s" left nothing behind', kind))
	FROM held a JOIN held b USING (kind) WHERE a.n % 3 = 2 AND b.n % 3 = 0;
SELECT * FROM finish();
DELETE FROM session_files.upload_sessions;
DELETE FROM session_files.workspaces;
DROP ROLE memory_worker;
