-- list_session_files and session_counts: the rows and totals of get_session_files, in SQL's types; what they and others say of what is not there.
SET client_min_messages = notice;
\set VERBOSITY default
\set SHOW_CONTEXT never
SELECT session_files.create_workspace('rows');
INSERT INTO session_files.upload_sessions (session_id, workspace_name) VALUES ('00000000-0000-7000-8000-0000000000a1', 'rows'), ('00000000-0000-7000-8000-0000000000a2', 'rows');
INSERT INTO session_files.files (session_id, file_ingestion_id, name)
	SELECT '00000000-0000-7000-8000-0000000000a1', ('01980000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, chr(96 + n) || CASE n WHEN 3 THEN E' "\\\n\u00e4\U0001f600' ELSE '' END
	FROM generate_series(1, 12) n;
\set s '''00000000-0000-7000-8000-0000000000a1'''
SELECT count(*) FROM session_files.finish_files(:s, ARRAY(SELECT file_ingestion_id FROM session_files.files WHERE name IN ('a', 'b')));
SELECT count(*) FROM session_files.fail_files(:s, ARRAY(SELECT file_ingestion_id FROM session_files.files WHERE name IN ('d')), 'EMPTY_FILE');

-- The defaults; a time; an order, a filter, a page, cursors.
SELECT right(file_ingestion_id::text, 2) AS id, ingestion_status, ingestion_status_reason, name, created_at AT TIME ZONE 'UTC' AS created_at
	FROM session_files.list_session_files('rows', :s);
SELECT name FROM session_files.list_session_files('rows', :s, sort => 'name ASC', max_files => 3);
SELECT name FROM session_files.list_session_files('rows', :s, sort => '  name   ASC ', max_files => 3, page_number => 2);
SELECT name FROM session_files.list_session_files('rows', :s, 'FINISHED', 'name');
SELECT name, ingestion_status_reason FROM session_files.list_session_files('rows', :s, sort => 'ingestion_status_reason ASC', max_files => 2);
SELECT name FROM session_files.list_session_files('rows', :s, sort => 'created_at ASC', after => '01980000-0000-7000-8000-000000000004', before => '01980000-0000-7000-8000-000000000007');
SELECT count(*) FROM session_files.list_session_files('rows', :s, max_files => 0);
SELECT count(*) FROM session_files.list_session_files('rows', '00000000-0000-7000-8000-0000000000a2');

-- Every kind of listing has the rows of the JSON, in its order.
SELECT count(*) AS kinds, count(*) FILTER (WHERE listed IS DISTINCT FROM expected) AS different FROM (
	SELECT
		(SELECT json_agg(json_build_object('file_ingestion_id', r.file_ingestion_id, 'ingestion_status', r.ingestion_status,
				'ingestion_status_reason', r.ingestion_status_reason, 'name', r.name) ORDER BY r.n)::jsonb
			FROM session_files.list_session_files('rows', :s, status, field || coalesce(' ' || direction, ''), size, page, NULL, cursor)
				WITH ORDINALITY AS r (file_ingestion_id, ingestion_status, ingestion_status_reason, name, created_at, n)) AS listed,
		nullif((session_files.get_session_files('rows', :s, status, size, NULL, cursor, page, field, direction) -> 'data')::jsonb, '[]') AS expected
	FROM unnest(ARRAY[NULL, 'PENDING', 'FINISHED', 'FAILED']) status, unnest(ARRAY['created_at', 'ingestion_status', 'ingestion_status_reason', 'name']) field,
		unnest(ARRAY[NULL, 'ASC', 'DESC']) direction, unnest(ARRAY[1, 5, 100]) size,
		(VALUES (NULL::bigint, NULL::uuid), (1, NULL), (2, NULL), (NULL, '01980000-0000-7000-8000-000000000003')) AS places (page, cursor)) kinds;

-- Totals.
SELECT * FROM session_files.session_counts(:s);
SELECT * FROM session_files.session_counts('00000000-0000-7000-8000-0000000000a2');
SELECT pg_typeof(pending), pg_typeof(finished), pg_typeof(failed), pg_typeof(total) FROM session_files.session_counts(:s);
SELECT DISTINCT attrelid::regclass AS view, attname, format_type(atttypid, atttypmod) FROM pg_attribute
	WHERE attrelid IN ('session_files.session_progress'::regclass, 'session_files.leases'::regclass, 'session_files.workers'::regclass)
		AND attnum > 0 AND attname IN ('total', 'pending', 'claimed', 'delayed', 'finished', 'failed', 'files', 'overdue_files', 'sessions', 'leases') ORDER BY 1, 2;

-- Errors name the arguments as they are called here.
SELECT * FROM session_files.list_session_files('rows', :s, max_files => 101);
SELECT * FROM session_files.list_session_files('rows', :s, sort => 'size');
SELECT * FROM session_files.list_session_files('rows', :s, sort => 'name up');
SELECT * FROM session_files.list_session_files('rows', :s, sort => 'name ASC, created_at');
SELECT * FROM session_files.list_session_files('rows', :s, 'DONE');
SELECT * FROM session_files.list_session_files('rows', :s, page_number => 1, after => '01980000-0000-7000-8000-000000000004');
SELECT * FROM session_files.list_session_files('rows', :s, before => '01980000-0000-7000-8000-0000000000ff');
SELECT * FROM session_files.list_session_files('rows', NULL);
SELECT * FROM session_files.list_session_files(NULL, :s);
SELECT * FROM session_files.list_session_files('elsewhere', :s);
SELECT * FROM session_files.session_counts(NULL);
SELECT * FROM session_files.session_counts('00000000-0000-7000-8000-0000000000ff');

-- Hints where a name or an id is unknown.
SELECT session_files.create_session('nowhere');
SELECT session_files.grant_workspace('pg_monitor', 'nowhere');
SELECT * FROM session_files.register_files('00000000-0000-7000-8000-0000000000ff', '{a}');
SELECT * FROM session_files.claim_files('w', workspace_name => 'nowhere');
SELECT * FROM session_files.claim_files('w', session_id => '00000000-0000-7000-8000-0000000000ff');
SELECT session_files.close_session(:s);
SELECT * FROM session_files.register_files(:s, '{a}');

-- The status, as HTTP has it.
SELECT regexp_replace(session_files.get_session_status('rows', :s)::text, '"[0-9-]+T[0-9:]+\.[0-9]{6}Z"', '"TIME"') AS status;
SET session_files.documentation_url = 'https://example.org/"how"';
SELECT session_files.get_session_status('rows', :s)::jsonb -> 'documentation_url' AS documentation_url;
RESET session_files.documentation_url;
SELECT session_files.get_session_status('rows', NULL);
SELECT session_files.get_session_status(NULL, :s);
SELECT session_files.get_session_status('elsewhere', :s);

-- A role without a grant is told so, once; it sees nothing, whichever way it asks.
CREATE ROLE regress_rows;
SET ROLE regress_rows;
SELECT * FROM session_files.claim_files('w');
SELECT * FROM session_files.claim_files('w');
SELECT * FROM session_files.session_counts(:s);
SELECT * FROM session_files.list_session_files('rows', :s);
SELECT session_files.get_session_status('rows', :s);
RESET ROLE;
SELECT session_files.grant_workspace('regress_rows', 'rows', 'worker');
SET ROLE regress_rows;
SELECT total FROM session_files.session_counts(:s);
SELECT count(*) FROM session_files.list_session_files('rows', :s);
SELECT count(*) FROM session_files.claim_files('w');
RESET ROLE;
-- A policy of an administrator on files, which a listing cannot apply.
CREATE POLICY other ON session_files.files USING (false);
SET ROLE regress_rows;
SELECT total FROM session_files.session_counts(:s);
SELECT count(*) FROM session_files.list_session_files('rows', :s);
SELECT session_files.get_session_status('rows', :s);
RESET ROLE;
DROP POLICY other ON session_files.files;
-- One that was granted a workspace in which there is nothing to claim is not.
SELECT session_files.create_workspace('rows, empty');
CREATE ROLE regress_rows_empty;
SELECT session_files.grant_workspace('regress_rows_empty', 'rows, empty', 'worker');
SET ROLE regress_rows_empty;
SELECT * FROM session_files.claim_files('w');
RESET ROLE;

DELETE FROM session_files.upload_sessions WHERE workspace_name = 'rows';
DELETE FROM session_files.workspaces WHERE name LIKE 'rows%';
DROP ROLE regress_rows, regress_rows_empty;
