-- To finish, fail, or give up a file costs the same however many are PENDING, with the plans that a backend made when the tables were empty:
-- counted in buffers, which do not depend on the machine.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
SET session_files.notify = off;
SET session_files.max_attempts = 1;
SELECT plan(3);

SELECT session_files.create_workspace('settle');
SELECT session_files.create_session('settle') AS few \gset
SELECT session_files.create_session('settle') AS many \gset
CREATE TEMP TABLE measured (stage text, call text, buffers int);

-- Does a call to files of a session, one after the other; keeps the cheapest, as VACUUM by the server itself can make a plan be made again.
CREATE FUNCTION pg_temp.measure(stage text, call text, session uuid, statement text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	plan json;
	cheapest int;
BEGIN
	FOR i IN 1..7 LOOP
		EXECUTE format('EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT * FROM ' || statement, session,
			(SELECT f.file_ingestion_id FROM session_files.files f WHERE f.session_id = session AND f.ingestion_status = 'PENDING' ORDER BY 1 DESC LIMIT 1))
			INTO plan;
		cheapest := least(cheapest, (plan -> 0 -> 'Plan' ->> 'Shared Hit Blocks')::int + (plan -> 0 -> 'Plan' ->> 'Shared Read Blocks')::int);
	END LOOP;
	INSERT INTO measured VALUES (stage, call, cheapest);
END $$;
-- A claim of a file whose last attempt ended without a report makes it FAILED.
CREATE FUNCTION pg_temp.lose(session uuid) RETURNS void LANGUAGE sql AS $$
	SELECT count(*) FROM session_files.claim_files('w', 1, session_id => session);
	UPDATE session_files.file_queue SET due_at = now() - interval '1 second' WHERE session_id = session AND claimed_at IS NOT NULL $$;
CREATE FUNCTION pg_temp.measure_all(stage text, session uuid) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_temp.measure(stage, 'finish', session, 'session_files.finish_files(%L, ARRAY[%L::uuid])');
	PERFORM pg_temp.measure(stage, 'fail', session, 'session_files.fail_files(%L, ARRAY[%L::uuid], ''EMPTY_FILE'')');
	PERFORM pg_temp.measure(stage, 'give up', session, '(SELECT pg_temp.lose(%1$L)) AS l, session_files.claim_files(''w'', 1, session_id => %1$L)');
END $$;

SELECT count(*) FROM session_files.register_files(:'few', ARRAY(SELECT 'file ' || n FROM generate_series(1, 30) n));
SELECT pg_temp.measure_all('few', :'few');
SELECT count(*) FROM session_files.register_files(:'many', ARRAY(SELECT 'file ' || n FROM generate_series(1, 20000) n));
SELECT pg_temp.measure_all('many', :'many');
SELECT cmp_ok(m.buffers, '<=', f.buffers * 2 + 30, format('to %s: %s buffers, and %s beside 20,000 PENDING files', m.call, f.buffers, m.buffers))
	FROM measured m JOIN measured f USING (call) WHERE m.stage = 'many' AND f.stage = 'few' ORDER BY 1;
SELECT finish();
SELECT session_files.delete_session(session_id) FROM session_files.upload_sessions WHERE workspace_name = 'settle';
DELETE FROM session_files.workspaces WHERE name = 'settle';
