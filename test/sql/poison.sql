-- A file that kills its worker is alone in its fate. Files of a lease that its worker did not end come back in companies of at most half the
-- size, down to one file. An attempt counts if the file was alone, or if the worker reported the failure. So the killer is FAILED in the
-- end, and no other file.
\set VERBOSITY terse
\set SHOW_CONTEXT never
SET session_files.max_attempts = 2;
SELECT session_files.create_workspace('poison');
CREATE TABLE poison_claims (number integer GENERATED ALWAYS AS IDENTITY, files integer, attempt integer, killers integer);

-- Has workers claim until no file of the session is PENDING. One that claimed a killer dies with all that it has left: its lease runs out.
-- A careful worker has by then finished, one by one, the files before the first killer. The others finish their files in one call.
CREATE PROCEDURE pg_temp.work(session uuid, max_files integer, careful boolean DEFAULT false) LANGUAGE plpgsql AS $$
DECLARE
	claimed record;
	id uuid;
BEGIN
	TRUNCATE poison_claims RESTART IDENTITY;
	FOR turn IN 1..10000 LOOP
		EXIT WHEN (SELECT c.pending FROM session_files.session_counts(session) c) = 0;
		SELECT array_agg(c.file_ingestion_id ORDER BY c.file_ingestion_id) AS ids, (array_agg(c.lease_token))[1] AS token, count(*) AS files,
				max(c.attempt) AS attempt, count(*) FILTER (WHERE c.name LIKE 'killer%') AS killers,
				min(c.file_ingestion_id::text) FILTER (WHERE c.name LIKE 'killer%')::uuid AS first_killer
			INTO claimed FROM session_files.claim_files('worker ' || turn, max_files, '1 microsecond', session_id => session) c;
		COMMIT;
		CONTINUE WHEN claimed.files = 0;
		INSERT INTO poison_claims (files, attempt, killers) VALUES (claimed.files, claimed.attempt, claimed.killers);
		IF claimed.killers = 0 THEN
			PERFORM count(*) FROM session_files.finish_files(session, claimed.ids, claimed.token);
		ELSIF careful THEN
			FOREACH id IN ARRAY claimed.ids LOOP
				EXIT WHEN id = claimed.first_killer;
				PERFORM count(*) FROM session_files.finish_files(session, ARRAY[id], claimed.token);
			END LOOP;
		END IF;
		COMMIT;
	END LOOP;
END $$;
CREATE VIEW pg_temp.fates AS
	SELECT session_id, CASE WHEN name LIKE 'killer%' THEN 'killer' ELSE 'good' END AS file, ingestion_status AS status, ingestion_status_reason AS reason, count(*)
	FROM session_files.files GROUP BY 1, 2, 3, 4;
-- Each claim that a killer ends, beside the one before it.
CREATE VIEW pg_temp.lost AS
	SELECT number, files, attempt, files = 1 OR files * 2 <= lag(files, 1, 2 * files) OVER (ORDER BY number) + 1 AS half
	FROM poison_claims WHERE killers > 0;

-- One of 400, in one claim. In company its attempts do not count; alone they do.
SELECT session_files.create_session('poison') AS s \gset
SELECT count(*) FROM session_files.register_files(:'s', ARRAY(SELECT CASE n WHEN 200 THEN 'killer' ELSE 'good ' || n END FROM generate_series(1, 400) n));
CALL pg_temp.work(:'s', 400);
SELECT file, status, reason, count FROM pg_temp.fates WHERE session_id = :'s' ORDER BY 1;
SELECT bool_and(half) AS halved, bool_and(attempt = 1) FILTER (WHERE files > 1) AS first_attempt_in_company,
	array_agg(attempt ORDER BY number) FILTER (WHERE files = 1) AS attempts_alone FROM pg_temp.lost;
SELECT max(files) FILTER (WHERE number = 1) AS first, max(attempt) FILTER (WHERE killers = 0) AS attempt_of_good, count(*) <= 50 AS few_claims FROM poison_claims;

-- In claims of 100, of which three are never lost.
SELECT session_files.create_session('poison') AS s \gset
SELECT count(*) FROM session_files.register_files(:'s', ARRAY(SELECT CASE n WHEN 250 THEN 'killer' ELSE 'good ' || n END FROM generate_series(1, 400) n));
CALL pg_temp.work(:'s', 100);
SELECT file, status, reason, count FROM pg_temp.fates WHERE session_id = :'s' ORDER BY 1;
SELECT count(*) FILTER (WHERE files = 100) AS of_100, count(*) <= 50 AS few_claims FROM poison_claims;

