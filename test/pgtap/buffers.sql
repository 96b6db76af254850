-- A listing touches the page's entries and the counters, however many files the session has: counted in
-- buffers, which do not depend on the machine.
BEGIN;
CREATE EXTENSION IF NOT EXISTS pgtap;
SELECT no_plan();

INSERT INTO session_files.workspaces VALUES ('buffers');
CREATE TEMP TABLE sizes (session_id uuid DEFAULT session_files.uuid7(), files int);
INSERT INTO sizes (files) VALUES (100), (10000);
INSERT INTO session_files.upload_sessions (session_id, workspace_name) SELECT session_id, 'buffers' FROM sizes;
-- One in a hundred failed, the rest half finished; written in the order of ids, as registration does.
INSERT INTO session_files.files (session_id, ingestion_status, ingestion_status_reason, name)
	SELECT session_id,
		CASE WHEN n % 100 = 0 THEN 'FAILED' WHEN n % 2 = 0 THEN 'FINISHED' ELSE 'PENDING' END::session_files.ingestion_status,
		CASE WHEN n % 100 = 0 THEN 'EMPTY_FILE' END::session_files.ingestion_status_reason,
		'file ' || n
	FROM sizes, LATERAL generate_series(1, files) n ORDER BY session_id, n;

CREATE FUNCTION pg_temp.buffers(session_id uuid, status text, after uuid, field text, direction text, page_number bigint) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	plan json;
BEGIN
	-- The first call fills the catalog caches; the second is counted.
	FOR i IN 1..2 LOOP
		EXECUTE format('EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON)
			SELECT session_files.get_session_files(''buffers'', %L, %L, 10, NULL, %L, %L, %L, %L)',
			session_id, status, after, page_number, field, direction) INTO plan;
	END LOOP;
	RETURN (plan -> 0 -> 'Plan' ->> 'Shared Hit Blocks')::int + (plan -> 0 -> 'Plan' ->> 'Shared Read Blocks')::int;
END $$;

CREATE TEMP TABLE measured AS
	SELECT files, field, direction, status, cursor_name, pg_temp.buffers(session_id, status, cursor_id, field, direction, NULL) AS buffers
	FROM sizes, unnest(ARRAY['created_at', 'ingestion_status', 'ingestion_status_reason', 'name']) AS field,
		unnest(ARRAY['ASC', 'DESC']) AS direction, unnest(ARRAY[NULL, 'FAILED', 'FINISHED', 'PENDING']) AS status,
		LATERAL (VALUES ('none', NULL::uuid),
			('middle', (SELECT file_ingestion_id FROM session_files.files f WHERE f.session_id = sizes.session_id AND f.name = 'file ' || files / 2)),
			('middle pending', (SELECT file_ingestion_id FROM session_files.files f WHERE f.session_id = sizes.session_id AND f.name = 'file ' || files / 2 + 1))
		) AS cursors (cursor_name, cursor_id);

SELECT is(count(*), 192::bigint, 'every sort, order, filter and cursor was measured') FROM measured;
SELECT cmp_ok(pg_relation_size('session_files.files') / current_setting('block_size')::int, '>', 80::bigint, 'the table has many pages');
SELECT cmp_ok(max(buffers), '<=', 32, format('%s sorted by %s %s, filter %s, after %s: at most 32 buffers',
		files, field, direction, coalesce(status, 'none'), cursor_name))
	FROM measured GROUP BY files, field, direction, status, cursor_name;
-- Three more levels of three indexes are 9; heap pages that rows share in a small session, 10.
SELECT cmp_ok(large.buffers - small.buffers, '<=', 20, format('by %s %s, filter %s, after %s: a session a hundred times as large takes at most 20 buffers more',
		field, direction, coalesce(status, 'none'), cursor_name))
	FROM measured large JOIN measured small USING (field, direction, status, cursor_name)
	WHERE large.files = 10000 AND small.files = 100;
SELECT cmp_ok(pg_temp.buffers(session_id, NULL, NULL, 'created_at', 'ASC', 1000), '<=', 32, 'the last page is read from the end')
	FROM sizes WHERE files = 10000;

-- Names that share more than a page could hold are found as others are.
INSERT INTO session_files.upload_sessions (session_id, workspace_name) VALUES ('00000000-0000-7000-8000-00000000000b', 'buffers');
INSERT INTO session_files.files (session_id, name) SELECT '00000000-0000-7000-8000-00000000000b', repeat('x', 2000) || n FROM generate_series(1, 5000) n;
SELECT cmp_ok(pg_temp.buffers('00000000-0000-7000-8000-00000000000b', status, cursor_id, 'name', direction, NULL), '<=', 50,
		format('of 5,000 names that begin with the same 2,000 characters, by name %s, filter %s, after %s: at most 50 buffers', direction, coalesce(status, 'none'), cursor_name))
	FROM unnest(ARRAY['ASC', 'DESC']) AS direction, unnest(ARRAY[NULL, 'FAILED']) AS status,
		LATERAL (VALUES ('none', NULL::uuid), ('middle', (SELECT file_ingestion_id FROM session_files.files WHERE name = repeat('x', 2000) || 2500))) AS cursors (cursor_name, cursor_id);

