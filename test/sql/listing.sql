-- get_session_files: sorts, filters, cursors, pages and errors of the typed function. The bodies of all
-- combinations are compared with a model in test/model.
\set VERBOSITY default
\set SHOW_CONTEXT never
\pset format unaligned
\pset tuples_only on
INSERT INTO session_files.workspaces VALUES ('listing'), ('other');
INSERT INTO session_files.upload_sessions (session_id, workspace_name) VALUES
	('00000000-0000-7000-8000-000000000001', 'listing'), ('00000000-0000-7000-8000-000000000002', 'listing'),
	('00000000-0000-7000-8000-000000000003', 'other');
\set s '\'00000000-0000-7000-8000-000000000001\''
\set empty '\'00000000-0000-7000-8000-000000000002\''
INSERT INTO session_files.files (session_id, file_ingestion_id, ingestion_status, ingestion_status_reason, name)
	SELECT :s, ('00000000-0000-7000-8000-0000000000' || lpad(n::text, 2, '0'))::uuid,
		(ARRAY['PENDING', 'FINISHED', 'FAILED'])[1 + n % 3]::session_files.ingestion_status,
		CASE WHEN n % 3 = 2 THEN (ARRAY['UNKNOWN_ERROR', 'EMPTY_FILE', 'SLOWDOWN'])[1 + n / 3 % 3]::session_files.ingestion_status_reason END,
		(ARRAY['b', 'a', 'ä', 'Z', 'z"\', 'é'])[1 + n % 6] || n
	FROM generate_series(1, 12) n;
INSERT INTO session_files.files (session_id, file_ingestion_id, name)
	VALUES ('00000000-0000-7000-8000-000000000003', '00000000-0000-7000-8000-000000000099', 'elsewhere');
CREATE FUNCTION pg_temp.id(n int) RETURNS uuid RETURN ('00000000-0000-7000-8000-0000000000' || lpad(n::text, 2, '0'))::uuid;
-- The listing in short: the number of each file, then has_more and total.
CREATE FUNCTION pg_temp.short(listing json) RETURNS text RETURN (
	SELECT coalesce(string_agg(right(e ->> 'file_ingestion_id', 2), ' ' ORDER BY n), '(none)') || ' | '
		|| CASE WHEN (listing ->> 'has_more')::boolean THEN 'more' ELSE 'end' END || ' | ' || (listing ->> 'total')
	FROM json_array_elements(listing -> 'data') WITH ORDINALITY AS items (e, n));

SELECT session_files.get_session_files('listing', :s, "limit" => 3);
SELECT session_files.get_session_files('listing', :empty);
SELECT field || ' ' || direction || ' ' || coalesce(status, 'ALL') || ': '
	|| pg_temp.short(session_files.get_session_files('listing', :s, status, 7, field => field, "order" => direction))
	FROM unnest(ARRAY['created_at', 'ingestion_status', 'ingestion_status_reason', 'name']) WITH ORDINALITY AS f (field, i),
		unnest(ARRAY['ASC', 'DESC']) WITH ORDINALITY AS o (direction, j),
		unnest(ARRAY[NULL, 'FAILED', 'FINISHED', 'PENDING']) WITH ORDINALITY AS s (status, k)
	ORDER BY i, j, k;

-- Cursors: after, before, both, both the wrong way round, one that the filter leaves out.
SELECT n, pg_temp.short(session_files.get_session_files('listing', :s, "limit" => 3, after => pg_temp.id(n))),
	pg_temp.short(session_files.get_session_files('listing', :s, "limit" => 3, before => pg_temp.id(n)))
	FROM unnest(ARRAY[12, 11, 9, 2, 1]) n;
SELECT pg_temp.short(session_files.get_session_files('listing', :s, "limit" => 3, after => pg_temp.id(9), before => pg_temp.id(5)));
SELECT pg_temp.short(session_files.get_session_files('listing', :s, "limit" => 2, after => pg_temp.id(9), before => pg_temp.id(5)));
SELECT pg_temp.short(session_files.get_session_files('listing', :s, after => pg_temp.id(5), before => pg_temp.id(9)));
SELECT pg_temp.short(session_files.get_session_files('listing', :s, after => pg_temp.id(5), before => pg_temp.id(5)));
SELECT pg_temp.short(session_files.get_session_files('listing', :s, 'FAILED', "limit" => 1, after => pg_temp.id(9)));
SELECT pg_temp.short(session_files.get_session_files('listing', :s, 'FAILED', after => pg_temp.id(9), field => 'ingestion_status', "order" => 'ASC'));
SELECT pg_temp.short(session_files.get_session_files('listing', :s, 'FAILED', before => pg_temp.id(9), field => 'ingestion_status', "order" => 'ASC'));

-- Pages, from both ends, past the end, and of no size.
SELECT n, pg_temp.short(session_files.get_session_files('listing', :s, "limit" => 5, page_number => n))
	FROM unnest(ARRAY[1, 2, 3, 4, 9223372036854775807]) n;
SELECT n, pg_temp.short(session_files.get_session_files('listing', :s, 'FAILED', "limit" => 2, page_number => n)) FROM generate_series(1, 3) n;
SELECT pg_temp.short(session_files.get_session_files('listing', :s, "limit" => 0)),
	pg_temp.short(session_files.get_session_files('listing', :s, "limit" => 0, page_number => 5)),
	pg_temp.short(session_files.get_session_files('listing', :empty, "limit" => 0)),
	pg_temp.short(session_files.get_session_files('listing', :s, "limit" => 0, after => pg_temp.id(2))),
	pg_temp.short(session_files.get_session_files('listing', :s, "limit" => 0, after => pg_temp.id(1)));

-- An empty text means "not given", as over HTTP.
SELECT pg_temp.short(session_files.get_session_files('listing', :s, '', field => '', "order" => ''));

-- What cannot be answered.
SELECT session_files.get_session_files('listing', :s, 'pending', 101, page_number => 0, field => 'Name', "order" => 'asc');
SELECT session_files.get_session_files('listing', :s, "limit" => -1);
SELECT session_files.get_session_files('listing', :s, before => pg_temp.id(1), after => pg_temp.id(2), page_number => 1);
SELECT session_files.get_session_files('listing', :s, before => pg_temp.id(99), after => pg_temp.id(13));
SELECT session_files.get_session_files('listing', '00000000-0000-7000-8000-000000000003');
SELECT session_files.get_session_files('nowhere', :s);
SELECT session_files.get_session_files(NULL, :s);
SELECT session_files.get_session_files('listing', NULL);

-- Page and total come from one snapshot: the transaction's own, and in a cursor that of its start.
BEGIN;
DECLARE before_change CURSOR FOR SELECT pg_temp.short(session_files.get_session_files('listing', :s, 'PENDING')) FROM generate_series(1, 2);
DELETE FROM session_files.files WHERE file_ingestion_id = pg_temp.id(12);
SELECT pg_temp.short(session_files.get_session_files('listing', :s, 'PENDING'));
FETCH ALL FROM before_change;
ROLLBACK;

-- A role needs a grant and no right on the tables; without a grant there is no session. More is in grants.sql.
CREATE ROLE regress_reader;
SET ROLE regress_reader;
SELECT session_files.get_session_files('listing', '00000000-0000-7000-8000-000000000001');
SELECT (session_files.handle_request('GET', '/api/v1/workspaces/listing/upload_sessions/00000000-0000-7000-8000-000000000001/files')).*;
SELECT (session_files.handle_request('GET', '/api/v1/workspaces/listing/upload_sessions/00000000-0000-7000-8000-00000000000f/files')).*;
RESET ROLE;
SELECT session_files.grant_workspace('regress_reader', 'listing');
SET ROLE regress_reader;
SELECT session_files.get_session_files('listing', '00000000-0000-7000-8000-000000000001', "limit" => 1);
RESET ROLE;
DELETE FROM session_files.workspace_grants;
DROP ROLE regress_reader;
DELETE FROM session_files.upload_sessions;
DELETE FROM session_files.workspaces;
