-- A claim reads a handful of pages, whatever else is under lease or waits, here or elsewhere: counted in buffers, which do not depend on the
-- machine. Each step is committed and vacuumed: no transaction can pass over the dead rows of its own.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS pgtap;
SET session_files.notify = off;
SELECT no_plan();

SELECT session_files.create_workspace(name) FROM unnest('{idle,busy}'::text[]) name;
SELECT session_files.create_session('idle') AS idle \gset
CREATE TEMP TABLE measured (stage text, claim text, buffers int);

-- The first claims fill the caches and make plans, and VACUUM by the server itself can make one do that again: the cheapest counts.
CREATE FUNCTION pg_temp.buffers(arguments text, files bigint) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	plan json;
	cheapest int;
BEGIN
	FOR i IN 1..7 LOOP
		EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT * FROM session_files.claim_files(' || arguments || ')' INTO plan;
		cheapest := least(cheapest, (plan -> 0 -> 'Plan' ->> 'Shared Hit Blocks')::int + (plan -> 0 -> 'Plan' ->> 'Shared Read Blocks')::int);
	END LOOP;
	IF (plan -> 0 -> 'Plan' ->> 'Actual Rows')::int <> files THEN
		RAISE '% files were claimed instead of %', plan -> 0 -> 'Plan' ->> 'Actual Rows', files;
	END IF;
	RETURN cheapest;
END $$;
-- Of what has nothing that waits.
CREATE FUNCTION pg_temp.measure(stage text, idle uuid, with_all boolean) RETURNS void LANGUAGE sql AS $$
	INSERT INTO measured
		SELECT stage, claim, pg_temp.buffers(arguments, 0)
		FROM (VALUES ('of a session', format('''w'', session_id => %L', idle), true), ('of a workspace', '''w'', workspace_name => ''idle''', true),
				('of a workspace, all under lease', '''w'', workspace_name => ''busy''', with_all), ('of all', '''w''', with_all)) AS claims (claim, arguments, is_empty)
		WHERE is_empty
$$;

-- Others have left dead rows. The first calls of a backend read catalogs.
VACUUM;
SELECT pg_temp.measure('nothing', :'idle', true);
DELETE FROM measured;
SELECT pg_temp.measure('nothing', :'idle', true);

INSERT INTO session_files.upload_sessions (workspace_name) SELECT 'busy' FROM generate_series(1, 4000);
INSERT INTO session_files.files (session_id, name) SELECT session_id, 'claimed' FROM session_files.upload_sessions WHERE workspace_name = 'busy';
SELECT is(count(*), 4000::bigint, 'there are 4,000 leases, of as many sessions') FROM session_files.claim_files('holder', 10000, '1 day');
VACUUM ANALYZE;
SELECT pg_temp.measure('4,000 sessions under lease', :'idle', true);

INSERT INTO session_files.files (session_id, name) SELECT session_id, 'waits' FROM session_files.upload_sessions WHERE workspace_name = 'busy';
VACUUM ANALYZE;
SELECT pg_temp.measure('4,000 sessions with files that wait, too', :'idle', false);
SELECT count(*) FROM session_files.register_files(:'idle', ARRAY(SELECT 'file ' || n FROM generate_series(1, 20) n));
INSERT INTO measured VALUES ('4,000 sessions with files that wait, too', 'of a workspace, of one file', pg_temp.buffers('''w'', 1, workspace_name => ''idle''', 1));
DELETE FROM session_files.files WHERE session_id = :'idle';

SELECT count(*) FROM session_files.claim_files('holder', 10000, '1 day');
SELECT count(*) FROM session_files.leases l, LATERAL session_files.finish_files(l.session_id,
	ARRAY(SELECT f.file_ingestion_id FROM session_files.files f WHERE f.session_id = l.session_id AND f.ingestion_status = 'PENDING'), l.lease_token);
SELECT is(count(*), 0::bigint, 'all is finished') FROM session_files.files WHERE ingestion_status = 'PENDING';
VACUUM ANALYZE;
SELECT pg_temp.measure('4,000 sessions finished', :'idle', true);

SELECT is(count(*), 15::bigint, 'each claim was measured') FROM measured;
SELECT cmp_ok(buffers, '<=', CASE claim WHEN 'of a workspace, of one file' THEN 80 ELSE 20 END, format('a claim %s, beside %s: at most so many buffers', claim, stage)) FROM measured;
SELECT cmp_ok(m.buffers - alone.buffers, '<=', 8, format('an empty claim %s, beside %s: hardly more than beside nothing', m.claim, m.stage))
	FROM measured m JOIN measured alone USING (claim) WHERE alone.stage = 'nothing' AND m.stage <> 'nothing';
SELECT diag(format('%s, beside %s: %s buffers', claim, stage, buffers)) FROM measured;

SELECT * FROM finish();
DELETE FROM session_files.upload_sessions WHERE workspace_name IN ('idle', 'busy');
DELETE FROM session_files.workspaces WHERE name IN ('idle', 'busy');