-- Statements that change files go by TID, too, although the statistics, of another time, know nothing of the sessions.
CREATE FUNCTION pg_temp.buffers(query text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	plan json;
BEGIN
	EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ' || query INTO plan;
	RETURN (plan -> 0 -> 'Plan' ->> 'Shared Hit Blocks')::int + (plan -> 0 -> 'Plan' ->> 'Shared Read Blocks')::int;
END $$;
-- Ten of each kind, in one call that warms up and one that counts.
CREATE TEMP TABLE written AS
	SELECT files,
		ARRAY(SELECT pg_temp.buffers(format($$SELECT * FROM session_files.finish_files(%L, ARRAY(SELECT file_ingestion_id FROM session_files.files
			WHERE session_id = %1$L AND ingestion_status = 'PENDING' ORDER BY file_ingestion_id LIMIT 10))$$, session_id)) FROM generate_series(1, 2)) AS finished,
		ARRAY(SELECT pg_temp.buffers(format($$SELECT * FROM session_files.finish_files(%L, ARRAY(SELECT file_ingestion_id FROM session_files.files
			WHERE session_id = %1$L AND ingestion_status = 'FINISHED' ORDER BY file_ingestion_id LIMIT 10))$$, session_id)) FROM generate_series(1, 2)) AS finished_before,
		ARRAY(SELECT pg_temp.buffers(format('SELECT * FROM session_files.register_files(%L, ARRAY(SELECT %L || i FROM generate_series(1, 10) i))',
			session_id, 'new ' || n || ' ')) FROM generate_series(1, 2) n) AS registered,
		ARRAY(SELECT pg_temp.buffers(format($$SELECT * FROM session_files.register_files(%L, ARRAY(SELECT 'file ' || i FROM generate_series(1, 10) i))$$,
			session_id)) FROM generate_series(1, 2)) AS registered_before
	FROM sizes;
SELECT cmp_ok(finished[2], '<=', 400, 'ten files finished: at most 400 buffers, of ' || files) FROM written;
SELECT cmp_ok(finished_before[2], '<=', 300, 'ten files that were finished before: at most 300 buffers, of ' || files) FROM written;
SELECT cmp_ok(registered[2], '<=', 300, 'ten files registered: at most 300 buffers, of ' || files) FROM written;
SELECT cmp_ok(registered_before[2], '<=', 250, 'ten files that were registered before: at most 250 buffers, of ' || files) FROM written;
SELECT diag(written::text) FROM written;

-- A claim reads the same, however many files are waiting, claimed or finished, here or elsewhere.
CREATE TEMP TABLE claimed AS
	SELECT files,
		(SELECT count(*) FROM session_files.claim_files('before', files / 4, session_id => session_id)) AS claimed_before,
		ARRAY(SELECT pg_temp.buffers(format($$SELECT * FROM session_files.claim_files('w', 10, session_id => %L)$$, session_id))
			FROM generate_series(1, 3)) AS of_a_session,
		ARRAY(SELECT pg_temp.buffers($$SELECT * FROM session_files.claim_files('w', 1, workspace_name => 'buffers')$$) FROM generate_series(1, 3)) AS of_any
	FROM sizes;
SELECT cmp_ok(claimed_before, '>', files / 5::bigint, 'there are files that are claimed, of ' || files) FROM claimed;
SELECT cmp_ok(of_a_session[3], '<=', 80, 'ten files claimed: at most 80 buffers, of ' || files) FROM claimed;
SELECT cmp_ok(of_any[3], '<=', 80, 'a file of any session claimed: at most 80 buffers, after ' || files) FROM claimed;
SELECT diag(claimed::text) FROM claimed;

-- A query of leases reads those, however much is waiting; with what ANALYZE leaves to the planner.
CREATE TEMP TABLE watched AS SELECT n, 0 AS buffers FROM generate_series(1, 2) n;
UPDATE watched SET buffers = pg_temp.buffers('SELECT * FROM session_files.leases') WHERE n = 1;
INSERT INTO session_files.file_queue (session_id, due_at, file_ingestion_ids, generation)
	SELECT session_id, now(), ARRAY[session_files.uuid7()], 0 FROM sizes, generate_series(1, 10000);
ANALYZE session_files.file_queue;
UPDATE watched SET buffers = pg_temp.buffers('SELECT * FROM session_files.leases') WHERE n = 2;
SELECT cmp_ok(max(buffers) FILTER (WHERE n = 2), '<=', max(buffers) FILTER (WHERE n = 1) + 20, 'leases are found among 20,000 rows that wait') FROM watched;
SELECT diag(array_agg(buffers)::text) FROM watched;

SELECT diag('buffers: ' || min(buffers) || ' to ' || max(buffers)) FROM measured;

SELECT * FROM finish();
ROLLBACK;
