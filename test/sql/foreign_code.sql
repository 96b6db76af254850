-- Policies, triggers and constraints of an administrator run with settings of the planner of their own, or else without JIT: it would take
-- a plan that cannot but read a table, where that is disabled, for one that is worth it.

SET client_min_messages = warning;
SET jit = on;
CREATE TABLE seen (call text, place text, planner text, jit text);
CREATE FUNCTION see(place text) RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
	INSERT INTO seen VALUES (current_setting('regress.call'), place,
		(SELECT string_agg(s.name || ' ' || s.setting, ', ' ORDER BY s.name) FROM pg_settings AS s WHERE s.name LIKE 'enable%' AND s.setting <> s.reset_val),
		current_setting('jit'));
	RETURN true;
END $$;
CREATE FUNCTION see_trigger() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	PERFORM public.see(format('trigger of %s', TG_TABLE_NAME));
	RETURN coalesce(NEW, OLD);
END $$;

CREATE ROLE regress_app;
-- For plain SQL, and for the policy: it decides by a query, as the role.
GRANT SELECT ON session_files.upload_sessions TO regress_app;
GRANT SELECT, UPDATE, DELETE ON session_files.files TO regress_app;
SELECT session_files.grant_workspace('regress_app', NULL, 'keeper');
CREATE POLICY seen ON session_files.upload_sessions AS RESTRICTIVE USING (see('policy of upload_sessions'));
ALTER TABLE session_files.files ADD CONSTRAINT seen CHECK (see('constraint of files'));
SELECT format('CREATE TRIGGER seen AFTER INSERT OR UPDATE OR DELETE ON session_files.%I FOR EACH ROW EXECUTE FUNCTION see_trigger()', relname)
	FROM pg_class WHERE relnamespace = 'session_files'::regnamespace AND relkind = 'r' ORDER BY relname COLLATE "C" \gexec

-- Runs a statement as the role, under a name.
CREATE PROCEDURE as_app(call text, statement text, role name DEFAULT 'regress_app') LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('regress.call', call, false);
	EXECUTE format('SET LOCAL ROLE %I', role);
	EXECUTE statement;
	RESET ROLE;
	PERFORM set_config('regress.call', 'none', false);
END $$;
SET regress.call = 'none';

CALL as_app('create_workspace', $$SELECT session_files.create_workspace('w')$$);
CALL as_app('create_session', $$SELECT session_files.create_session('w')$$);
SELECT session_id AS s FROM session_files.upload_sessions \gset
CREATE VIEW pending AS SELECT array_agg(file_ingestion_id) AS ids FROM session_files.files WHERE ingestion_status = 'PENDING';
CREATE VIEW lease AS SELECT lease_token AS token, file_ingestion_ids AS ids FROM session_files.file_queue WHERE lease_token IS NOT NULL;
GRANT SELECT ON pending, lease TO regress_app;
CALL as_app('register_files', format($$SELECT session_files.register_files(%L, '{a,b,c,d,e,f}')$$, :'s'));
CALL as_app('register_files', format($$SELECT session_files.register_files(%L, '{a,g}')$$, :'s'));
CALL as_app('get_session_files', format($$SELECT session_files.get_session_files('w', %L)$$, :'s'));
CALL as_app('handle_request', format($$SELECT session_files.handle_request('GET', '/api/v1/workspaces/w/upload_sessions/%s/files')$$, :'s'));
CALL as_app('finish_files', format($$SELECT session_files.finish_files(%L, ids[1:1]) FROM pending$$, :'s'));
CALL as_app('fail_files', format($$SELECT session_files.fail_files(%L, ids[1:1], 'SLOWDOWN') FROM pending$$, :'s'));
CALL as_app('retry_failed', format($$SELECT session_files.retry_failed(%L)$$, :'s'));
CALL as_app('claim_files of any session', $$SELECT session_files.claim_files('worker', 4)$$);
CALL as_app('claim_files of a session', format($$SELECT session_files.claim_files('worker', 1, session_id => %L)$$, :'s'));
CALL as_app('extend_lease', format($$SELECT session_files.extend_lease(%L, ids, token) FROM lease$$, :'s'));
CALL as_app('finish_files by lease', format($$SELECT session_files.finish_files(%L, ids[1:1], token) FROM lease$$, :'s'));
CALL as_app('fail_files by lease', format($$SELECT session_files.fail_files(%L, ids[1:1], 'UNKNOWN_ERROR', token) FROM lease$$, :'s'));
CALL as_app('release_files', format($$SELECT session_files.release_files(%L, ids, token) FROM lease$$, :'s'));
CALL as_app('session_progress', 'SELECT FROM session_files.session_progress');
CALL as_app('leases', 'SELECT FROM session_files.leases');
CALL as_app('workers', 'SELECT FROM session_files.workers');
CALL as_app('plain SQL', $$UPDATE session_files.files SET ingestion_status = 'FAILED', ingestion_status_reason = 'SLOWDOWN' WHERE name = 'g'$$);
CALL as_app('plain SQL', $$DELETE FROM session_files.files WHERE name = 'g'$$);
CALL as_app('close_session', format($$SELECT session_files.close_session(%L)$$, :'s'));
SELECT session_user AS superuser \gset
CALL as_app('check', 'SELECT session_files.check()', :'superuser');
CALL as_app('repair', 'SELECT session_files.repair()', :'superuser');
UPDATE session_files.upload_sessions SET created_at = now() - interval '2 hours', expires_at = now() - interval '1 hour';
SET session_files.session_retention = '1s';
CALL as_app('maintain', 'SELECT session_files.maintain(), session_files.maintain()');

SELECT call, place, planner, jit FROM seen WHERE call <> 'none'
	GROUP BY call, place, planner, jit ORDER BY call COLLATE "C", place COLLATE "C", planner COLLATE "C", jit;
-- With settings of another's, and JIT.
SELECT DISTINCT call, place FROM seen WHERE planner IS NOT NULL AND jit = 'on';

DROP POLICY seen ON session_files.upload_sessions;
ALTER TABLE session_files.files DROP CONSTRAINT seen;
SELECT format('DROP TRIGGER seen ON session_files.%I', relname)
	FROM pg_class WHERE relnamespace = 'session_files'::regnamespace AND relkind = 'r' ORDER BY relname COLLATE "C" \gexec
DELETE FROM session_files.upload_sessions;
DELETE FROM session_files.workspaces;
DELETE FROM session_files.workspace_grants;
DROP OWNED BY regress_app;
DROP ROLE regress_app;
DROP VIEW pending, lease;
DROP PROCEDURE as_app;
DROP FUNCTION see_trigger, see;
DROP TABLE seen;
