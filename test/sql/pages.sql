-- Every page of a session that fills many pages of its indexes, and one whose rows have many versions,
-- against the same in SQL.
\set VERBOSITY terse
\pset format unaligned
\pset tuples_only on
INSERT INTO session_files.workspaces VALUES ('pages');
INSERT INTO session_files.upload_sessions (session_id, workspace_name) VALUES
	('00000000-0000-7000-8000-000000000001', 'pages'), ('00000000-0000-7000-8000-000000000002', 'pages'),
	('00000000-0000-7000-8000-000000000003', 'pages');
-- The second is listed; the others are its neighbours in the indexes.
INSERT INTO session_files.files (session_id, ingestion_status, ingestion_status_reason, name)
	SELECT session_id,
		CASE WHEN n % 7 = 0 THEN 'FAILED' WHEN n % 3 = 0 THEN 'PENDING' ELSE 'FINISHED' END::session_files.ingestion_status,
		CASE WHEN n % 7 = 0 THEN (enum_range(NULL::session_files.ingestion_status_reason))[1 + n % 8] END,
		md5(n::text)
	FROM session_files.upload_sessions, generate_series(1, 1500) n WHERE workspace_name = 'pages' ORDER BY n, session_id;

-- Walks from one end to the other, page by page, and returns how often a page is not what SQL says.
CREATE FUNCTION pg_temp.wrong_pages(field text, direction text, status text, size int, backward bool) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	session uuid := '00000000-0000-7000-8000-000000000002';
	ids uuid[];
	page json;
	page_ids uuid[];
	expected uuid[];
	expects_more bool;
	cursor_id uuid;
	place int;
	wrong int := 0;
	pages int := 0;
BEGIN
	EXECUTE format('SELECT coalesce(array_agg(file_ingestion_id ORDER BY %s), ''{}'') FROM session_files.files
			WHERE session_id = $1 AND ($2 IS NULL OR ingestion_status::text = $2)',
		CASE WHEN direction = 'ASC' THEN format('%I, file_ingestion_id', replace(field, 'created_at', 'file_ingestion_id'))
			ELSE format('%I DESC, file_ingestion_id DESC', replace(field, 'created_at', 'file_ingestion_id')) END)
		INTO ids USING session, status;
	place := CASE WHEN backward THEN cardinality(ids) ELSE 1 END;
	cursor_id := ids[place];
	LOOP
		page := session_files.get_session_files('pages', session, status, size, CASE WHEN backward THEN cursor_id END,
			CASE WHEN NOT backward THEN cursor_id END, NULL, field, direction);
		page_ids := ARRAY(SELECT (entry ->> 'file_ingestion_id')::uuid FROM json_array_elements(page -> 'data') entry);
		pages := pages + 1;
		expected := CASE WHEN backward THEN ids[greatest(place - size, 1):place - 1] ELSE ids[place + 1:place + size] END;
		expects_more := CASE WHEN backward THEN place - size > 1 ELSE place + size < cardinality(ids) END;
		IF page_ids <> expected OR (page ->> 'has_more')::bool <> expects_more OR (page ->> 'total')::int <> cardinality(ids) THEN
			wrong := wrong + 1;
		END IF;
		EXIT WHEN NOT (page ->> 'has_more')::bool OR pages > 2000;
		place := CASE WHEN backward THEN place - size ELSE place + size END;
		cursor_id := CASE WHEN backward THEN page_ids[1] ELSE page_ids[size] END;
	END LOOP;
	RETURN format('%s pages, %s wrong', pages, wrong);
END $$;
CREATE FUNCTION pg_temp.wrong_pages(size int) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT concat_ws(' ', field, coalesce(status, 'ALL')) || ': '
		|| string_agg(DISTINCT pg_temp.wrong_pages(field, direction, status, size, backward), '; ')
	FROM unnest(ARRAY['created_at', 'ingestion_status', 'ingestion_status_reason', 'name']) field,
		unnest(ARRAY['ASC', 'DESC']) direction, unnest(ARRAY[NULL, 'FAILED', 'FINISHED', 'PENDING']) status,
		unnest(ARRAY[true, false]) backward
	GROUP BY field, status ORDER BY field, status NULLS FIRST
$$;
SELECT pg_temp.wrong_pages(7);
SELECT pg_temp.wrong_pages(100);

-- Old versions, which this very transaction keeps from being removed: more of them than there is room for.
BEGIN;
DO $$ BEGIN
	FOR i IN 1..9 LOOP
		UPDATE session_files.files SET ingestion_status = CASE ingestion_status WHEN 'PENDING' THEN 'FINISHED' ELSE 'PENDING' END::session_files.ingestion_status
			WHERE session_id = '00000000-0000-7000-8000-000000000002' AND ingestion_status <> 'FAILED';
		UPDATE session_files.files SET ingestion_status_reason = (enum_range(NULL::session_files.ingestion_status_reason))[1 + i % 8]
			WHERE session_id = '00000000-0000-7000-8000-000000000002' AND ingestion_status = 'FAILED';
	END LOOP;
	DELETE FROM session_files.files WHERE session_id = '00000000-0000-7000-8000-000000000002' AND substr(name, 1, 1) BETWEEN '4' AND 'b';
END $$;
SELECT pg_temp.wrong_pages(10);
ROLLBACK;
SELECT pg_temp.wrong_pages(10);

DELETE FROM session_files.upload_sessions WHERE workspace_name = 'pages';
DELETE FROM session_files.workspaces WHERE name = 'pages';
