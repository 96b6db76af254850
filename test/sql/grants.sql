-- Who may see which workspace: grants, their end, and what they do to each table, function and view. Nothing tells what may not be seen
-- from what is not there.
\set VERBOSITY terse
\set SHOW_CONTEXT never
\pset format unaligned
\pset tuples_only on
CREATE ROLE regress_one;
CREATE ROLE regress_none;
CREATE ROLE regress_every;
CREATE ROLE regress_member IN ROLE regress_one;
CREATE ROLE regress_noinherit NOINHERIT IN ROLE regress_one;
CREATE ROLE regress_bypass BYPASSRLS;
GRANT USAGE ON SCHEMA session_files TO PUBLIC;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA session_files TO PUBLIC;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA session_files TO PUBLIC;

-- Sessions 1 and 2 in the workspaces one and two, each with files 1 to 3; there is no session 9.
CREATE FUNCTION pg_temp.s(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT ('00000000-0000-7000-8000-00000000000' || n)::uuid $$;
CREATE FUNCTION pg_temp.f(n int) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$ SELECT ('00000000-0000-7000-8000-0000000000a' || n)::uuid $$;
INSERT INTO session_files.workspaces VALUES ('one'), ('two'), ('unused');
INSERT INTO session_files.upload_sessions (session_id, workspace_name) VALUES (pg_temp.s(1), 'one'), (pg_temp.s(2), 'two');
INSERT INTO session_files.files (session_id, file_ingestion_id, name) SELECT pg_temp.s(s), pg_temp.f(f), 'f' || f FROM generate_series(1, 2) s, generate_series(1, 3) f;

-- What a statement gives, or raises, with its DETAIL; without ids, and without the session's number.
CREATE FUNCTION pg_temp.try(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
	detail text;
BEGIN
	EXECUTE format('SELECT string_agg(to_jsonb(t)::text, E''\n'') FROM (%s) t', statement) INTO result;
	RETURN coalesce(result, 'nothing');
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RETURN replace(replace(concat_ws(' ', SQLSTATE, SQLERRM, detail), pg_temp.s(2)::text, 'ID'), pg_temp.s(9)::text, 'ID');
END
$$;
CREATE FUNCTION pg_temp.run(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	changed bigint;
BEGIN
	EXECUTE statement;
	GET DIAGNOSTICS changed = ROW_COUNT;
	RETURN changed || ' rows';
EXCEPTION WHEN OTHERS THEN
	RETURN replace(replace(concat_ws(' ', SQLSTATE, SQLERRM), pg_temp.s(2)::text, 'ID'), pg_temp.s(9)::text, 'ID');
END
$$;

-- Granting. Twice is no error; what is wrong is one.
SELECT session_files.grant_workspace('regress_one', 'one'), session_files.grant_workspace('regress_one', 'one');
SELECT session_files.grant_workspace('regress_every'), session_files.grant_workspace('regress_every', NULL);
SELECT role, workspace_name FROM session_files.workspace_grants ORDER BY 1, 2;
SELECT pg_temp.try($$SELECT session_files.grant_workspace($$ || arguments || ')') FROM (VALUES (1, 'NULL'), (2, $$NULL, 'one'$$), (3, $$'regress_none', 'nowhere'$$),
	(4, $$'regress_none', ''$$), (5, $$'regress_nobody', 'one'$$), (6, $$'4294967295', 'one'$$), (7, $$'-', 'one'$$)) AS v (n, arguments) ORDER BY n;
SELECT pg_temp.try($$SELECT session_files.revoke_workspace($$ || arguments || ')') FROM (VALUES (1, 'NULL'), (2, $$NULL, 'one'$$), (3, $$'regress_one', 'nowhere'$$),
	(4, $$'regress_none', 'one'$$), (5, $$'regress_none'$$)) AS v (n, arguments) ORDER BY n;
INSERT INTO session_files.workspace_grants VALUES ('regress_every', NULL);
INSERT INTO session_files.workspace_grants VALUES ('regress_one', 'one');
INSERT INTO session_files.workspace_grants VALUES (NULL, 'one');
INSERT INTO session_files.workspace_grants VALUES ('regress_one', 'nowhere');

-- What each role sees of each table, and by the listing.
CREATE FUNCTION pg_temp.seen() RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' | ', current_user, (SELECT string_agg(name, ' ' ORDER BY name) FROM session_files.workspaces),
		(SELECT count(*) FROM session_files.upload_sessions) || ' sessions', (SELECT count(*) FROM session_files.files) || ' files',
		(SELECT count(DISTINCT session_id) FROM session_files.file_queue) || ' queues',
		(SELECT count(DISTINCT session_id) FROM session_files.file_counts) || ' counts',
		(SELECT count(*) FROM session_files.session_progress) || ' in session_progress',
		(SELECT count(*) FROM session_files.workspace_grants) || ' grants',
		'lists', pg_temp.try($q$SELECT session_files.get_session_files('one', pg_temp.s(1), "limit" => 0)::json -> 'total' AS one$q$),
		(session_files.handle_request('GET', '/api/v1/workspaces/two/upload_sessions/' || pg_temp.s(2) || '/files')).status)
$$;
SET ROLE regress_none;
SELECT pg_temp.seen();
SET ROLE regress_one;
SELECT pg_temp.seen();
SET ROLE regress_member;
SELECT pg_temp.seen();
SET ROLE regress_noinherit;
SELECT pg_temp.seen();
SET ROLE regress_every;
SELECT pg_temp.seen();
SET ROLE regress_bypass;
SELECT pg_temp.seen();
RESET ROLE;
SELECT pg_temp.seen() ~ 'one two unused \| 2 sessions \| 6 files \| 2 queues \| 2 counts \| 2 in session_progress \| 2 grants' AS a_superuser_sees_all;

-- The predicates, also of what is not there.
SET ROLE regress_one;
SELECT left(name, 10), session_files.may_see_workspace(name) FROM (VALUES ('one'), ('two'), ('nowhere'), (''), (repeat('x', 10000)), (NULL)) v (name);
SELECT n, session_files.may_see_session(pg_temp.s(n)) FROM generate_series(1, 9, 1) n WHERE n IN (1, 2, 9);
SELECT session_files.may_see_session(NULL) IS NULL AS null_for_null;
SET ROLE regress_every;
SELECT name, session_files.may_see_workspace(name) FROM (VALUES ('one'), ('nowhere'), (NULL)) v (name);

-- Each function, with a session that may not be seen (2) and with one that is not there (9): the same words.
RESET ROLE;
CREATE TEMP TABLE calls (n serial, call text);
GRANT SELECT ON calls TO PUBLIC;
INSERT INTO calls (call) VALUES
	($$SELECT session_files.get_session_files('two', pg_temp.s(%1$s))$$),
	($$SELECT session_files.get_session_files('two', pg_temp.s(%1$s), after => pg_temp.f(1))$$),
	($$SELECT session_files.get_session_files('two', pg_temp.s(%1$s), before => pg_temp.f(7))$$),
	($$SELECT replace((session_files.handle_request('GET', '/api/v1/workspaces/two/upload_sessions/' || pg_temp.s(%1$s) || '/files'))::text, pg_temp.s(%1$s)::text, 'ID')$$),
	($$SELECT * FROM session_files.register_files(pg_temp.s(%1$s), ARRAY['f1', 'new'])$$),
	($$SELECT * FROM session_files.finish_files(pg_temp.s(%1$s), ARRAY[pg_temp.f(1)])$$),
	($$SELECT * FROM session_files.finish_files(pg_temp.s(%1$s), ARRAY[pg_temp.f(1)], lease_token => pg_temp.s(5))$$),
	($$SELECT * FROM session_files.fail_files(pg_temp.s(%1$s), ARRAY[pg_temp.f(1)], 'EMPTY_FILE')$$),
	($$SELECT * FROM session_files.fail_files(pg_temp.s(%1$s), ARRAY[pg_temp.f(1)], 'SLOWDOWN', pg_temp.s(5))$$),
	($$SELECT * FROM session_files.settle_files(pg_temp.s(%1$s), ARRAY[pg_temp.f(1)], NULL, NULL, 'FINISHED', NULL)$$),
	($$SELECT * FROM session_files.close_session(pg_temp.s(%1$s))$$),
	($$SELECT * FROM session_files.retry_failed(pg_temp.s(%1$s))$$),
	($$SELECT * FROM session_files._maintain_session(pg_temp.s(%1$s), 100)$$),
	($$SELECT * FROM session_files.claim_files('w', session_id => pg_temp.s(%1$s))$$),
	($$SELECT * FROM session_files.claim_files('w', session_id => pg_temp.s(%1$s), workspace_name => 'one')$$),
	($$SELECT * FROM session_files.take_batches(pg_temp.s(%1$s), NULL, 10)$$),
	($$SELECT * FROM session_files.take_batches(pg_temp.s(%1$s), 'two', 10)$$),
	($$SELECT * FROM session_files.leave_lease(pg_temp.s(%1$s), ARRAY[pg_temp.f(1)], pg_temp.s(5))$$),
	($$SELECT * FROM session_files.extend_lease(pg_temp.s(%1$s), ARRAY[pg_temp.f(1)], pg_temp.s(5))$$),
	($$SELECT * FROM session_files.release_files(pg_temp.s(%1$s), ARRAY[pg_temp.f(1)], pg_temp.s(5))$$),
	($$SELECT session_files.locate_ids(pg_temp.s(%1$s), ARRAY[pg_temp.f(1)])$$),
	($$SELECT session_files.locate_names(pg_temp.s(%1$s), ARRAY['f1'])$$),
	($$SELECT * FROM session_files.files WHERE session_id = pg_temp.s(%1$s)$$),
	($$SELECT * FROM session_files.upload_sessions WHERE session_id = pg_temp.s(%1$s) FOR UPDATE$$),
	($$SELECT * FROM session_files.session_progress WHERE session_id = pg_temp.s(%1$s)$$);
-- A lease on what may not be seen, too.
UPDATE session_files.file_queue SET lease_token = pg_temp.s(5), worker = 'w', claimed_at = now(), due_at = now() + interval '1 hour', attempt = 1
	WHERE session_id = pg_temp.s(2) AND file_ingestion_ids[1] = pg_temp.f(1);
SET ROLE regress_one;
SELECT n, pg_temp.try(format(call, 2)) = pg_temp.try(format(call, 9)) AS same, pg_temp.try(format(call, 2)) FROM calls ORDER BY n;
SELECT pg_temp.try(format($$SELECT * FROM session_files.claim_files('w', workspace_name => %L)$$, name)) FROM unnest('{two,nowhere}'::text[]) name;
SELECT pg_temp.try(format($$SELECT * FROM session_files.create_session(%L)$$, name)) FROM unnest('{two,nowhere}'::text[]) name;
SELECT pg_temp.try(format($$SELECT session_files.grant_workspace('regress_none', %L)$$, name)) FROM unnest('{two,nowhere}'::text[]) name;
SELECT pg_temp.try(format($$SELECT session_files.revoke_workspace('regress_none', %L)$$, name)) FROM unnest('{two,nowhere}'::text[]) name;
SELECT count(*) FROM session_files.leases;
SELECT count(*) FROM session_files.workers;
-- And nothing has changed.
RESET ROLE;
SELECT session_id, status, total, pending, claimed FROM session_files.session_progress ORDER BY 1;

-- Plain statements.
SET ROLE regress_one;
SELECT pg_temp.run(format(call, 2)) AS hidden, pg_temp.run(format(call, 9)) AS missing FROM (VALUES
	(1, $$INSERT INTO session_files.files (session_id, name) VALUES (pg_temp.s(%1$s), 'f1')$$),
	(2, $$INSERT INTO session_files.files (session_id, name) VALUES (pg_temp.s(%1$s), 'f1') ON CONFLICT DO NOTHING$$),
	(3, $$UPDATE session_files.files SET ingestion_status = 'FINISHED' WHERE session_id = pg_temp.s(%1$s)$$),
	(4, $$UPDATE session_files.files SET session_id = pg_temp.s(%1$s) WHERE session_id = pg_temp.s(1)$$),
	(5, $$DELETE FROM session_files.files WHERE session_id = pg_temp.s(%1$s)$$),
	(6, $$UPDATE session_files.upload_sessions SET status = 'CLOSED' WHERE session_id = pg_temp.s(%1$s)$$),
	(7, $$DELETE FROM session_files.upload_sessions WHERE session_id = pg_temp.s(%1$s)$$),
	(8, $$DELETE FROM session_files.file_queue WHERE session_id = pg_temp.s(%1$s)$$),
	(9, $$UPDATE session_files.file_counts SET pending = 7 WHERE session_id = pg_temp.s(%1$s)$$)) AS v (n, call) ORDER BY n;
SELECT pg_temp.run(format(call, 'two')) AS hidden, pg_temp.run(format(call, 'nowhere')) AS missing FROM (VALUES
	(1, $$INSERT INTO session_files.upload_sessions (workspace_name) VALUES ('%s')$$),
	(2, $$UPDATE session_files.upload_sessions SET workspace_name = '%s'$$),
	(3, $$UPDATE session_files.workspaces SET name = 'mine' WHERE name = '%s'$$),
	(4, $$DELETE FROM session_files.workspaces WHERE name = '%s'$$),
	(5, $$INSERT INTO session_files.workspace_grants VALUES ('regress_one', '%s')$$)) AS v (n, call) ORDER BY n;
SELECT pg_temp.run($$INSERT INTO session_files.workspace_grants VALUES ('regress_one', NULL)$$);
SELECT pg_temp.run($$UPDATE session_files.workspaces SET name = 'two' WHERE name = 'one'$$);
-- What may be seen can be worked with.
SELECT name FROM session_files.claim_files('w', 1);
SELECT count(*) FROM session_files.finish_files(pg_temp.s(1), ARRAY[pg_temp.f(2)]) WHERE changed;
SELECT pg_temp.run($$INSERT INTO session_files.files (session_id, name) VALUES (pg_temp.s(1), 'f4')$$);
SELECT name FROM session_files.register_files(pg_temp.s(1), ARRAY['f4', 'f5']);
WITH s AS (INSERT INTO session_files.upload_sessions (session_id, workspace_name) VALUES (pg_temp.s(4), 'one') RETURNING session_id)
	INSERT INTO session_files.files (session_id, name) SELECT session_id, 'with its session' FROM s RETURNING name;
-- Claims of any session pass over what may not be seen, wherever they begin; each session has its turn.
SELECT name FROM session_files.claim_files('w', 1) UNION ALL SELECT name FROM session_files.claim_files('w', 1) ORDER BY 1;
SELECT count(*), count(DISTINCT session_id) FROM session_files.claim_files('w');
SELECT worker, sessions FROM session_files.workers;
RESET ROLE;
SELECT count(*) AS left_of_two FROM session_files.claim_files('w');

-- A role that creates a workspace is granted it, in whatever way it is created; a role that sees all is not.
SET ROLE regress_none;
SELECT session_files.create_workspace('by function');
INSERT INTO session_files.workspaces VALUES ('by insert'), ('by insert, too');
SELECT pg_temp.try($$SELECT session_files.create_workspace('two')$$);
SELECT pg_temp.run($$INSERT INTO session_files.workspaces VALUES ('two')$$), pg_temp.run($$INSERT INTO session_files.workspaces VALUES ('two') ON CONFLICT DO NOTHING$$);
SELECT role, workspace_name FROM session_files.workspace_grants ORDER BY 2;
SELECT session_files.create_session('by insert') IS NOT NULL;
SELECT pg_temp.seen();
SET ROLE regress_every;
SELECT session_files.create_workspace('by every');
SET ROLE regress_bypass;
SELECT session_files.create_workspace('by bypass');
RESET ROLE;
SELECT session_files.create_workspace('by superuser');
SELECT role, workspace_name FROM session_files.workspace_grants WHERE workspace_name IN ('by every', 'by bypass', 'by superuser');
-- The trigger functions serve their own triggers only.
CREATE TEMP TABLE foreign_table (name text);
CREATE TRIGGER a AFTER INSERT ON foreign_table FOR EACH ROW EXECUTE FUNCTION session_files.grant_creator();
INSERT INTO foreign_table VALUES ('two');
DROP TRIGGER a ON foreign_table;
CREATE TRIGGER a AFTER INSERT ON foreign_table FOR EACH STATEMENT EXECUTE FUNCTION session_files.report_grants();
INSERT INTO foreign_table VALUES ('two');

-- A workspace that is renamed stays granted; one that is deleted and created again does not.
UPDATE session_files.workspaces SET name = 'uno' WHERE name = 'one';
SET ROLE regress_one;
SELECT string_agg(name, ' ') FROM session_files.workspaces;
SELECT session_files.get_session_files('uno', pg_temp.s(4), "limit" => 0);
RESET ROLE;
UPDATE session_files.workspaces SET name = 'one' WHERE name = 'uno';
SELECT session_files.grant_workspace('regress_one', 'unused');
DELETE FROM session_files.workspaces WHERE name = 'unused';
INSERT INTO session_files.workspaces VALUES ('unused');
SET ROLE regress_one;
SELECT string_agg(name, ' ') FROM session_files.workspaces;
RESET ROLE;

-- In one transaction: what is granted and revoked counts at once, and is undone with it.
BEGIN;
SET LOCAL ROLE regress_none;
SELECT session_files.may_see_session(pg_temp.s(1));
RESET ROLE;
SELECT session_files.grant_workspace('regress_none', 'one');
SET LOCAL ROLE regress_none;
SELECT session_files.may_see_session(pg_temp.s(1)), session_files.get_session_files('one', pg_temp.s(1), "limit" => 0);
RESET ROLE;
SAVEPOINT a;
SELECT session_files.revoke_workspace('regress_none', 'one');
SET LOCAL ROLE regress_none;
SELECT session_files.may_see_session(pg_temp.s(1));
ROLLBACK TO a;
SET LOCAL ROLE regress_none;
SELECT session_files.may_see_session(pg_temp.s(1));
ROLLBACK;
SET ROLE regress_none;
SELECT session_files.may_see_session(pg_temp.s(1));
RESET ROLE;
BEGIN;
SET LOCAL ROLE regress_one;
SELECT session_files.may_see_session(pg_temp.s(1));
RESET ROLE;
TRUNCATE session_files.workspace_grants;
SET LOCAL ROLE regress_one;
SELECT session_files.may_see_session(pg_temp.s(1));
ROLLBACK;
-- Not by what a site has answered before: a loop's is the same for both roles, and for a session that moves.
DO $$
BEGIN
	FOR n IN 1..4 LOOP
		IF n < 4 THEN
			PERFORM set_config('role', (ARRAY['regress_one', 'regress_none', 'regress_one'])[n], true);
		ELSE
			RESET ROLE;
			UPDATE session_files.upload_sessions SET workspace_name = 'two' WHERE session_id = pg_temp.s(4);
			SET LOCAL ROLE regress_one;
		END IF;
		RAISE NOTICE '%', session_files.may_see_session(pg_temp.s(4));
	END LOOP;
END
$$;

-- Membership; roles that become able to see all, and no more; a role that is dropped.
GRANT regress_one TO regress_none;
SET ROLE regress_none;
SELECT session_files.may_see_session(pg_temp.s(1));
RESET ROLE;
REVOKE regress_one FROM regress_none;
SET ROLE regress_none;
SELECT session_files.may_see_session(pg_temp.s(1));
RESET ROLE;
ALTER ROLE regress_none BYPASSRLS;
SET ROLE regress_none;
SELECT session_files.may_see_session(pg_temp.s(1)), session_files.get_session_files('one', pg_temp.s(1), "limit" => 0);
RESET ROLE;
ALTER ROLE regress_none NOBYPASSRLS;
SET ROLE regress_none;
SELECT session_files.may_see_session(pg_temp.s(1)), pg_temp.try($$SELECT session_files.get_session_files('one', pg_temp.s(1), "limit" => 0)$$);
RESET ROLE;
CREATE ROLE regress_gone;
SELECT session_files.grant_workspace('regress_gone', 'one');
DROP ROLE regress_gone;
SET ROLE regress_none;
SELECT session_files.may_see_session(pg_temp.s(1));
RESET ROLE;
SELECT count(*) AS without_role FROM session_files.workspace_grants WHERE role NOT IN (SELECT oid FROM pg_roles);
SELECT session_files.revoke_workspace(role, 'one') FROM session_files.workspace_grants WHERE role NOT IN (SELECT oid FROM pg_roles);
SELECT count(*) AS without_role FROM session_files.workspace_grants WHERE role NOT IN (SELECT oid FROM pg_roles);
-- To revoke every workspace leaves those by name, and the other way round.
SELECT session_files.grant_workspace('regress_every', 'one'), session_files.revoke_workspace('regress_every');
SET ROLE regress_every;
SELECT session_files.may_see_session(pg_temp.s(1)), session_files.may_see_session(pg_temp.s(2));
RESET ROLE;
SELECT session_files.grant_workspace('regress_every'), session_files.revoke_workspace('regress_every', 'one');
SET ROLE regress_every;
SELECT session_files.may_see_session(pg_temp.s(1)), session_files.may_see_session(pg_temp.s(2));
RESET ROLE;

-- Other policies on upload_sessions decide for all of a session; on files and file_queue, they cannot be applied everywhere.
CREATE POLICY by_claim ON session_files.upload_sessions USING (workspace_name = current_setting('request.jwt.claims', true)::json ->> 'workspace');
SET request.jwt.claims = '{"workspace":"one"}';
SET ROLE regress_none;
SELECT count(DISTINCT session_id) FROM session_files.upload_sessions WHERE workspace_name = 'one';
SELECT session_files.get_session_files('one', pg_temp.s(1), "limit" => 0);
SELECT count(*) > 0 AS sees_files FROM session_files.files WHERE session_id = pg_temp.s(1);
SELECT count(*) FROM session_files.finish_files(pg_temp.s(1), ARRAY[pg_temp.f(1)]);
SELECT count(*) AS claimed_before FROM session_files.claim_files('w', session_id => pg_temp.s(1));
SELECT pg_temp.try($$SELECT session_files.get_session_files('two', pg_temp.s(2))$$) = pg_temp.try($$SELECT session_files.get_session_files('two', pg_temp.s(9))$$) AS same;
SET request.jwt.claims = '{"workspace":"two"}';
SELECT pg_temp.try($$SELECT session_files.get_session_files('one', pg_temp.s(1), "limit" => 0)$$);
SELECT session_files.get_session_files('two', pg_temp.s(2), "limit" => 0);
RESET ROLE;
RESET request.jwt.claims;
DROP POLICY by_claim ON session_files.upload_sessions;
CREATE POLICY closed ON session_files.upload_sessions AS RESTRICTIVE USING (status = 'CLOSED');
SET ROLE regress_one;
SELECT pg_temp.try($$SELECT session_files.get_session_files('one', pg_temp.s(1), "limit" => 0)$$);
RESET ROLE;
DROP POLICY closed ON session_files.upload_sessions;
CREATE POLICY short_names ON session_files.files AS RESTRICTIVE USING (length(name) < 3);
SET ROLE regress_one;
SELECT session_files.get_session_files('one', pg_temp.s(1), "limit" => 0);
SELECT (session_files.handle_request('GET', '/api/v1/workspaces/one/upload_sessions/' || pg_temp.s(1) || '/files')).*;
SELECT * FROM session_files.claim_files('w');
RESET ROLE;
SELECT session_files.get_session_files('one', pg_temp.s(1), "limit" => 0);
DROP POLICY short_names ON session_files.files;
CREATE POLICY first_attempts ON session_files.file_queue AS RESTRICTIVE USING (attempt = 0);
SET ROLE regress_one;
SELECT * FROM session_files.claim_files('w');
RESET ROLE;
DROP POLICY first_attempts ON session_files.file_queue;
-- A policy that calls the same function of another column is another one.
ALTER POLICY visible_sessions ON session_files.files USING (session_files.may_see_session(file_ingestion_id));
SET ROLE regress_one;
SELECT session_files.get_session_files('one', pg_temp.s(1), "limit" => 0);
RESET ROLE;
ALTER POLICY visible_sessions ON session_files.files USING (session_files.may_see_session(session_id));
-- The owner is exempt, unless forced.
CREATE ROLE regress_owner;
DO $$
DECLARE
	name text;
BEGIN
	FOREACH name IN ARRAY '{workspaces,workspace_grants,upload_sessions,files,file_counts,file_queue}'::text[] LOOP
		EXECUTE format('ALTER TABLE session_files.%I OWNER TO regress_owner', name);
	END LOOP;
END
$$;
SET ROLE regress_owner;
SELECT session_files.may_see_session(pg_temp.s(2)), session_files.get_session_files('two', pg_temp.s(2), "limit" => 0);
ALTER TABLE session_files.upload_sessions FORCE ROW LEVEL SECURITY;
SELECT session_files.may_see_session(pg_temp.s(2)), pg_temp.try($$SELECT session_files.get_session_files('two', pg_temp.s(2), "limit" => 0)$$);
ALTER TABLE session_files.upload_sessions NO FORCE ROW LEVEL SECURITY;
RESET ROLE;
DO $$
DECLARE
	name text;
BEGIN
	FOREACH name IN ARRAY '{workspaces,workspace_grants,upload_sessions,files,file_counts,file_queue}'::text[] LOOP
		EXECUTE format('ALTER TABLE session_files.%I OWNER TO %I', name, session_user);
	END LOOP;
END
$$;
-- Without policies, nothing is seen; without row level security, everything.
BEGIN;
DROP POLICY visible_workspaces ON session_files.upload_sessions;
SET LOCAL ROLE regress_every;
SELECT pg_temp.try($$SELECT session_files.get_session_files('two', pg_temp.s(2), "limit" => 0)$$);
ROLLBACK;
BEGIN;
ALTER TABLE session_files.upload_sessions DISABLE ROW LEVEL SECURITY;
SET LOCAL ROLE regress_none;
SELECT session_files.get_session_files('two', pg_temp.s(2), "limit" => 0), count(*) > 0 AS sees_files FROM session_files.files;
ROLLBACK;

-- In parallel workers too.
BEGIN;
SET LOCAL parallel_setup_cost = 0;
SET LOCAL parallel_tuple_cost = 0;
SET LOCAL min_parallel_table_scan_size = 0;
SELECT set_config(CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'debug_parallel_query' ELSE 'force_parallel_mode' END, 'on', true);
SET LOCAL ROLE regress_one;
SELECT count(DISTINCT session_id) FROM session_files.files;
SELECT session_files.get_session_files('one', pg_temp.s(1), "limit" => 0);
SELECT session_files.may_see_session('00000000-0000-7000-8000-000000000009');
ROLLBACK;

SET client_min_messages = warning;
DROP TABLE foreign_table;
DELETE FROM session_files.upload_sessions;
DELETE FROM session_files.workspaces;
DELETE FROM session_files.workspace_grants;
REVOKE ALL ON ALL TABLES IN SCHEMA session_files FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA session_files FROM PUBLIC;
REVOKE ALL ON SCHEMA session_files FROM PUBLIC;
GRANT EXECUTE ON FUNCTION session_files.may_see_workspace, session_files.may_see_session TO PUBLIC;
DROP OWNED BY regress_owner, regress_one, regress_none, regress_every, regress_member, regress_noinherit, regress_bypass;
DROP ROLE regress_owner, regress_one, regress_none, regress_every, regress_member, regress_noinherit, regress_bypass;
