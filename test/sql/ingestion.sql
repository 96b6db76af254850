-- The functions that fill a session: good and bad arguments.
\set VERBOSITY terse
\set SHOW_CONTEXT never
SELECT session_files.create_workspace('ingestion');
SELECT session_files.create_workspace('ingestion');
SELECT session_files.create_workspace(NULL);
SELECT session_files.create_workspace('');
SELECT session_files.create_workspace(repeat('x', 601));

SELECT session_files.create_session('nowhere');
SELECT session_files.create_session(NULL);
SELECT session_files.create_session('ingestion', NULL);
SELECT session_files.create_session('ingestion', 'REPLACE');
SELECT session_files.create_session('ingestion', expires_in => '0 seconds');
SELECT session_files.create_session('ingestion', expires_in => '-1 day');
SELECT session_files.create_session('ingestion', expires_in => '1001 years');
SELECT session_files.create_session('ingestion', 'OVERWRITE', '1 hour') AS s \gset
SELECT status, write_mode, expires_at - created_at AS lasts FROM session_files.upload_sessions WHERE session_id = :'s';

-- register_files: one row per name, in their order; the same name twice has the same id.
CREATE TEMP TABLE first_call AS
	SELECT row_number() OVER () AS n, * FROM session_files.register_files(:'s', ARRAY['c', 'a', 'b', 'a', repeat('ü', 801)]);
SELECT n, left(name, 3), ingestion_status, file_ingestion_id = (SELECT f.file_ingestion_id FROM session_files.files f WHERE f.name = c.name) AS right_id
	FROM first_call c ORDER BY n;
SELECT left(r.name, 3), r.ingestion_status, r.file_ingestion_id = c.file_ingestion_id AS same_id
	FROM session_files.register_files(:'s', ARRAY['b', 'd', repeat('ü', 801)]) r LEFT JOIN first_call c ON c.name = r.name AND c.n <> 4;
SELECT string_agg(left(name, 3), ' ' ORDER BY file_ingestion_id) AS in_order_of_creation FROM session_files.files WHERE session_id = :'s';
SELECT * FROM session_files.register_files(:'s', '{}');
SELECT * FROM session_files.register_files(:'s', NULL);
SELECT * FROM session_files.register_files(NULL, '{a}');
SELECT * FROM session_files.register_files(:'s', ARRAY['e', NULL]);
SELECT * FROM session_files.register_files(:'s', ARRAY['e', '']);
SELECT * FROM session_files.register_files(:'s', ARRAY[['e'], ['f']]);
SELECT * FROM session_files.register_files('00000000-0000-7000-8000-00000000000f', '{e}');
SELECT count(*) AS none_of_the_refused FROM session_files.files WHERE name IN ('e', 'f');

-- finish_files and fail_files: only PENDING files change, and each file is answered for.
SELECT file_ingestion_id AS a FROM session_files.files WHERE name = 'a' \gset
SELECT file_ingestion_id AS b FROM session_files.files WHERE name = 'b' \gset
SELECT file_ingestion_id AS c FROM session_files.files WHERE name = 'c' \gset
SELECT file_ingestion_id AS long FROM session_files.files WHERE length(name) = 801 \gset
CREATE FUNCTION pg_temp.name_of(id uuid) RETURNS text RETURN (SELECT left(name, 3) FROM session_files.files WHERE file_ingestion_id = id);
SELECT pg_temp.name_of(file_ingestion_id), ingestion_status, ingestion_status_reason, changed
	FROM session_files.finish_files(:'s', ARRAY[:'a', :'a', :'c', :'long']::uuid[]);
SELECT pg_temp.name_of(file_ingestion_id), ingestion_status, ingestion_status_reason, changed
	FROM session_files.fail_files(:'s', ARRAY[:'b', :'a']::uuid[], 'SLOWDOWN');
SELECT pg_temp.name_of(file_ingestion_id), ingestion_status, ingestion_status_reason, changed
	FROM session_files.fail_files(:'s', ARRAY[:'b']::uuid[], 'EMPTY_FILE');
SELECT * FROM session_files.finish_files(:'s', '{}');
SELECT * FROM session_files.finish_files(:'s', NULL);
SELECT * FROM session_files.finish_files(NULL, ARRAY[:'a']::uuid[]);
SELECT * FROM session_files.finish_files(:'s', ARRAY[:'a', NULL]::uuid[]);
SELECT * FROM session_files.fail_files(:'s', ARRAY[:'a']::uuid[], NULL);
SELECT * FROM session_files.fail_files(:'s', ARRAY[:'a']::uuid[], 'NO_REASON');
SELECT file_ingestion_id AS d FROM session_files.files WHERE name = 'd' \gset
DO $$ BEGIN
	PERFORM session_files.finish_files(f.session_id, ARRAY[f.file_ingestion_id, '00000000-0000-7000-8000-00000000000f'])
		FROM session_files.files f WHERE f.name = 'd';
EXCEPTION WHEN no_data_found THEN
	RAISE NOTICE 'P0002: %', regexp_replace(SQLERRM, 'session "[0-9a-f-]*"', 'session "ID"');
END $$;
SELECT name, ingestion_status AS still FROM session_files.files WHERE file_ingestion_id = :'d';
SELECT session_files.create_session('ingestion') AS other \gset
DO $$ BEGIN
	PERFORM session_files.finish_files(s.session_id, ARRAY[f.file_ingestion_id])
		FROM session_files.files f, session_files.upload_sessions s WHERE f.name = 'd' AND s.session_id <> f.session_id AND s.workspace_name = 'ingestion';
EXCEPTION WHEN no_data_found THEN
	RAISE NOTICE 'P0002: %', regexp_replace(SQLERRM, '"[0-9a-f-]{36}"', '"ID"', 'g');
END $$;

-- close_session: no more files, but those that are there can be finished.
SELECT session_files.close_session(:'s');
SELECT session_files.close_session(:'s');
SELECT status FROM session_files.upload_sessions WHERE session_id = :'s';
DO $$ BEGIN
	PERFORM session_files.register_files(session_id, '{e}') FROM session_files.upload_sessions WHERE status = 'CLOSED';
EXCEPTION WHEN object_not_in_prerequisite_state THEN
	RAISE NOTICE '55000: %', regexp_replace(SQLERRM, '"[0-9a-f-]{36}"', '"ID"', 'g');
END $$;
SELECT pg_temp.name_of(file_ingestion_id), ingestion_status, changed FROM session_files.finish_files(:'s', ARRAY[:'d']::uuid[]);
SELECT session_files.close_session('00000000-0000-7000-8000-00000000000f');
SELECT session_files.close_session(NULL);
UPDATE session_files.upload_sessions SET status = 'EXPIRED' WHERE session_id = :'other';
SELECT session_files.close_session(:'other');
SELECT status FROM session_files.upload_sessions WHERE session_id = :'other';
DELETE FROM session_files.upload_sessions WHERE workspace_name = 'ingestion';
DELETE FROM session_files.workspaces WHERE name = 'ingestion';