-- What the worker finished before it died is finished.
SELECT session_files.create_session('poison') AS s \gset
SELECT count(*) FROM session_files.register_files(:'s', ARRAY(SELECT CASE n WHEN 200 THEN 'killer' ELSE 'good ' || n END FROM generate_series(1, 400) n));
CALL pg_temp.work(:'s', 400, careful => true);
SELECT file, status, reason, count FROM pg_temp.fates WHERE session_id = :'s' ORDER BY 1;
SELECT bool_and(half) AS halved FROM pg_temp.lost;
SELECT files <= 200 AS fewer FROM poison_claims WHERE number = 2;

-- Several, next to each other and far apart, the first and the last among them.
SELECT session_files.create_session('poison') AS s \gset
SELECT count(*) FROM session_files.register_files(:'s',
	ARRAY(SELECT CASE WHEN n IN (1, 150, 151, 400) THEN 'killer ' ELSE 'good ' END || n FROM generate_series(1, 400) n));
CALL pg_temp.work(:'s', 400);
SELECT file, status, reason, count FROM pg_temp.fates WHERE session_id = :'s' ORDER BY 1;
SELECT count(*) <= 200 AS few_claims FROM poison_claims;

-- Nothing but killers: each has its attempts alone.
SELECT session_files.create_session('poison') AS s \gset
SELECT count(*) FROM session_files.register_files(:'s', ARRAY(SELECT 'killer ' || n FROM generate_series(1, 5) n));
CALL pg_temp.work(:'s', 400);
SELECT file, status, reason, count FROM pg_temp.fates WHERE session_id = :'s' ORDER BY 1;
SELECT count(*) FILTER (WHERE files = 1) AS alone FROM poison_claims;

-- A lease that was lost by chance: the files have all their attempts.
SELECT session_files.create_session('poison') AS s \gset
SELECT count(*) FROM session_files.register_files(:'s', ARRAY(SELECT 'good ' || n FROM generate_series(1, 8) n));
SELECT count(*) FROM session_files.claim_files('lost', 8, '1 microsecond', session_id => :'s');
CALL pg_temp.work(:'s', 8);
SELECT file, status, reason, count FROM pg_temp.fates WHERE session_id = :'s' ORDER BY 1;
SELECT max(files) <= 4 AS in_smaller_company, max(attempt) AS attempt FROM poison_claims;

-- Files that were released come back in the company that they had. A failure that the worker reports counts for each file, in company too.
SELECT session_files.create_session('poison') AS s \gset
SELECT count(*) FROM session_files.register_files(:'s', ARRAY(SELECT 'good ' || n FROM generate_series(1, 8) n));
SELECT array_agg(file_ingestion_id) AS ids, lease_token AS t FROM session_files.claim_files('w', 8, session_id => :'s') GROUP BY lease_token \gset
SELECT count(*) FILTER (WHERE changed) AS released FROM session_files.release_files(:'s', :'ids', :'t');
SELECT array_agg(file_ingestion_id) AS ids, lease_token AS t, count(*), max(attempt) AS attempt
	FROM session_files.claim_files('w', 8, session_id => :'s') GROUP BY lease_token \gset
SELECT :count AS files, :attempt AS attempt;
SET session_files.retry_delay = '1ms';
SELECT count(retry_at) AS again FROM session_files.fail_files(:'s', :'ids', 'SLOWDOWN', :'t');
DO $$
DECLARE
	claimed record;
	attempts integer := 0;
BEGIN
	-- Many times, as the files are delayed by a millisecond.
	FOR turn IN 1..1000000 LOOP
		FOR claimed IN SELECT c.session_id, c.lease_token, array_agg(c.file_ingestion_id) AS ids, max(c.attempt) AS attempt
				FROM session_files.claim_files('w', 8) c GROUP BY 1, 2 LOOP
			attempts := greatest(attempts, claimed.attempt);
			PERFORM count(*) FROM session_files.fail_files(claimed.session_id, claimed.ids, 'SLOWDOWN', claimed.lease_token);
		END LOOP;
		EXIT WHEN NOT EXISTS (SELECT FROM session_files.files f WHERE f.ingestion_status = 'PENDING');
	END LOOP;
	RAISE NOTICE '% attempts', attempts;
END $$;
SELECT file, status, reason, count FROM pg_temp.fates WHERE session_id = :'s' ORDER BY 1;
SELECT count(*) AS broken FROM session_files.check() WHERE broken > 0;
DROP VIEW pg_temp.lost;
DROP TABLE poison_claims;
DELETE FROM session_files.upload_sessions;
DELETE FROM session_files.workspaces;
