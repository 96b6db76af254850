-- What a grant of a workspace lets a role do: each kind by each function, its end, and what plain SQL sees. Nothing tells what may not be
-- seen from what is not there.
\set VERBOSITY terse
\set SHOW_CONTEXT never
\pset format unaligned
\pset tuples_only on
CREATE ROLE regress_lister;
CREATE ROLE regress_uploader;
CREATE ROLE regress_worker;
CREATE ROLE regress_watcher;
CREATE ROLE regress_keeper;
CREATE ROLE regress_one;
CREATE ROLE regress_none;
CREATE ROLE regress_every;
CREATE ROLE regress_member IN ROLE regress_one;
CREATE ROLE regress_noinherit NOINHERIT IN ROLE regress_one;
CREATE ROLE regress_bypass BYPASSRLS;

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
SELECT session_files.grant_workspace(role::regrole, 'one', kind::session_files.grant_kind) FROM (VALUES
	('regress_lister', 'lister'), ('regress_uploader', 'uploader'), ('regress_worker', 'worker'), ('regress_watcher', 'watcher'), ('regress_keeper', 'keeper')) AS g (role, kind);
SELECT session_files.grant_workspace('regress_one', 'one', kind), session_files.grant_workspace('regress_one', 'one', kind)
	FROM unnest(enum_range(NULL::session_files.grant_kind)) AS kind;
SELECT session_files.grant_workspace('regress_every', NULL, 'keeper'), session_files.grant_workspace('regress_every', NULL, 'keeper');
SELECT role, workspace_name, kind FROM session_files.workspace_grants ORDER BY role::text COLLATE "C", 2, 3;
SELECT pg_temp.try($$SELECT session_files.grant_workspace($$ || arguments || ')') FROM (VALUES (1, 'NULL, NULL'), (2, $$NULL, 'one'$$), (3, $$'regress_none', 'nowhere'$$),
	(4, $$'regress_none', ''$$), (5, $$'regress_nobody', 'one'$$), (6, $$'4294967295', 'one'$$), (7, $$'-', 'one'$$), (8, $$'regress_none', 'one', NULL$$),
	(9, $$'regress_none', 'one', 'owner'$$), (10, $$'regress_none'$$)) AS v (n, arguments) ORDER BY n;
SELECT pg_temp.try($$SELECT session_files.revoke_workspace($$ || arguments || ')') FROM (VALUES (1, 'NULL, NULL'), (2, $$NULL, 'one'$$), (3, $$'regress_one', 'nowhere'$$),
	(4, $$'regress_none', 'one'$$), (5, $$'regress_none', NULL$$), (6, $$'regress_lister', 'one', 'keeper'$$)) AS v (n, arguments) ORDER BY n;
INSERT INTO session_files.workspace_grants (role, workspace_name, kind) VALUES ('regress_every', NULL, 'keeper');
INSERT INTO session_files.workspace_grants (role, workspace_name, kind) VALUES ('regress_one', 'one', 'lister');
INSERT INTO session_files.workspace_grants (role, workspace_name, kind) VALUES (NULL, 'one', 'lister');
INSERT INTO session_files.workspace_grants (role, workspace_name) VALUES ('regress_one', 'one');
INSERT INTO session_files.workspace_grants (role, workspace_name, kind) VALUES ('regress_one', 'nowhere', 'lister');
-- By default a lister; another kind, or all of them, is taken back.
SELECT session_files.grant_workspace('regress_none', 'two'), session_files.grant_workspace('regress_none', 'two', 'worker'), session_files.grant_workspace('regress_none', 'two', 'watcher');
SELECT kind FROM session_files.workspace_grants WHERE role = 'regress_none'::regrole ORDER BY 1;
SELECT session_files.revoke_workspace('regress_none', 'two', 'worker'), session_files.revoke_workspace('regress_none', NULL);
SELECT kind FROM session_files.workspace_grants WHERE role = 'regress_none'::regrole ORDER BY 1;
SELECT session_files.revoke_workspace('regress_none', 'two');
SELECT count(*) FROM session_files.workspace_grants WHERE role = 'regress_none'::regrole;

-- Each kind by each function that PUBLIC may call: done, or the error. Each call is undone.
CREATE TEMP TABLE calls (n serial, call text);
GRANT SELECT ON calls TO PUBLIC;
INSERT INTO calls (call) VALUES
	($$session_files.get_session_files('%2$s', pg_temp.s(%1$s))$$),
	($$session_files.list_session_files('%2$s', pg_temp.s(%1$s))$$),
	($$session_files.session_counts(pg_temp.s(%1$s))$$),
	($$session_files.get_session_status('%2$s', pg_temp.s(%1$s))$$),
	($$session_files.handle_request('GET', '/api/v1/workspaces/%2$s/upload_sessions/' || pg_temp.s(%1$s) || '/files')$$),
	($$session_files.create_session('%2$s')$$),
	($$session_files.register_files(pg_temp.s(%1$s), ARRAY['f1', 'new'])$$),
	($$session_files.close_session(pg_temp.s(%1$s))$$),
	($$session_files.extend_session(pg_temp.s(%1$s), '1 hour')$$),
	($$session_files.cancel_session(pg_temp.s(%1$s))$$),
	($$session_files.reopen_session(pg_temp.s(%1$s))$$),
	($$session_files.delete_session(pg_temp.s(%1$s))$$),
	($$session_files.delete_files(pg_temp.s(%1$s), ARRAY[pg_temp.f(1)])$$),
	($$session_files.claim_files('w', session_id => pg_temp.s(%1$s))$$),
	($$session_files.claim_files('w', workspace_name => '%2$s')$$),
	($$session_files.claim_files('w', session_id => pg_temp.s(%1$s), workspace_name => '%2$s')$$),
	($$session_files.claim_files('w')$$),
	($$session_files.extend_lease(pg_temp.s(%1$s), ARRAY[pg_temp.f(1)], pg_temp.s(5))$$),
	($$session_files.release_files(pg_temp.s(%1$s), ARRAY[pg_temp.f(1)], pg_temp.s(5))$$),
	($$session_files.finish_files(pg_temp.s(%1$s), ARRAY[pg_temp.f(1)])$$),
	($$session_files.finish_files(pg_temp.s(%1$s), ARRAY[pg_temp.f(1)], pg_temp.s(5))$$),
	($$session_files.fail_files(pg_temp.s(%1$s), ARRAY[pg_temp.f(1)], 'EMPTY_FILE')$$),
	($$session_files.fail_files(pg_temp.s(%1$s), ARRAY[pg_temp.f(1)], 'SLOWDOWN', pg_temp.s(5))$$),
	($$session_files.retry_failed(pg_temp.s(%1$s))$$),
	($$session_files.create_workspace('more')$$),
	($$session_files.maintain()$$),
	($$session_files.grant_workspace('regress_none', '%2$s')$$),
	($$session_files.revoke_workspace('regress_none', '%2$s')$$),
	($$session_files.check()$$),
	($$session_files.repair()$$);
CREATE FUNCTION pg_temp.does(role text, statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	status text;
BEGIN
	EXECUTE format('SET LOCAL ROLE %I', role);
	EXECUTE format('SELECT to_jsonb(t) ->> ''status'' FROM (SELECT * FROM %s) AS t', statement) INTO status;
	RAISE EXCEPTION USING ERRCODE = 'UNDO0', MESSAGE = CASE WHEN status IN ('403', '404') THEN status ELSE 'done' END;
EXCEPTION
	WHEN SQLSTATE 'UNDO0' THEN RETURN SQLERRM;
	WHEN OTHERS THEN RETURN SQLSTATE;
END
$$;
-- None of them was left out.
SELECT p.oid::regprocedure FROM pg_proc AS p WHERE pronamespace = 'session_files'::regnamespace AND has_function_privilege('public', oid, 'EXECUTE')
	AND NOT EXISTS (SELECT FROM calls AS c WHERE starts_with(c.call, 'session_files.' || p.proname || '(')) ORDER BY proname COLLATE "C", pronargs;
SELECT regexp_replace(format(call, 1, 'one'), 'pg_temp\.|session_files\.', '', 'g') || ': ' || (
		SELECT string_agg(role || ' ' || pg_temp.does('regress_' || role, format(call, 1, 'one')), ', ' ORDER BY n)
		FROM unnest('{lister,uploader,worker,watcher,keeper,every,none,bypass}'::text[]) WITH ORDINALITY AS r (role, n))
	FROM calls ORDER BY n;
-- In another workspace they are as a role without any grant; those with all workspaces are as in the first.
SELECT n, role, pg_temp.does('regress_' || role, format(call, 2, 'two')) AS in_another FROM calls,
	unnest('{lister,uploader,worker,watcher,keeper,every,bypass}'::text[]) AS role
	WHERE pg_temp.does('regress_' || role, format(call, 2, 'two')) IS DISTINCT FROM
		pg_temp.does('regress_' || CASE WHEN role IN ('every', 'bypass') OR call ~ 'claim_files..w..$' THEN role ELSE 'none' END, format(call, CASE WHEN role IN ('every', 'bypass') THEN 1 ELSE 2 END, CASE WHEN role IN ('every', 'bypass') THEN 'one' ELSE 'two' END));
-- What is said of another kind.
SET ROLE regress_lister;
SELECT pg_temp.try($$SELECT session_files.close_session(pg_temp.s(1))$$);
SELECT pg_temp.try($$SELECT session_files.create_session('one')$$);
SELECT pg_temp.try($$SELECT session_files.claim_files('w', workspace_name => 'one')$$);
SELECT pg_temp.try($$SELECT session_files.claim_files('w')$$);
SELECT pg_temp.try($$SELECT session_files.maintain()$$);
SELECT pg_temp.try($$SELECT session_files.check()$$);
RESET ROLE;
-- Null names nothing that could be checked.
SET ROLE regress_none;
SELECT pg_temp.try('SELECT * FROM session_files.' || call) FROM unnest(ARRAY['create_session(NULL)', $$register_files(NULL, '{a}')$$, 'close_session(NULL)', $$finish_files(NULL, '{}')$$,
	$$fail_files(NULL, '{}', 'EMPTY_FILE')$$, $$extend_lease(NULL, '{}', NULL)$$, $$release_files(NULL, '{}', NULL)$$, 'retry_failed(NULL)', 'session_counts(NULL)', $$get_session_files('one', NULL)$$]) AS call;
RESET ROLE;
-- An error in the body, which runs as the owner, leaves the caller and its settings as they were.
SET ROLE regress_uploader;
DO $$
BEGIN
	FOR n IN 1..2 LOOP
		BEGIN
			PERFORM session_files.register_files('00000000-0000-7000-8000-000000000001', ARRAY['new', CASE n WHEN 1 THEN '' ELSE 'other' END]);
			RAISE 'undone';
		EXCEPTION WHEN OTHERS THEN
			RAISE NOTICE '% % % % %', SQLSTATE, current_user, current_setting('search_path'), current_setting('enable_seqscan'), current_setting('enable_hashjoin');
		END;
	END LOOP;
END
$$;
RESET ROLE;
-- A name has the bytes that were granted, in any collation.
CREATE COLLATION pg_temp.blind (PROVIDER = icu, LOCALE = 'und-u-ks-level2', DETERMINISTIC = false);
BEGIN;
SET LOCAL ROLE regress_uploader;
SELECT pg_temp.try($$SELECT session_files.create_session('ONE' COLLATE pg_temp.blind)$$), pg_temp.try($$SELECT session_files.create_session('one' COLLATE pg_temp.blind) IS NOT NULL AS made$$);
ROLLBACK;

-- What a role is shown. It has no right on a table: no policy of row level security, no lock, no statistics to read.
SET ROLE regress_one;
SELECT c.relname, pg_temp.run('SELECT FROM session_files.' || c.relname), pg_temp.run(format('LOCK TABLE session_files.%s IN ACCESS SHARE MODE', c.relname)),
		pg_temp.run(format('LOCK TABLE session_files.%s IN ROW EXCLUSIVE MODE', c.relname))
	FROM pg_class AS c WHERE relnamespace = 'session_files'::regnamespace AND relkind IN ('r', 'v') ORDER BY relname COLLATE "C";
SELECT count(*) AS columns FROM pg_stats WHERE schemaname = 'session_files';
RESET ROLE;
-- A lease on what may not be seen, too.
SELECT count(*) FROM generate_series(1, 2) AS n, session_files.claim_files('w', 1, session_id => pg_temp.s(n));
CREATE FUNCTION pg_temp.shown() RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' | ', current_user,
		(SELECT count(*) FROM session_files.session_progress) || ' in session_progress', (SELECT count(*) FROM session_files.leases) || ' leases', (SELECT count(*) FROM session_files.workers) || ' workers',
		'lists', pg_temp.try($q$SELECT session_files.get_session_files('one', pg_temp.s(1), "limit" => 0)::json -> 'total' AS one$q$),
		(session_files.handle_request('GET', '/api/v1/workspaces/two/upload_sessions/' || pg_temp.s(2) || '/files')).status)
$$;
SET ROLE regress_none;
SELECT pg_temp.shown();
SET ROLE regress_lister;
SELECT pg_temp.shown();
SET ROLE regress_uploader;
SELECT pg_temp.shown();
SET ROLE regress_worker;
SELECT pg_temp.shown();
SET ROLE regress_watcher;
SELECT pg_temp.shown();
SET ROLE regress_keeper;
SELECT pg_temp.shown();
SET ROLE regress_member;
SELECT pg_temp.shown();
SET ROLE regress_noinherit;
SELECT pg_temp.shown();
SET ROLE regress_every;
SELECT pg_temp.shown();
SET ROLE regress_bypass;
SELECT pg_temp.shown();
RESET ROLE;
SELECT regexp_replace(pg_temp.shown(), '^\w+', 'superuser');

-- Each function, with a session that may not be seen (2) and with one that is not there (9): the same words.
INSERT INTO calls (call) VALUES
	($$session_files.get_session_files('two', pg_temp.s(%1$s), after => pg_temp.f(1))$$),
	($$session_files.get_session_files('two', pg_temp.s(%1$s), before => pg_temp.f(7))$$),
	($$session_files.claim_files('w', session_id => pg_temp.s(%1$s), workspace_name => 'one')$$),
	($$session_files.session_progress WHERE session_id = pg_temp.s(%1$s)$$),
	($$session_files.leases WHERE session_id = pg_temp.s(%1$s)$$);
SET ROLE regress_one;
SELECT n, replace(hidden, pg_temp.s(2)::text, 'ID') = replace(missing, pg_temp.s(9)::text, 'ID') AS same, replace(hidden, pg_temp.s(2)::text, 'ID')
	FROM calls, LATERAL (SELECT pg_temp.try('SELECT * FROM ' || format(call, 2, 'two')) AS hidden, pg_temp.try('SELECT * FROM ' || format(call, 9, 'two')) AS missing OFFSET 0) AS tried
	WHERE call ~ '%1' ORDER BY n;
SELECT pg_temp.try(format($$SELECT * FROM session_files.claim_files('w', workspace_name => %L)$$, name)) FROM unnest('{two,nowhere}'::text[]) name;
SELECT pg_temp.try(format($$SELECT * FROM session_files.create_session(%L)$$, name)) FROM unnest('{two,nowhere}'::text[]) name;
-- And nothing has changed.
RESET ROLE;
SELECT session_id, status, total, pending, claimed FROM session_files.session_progress ORDER BY 1;

-- The predicates of the policies, also of what is not there.
SET ROLE regress_one;
SELECT left(name, 10), session_files._may_see_workspace(name) FROM (VALUES ('one'), ('two'), ('nowhere'), (''), (repeat('x', 10000)), (NULL)) v (name);
SELECT n, session_files._may_see_session(pg_temp.s(n)) FROM generate_series(1, 9, 1) n WHERE n IN (1, 2, 9);
SELECT session_files._may_see_session(NULL) IS NULL AS null_for_null;
SET ROLE regress_worker;
SELECT kinds, session_files._has_kind(pg_temp.s(1), kinds::session_files.grant_kind[]) FROM unnest('{"{}","{worker}","{keeper,worker}","{keeper,watcher}"}'::text[]) AS kinds;
SELECT pg_temp.try($$SELECT session_files._has_kind(pg_temp.s(1), '{worker,NULL}')$$);
SET ROLE regress_every;
SELECT name, session_files._may_see_workspace(name) FROM (VALUES ('one'), ('nowhere')) v (name);
RESET ROLE;

-- Plain statements, for a role to which an administrator granted them: in workspaces of which it has a grant, of any kind.
CREATE ROLE regress_plain;
SELECT session_files.grant_workspace('regress_plain', 'one', 'worker');
GRANT SELECT, INSERT, UPDATE, DELETE ON session_files.workspaces, session_files.upload_sessions, session_files.files, session_files.file_queue, session_files.file_counts,
	session_files.workspace_grants TO regress_plain, regress_none, regress_every;
CREATE FUNCTION pg_temp.seen() RETURNS text LANGUAGE sql AS $$
	SELECT concat_ws(' | ', current_user, (SELECT string_agg(name, ' ' ORDER BY name) FROM session_files.workspaces),
		(SELECT count(*) FROM session_files.upload_sessions) || ' sessions', (SELECT count(*) FROM session_files.files) || ' files',
		(SELECT count(*) FROM session_files.file_queue) || ' queue rows', (SELECT count(*) FROM session_files.file_counts) || ' counts',
		(SELECT count(*) FROM session_files.workspace_grants) || ' grants')
$$;
SET ROLE regress_none;
SELECT pg_temp.seen();
SET ROLE regress_every;
SELECT pg_temp.seen();
SET ROLE regress_plain;
SELECT pg_temp.seen();
SELECT pg_temp.run(format(call, 2)) AS hidden, pg_temp.run(format(call, 9)) AS missing FROM (VALUES
	(1, $$INSERT INTO session_files.files (session_id, name) VALUES (pg_temp.s(%1$s), 'f1')$$),
	(2, $$INSERT INTO session_files.files (session_id, name) VALUES (pg_temp.s(%1$s), 'f1') ON CONFLICT DO NOTHING$$),
	(3, $$UPDATE session_files.files SET ingestion_status = 'FINISHED' WHERE session_id = pg_temp.s(%1$s)$$),
	(4, $$UPDATE session_files.files SET session_id = pg_temp.s(%1$s) WHERE session_id = pg_temp.s(1)$$),
	(5, $$DELETE FROM session_files.files WHERE session_id = pg_temp.s(%1$s)$$),
	(6, $$UPDATE session_files.upload_sessions SET status = 'CLOSED' WHERE session_id = pg_temp.s(%1$s)$$),
	(7, $$DELETE FROM session_files.upload_sessions WHERE session_id = pg_temp.s(%1$s)$$),
	(8, $$DELETE FROM session_files.file_queue WHERE session_id = pg_temp.s(%1$s)$$),
	(9, $$UPDATE session_files.file_counts SET pending = 7 WHERE session_id = pg_temp.s(%1$s)$$),
	(10, $$SELECT FROM session_files.files WHERE session_id = pg_temp.s(%1$s)$$),
	(11, $$SELECT FROM session_files.upload_sessions WHERE session_id = pg_temp.s(%1$s) FOR UPDATE$$)) AS v (n, call) ORDER BY n;
SELECT pg_temp.run(format(call, 'two')) AS hidden, pg_temp.run(format(call, 'nowhere')) AS missing FROM (VALUES
	(1, $$INSERT INTO session_files.upload_sessions (workspace_name) VALUES ('%s')$$),
	(2, $$UPDATE session_files.upload_sessions SET workspace_name = '%s'$$),
	(3, $$UPDATE session_files.workspaces SET name = 'mine' WHERE name = '%s'$$),
	(4, $$DELETE FROM session_files.workspaces WHERE name = '%s'$$),
	(5, $$INSERT INTO session_files.workspace_grants (role, workspace_name, kind) VALUES ('regress_plain', '%s', 'keeper')$$)) AS v (n, call) ORDER BY n;
-- The tables of the extension's own code show nothing, and take nothing, even then.
SELECT pg_temp.run($$INSERT INTO session_files.workspace_grants (role, kind) VALUES ('regress_plain', 'keeper')$$);
SELECT pg_temp.run($$INSERT INTO session_files.file_queue (session_id, workspace_name, due_at, file_ingestion_ids, generation) VALUES (pg_temp.s(1), 'one', now(), ARRAY[pg_temp.f(1)], 0)$$);
SELECT pg_temp.run($$INSERT INTO session_files.workspaces VALUES ('mine')$$);
SELECT pg_temp.run($$UPDATE session_files.workspaces SET name = 'two' WHERE name = 'one'$$);
-- What may be seen can be worked with; totals and queue follow.
SELECT pg_temp.run($$INSERT INTO session_files.files (session_id, name) VALUES (pg_temp.s(1), 'f4')$$);
WITH s AS (INSERT INTO session_files.upload_sessions (session_id, workspace_name) VALUES (pg_temp.s(4), 'one') RETURNING session_id)
	INSERT INTO session_files.files (session_id, name) SELECT session_id, 'with its session' FROM s RETURNING name;
-- Also with functions, in one statement.
WITH s AS (INSERT INTO session_files.upload_sessions (session_id, workspace_name) VALUES (pg_temp.s(6), 'one') RETURNING session_id)
	SELECT count(*) FROM s, session_files.claim_files('w', session_id => s.session_id);
-- Claims of any session pass over what may not be seen, wherever they begin; each session has its turn.
SELECT name FROM session_files.claim_files('w', 1) UNION ALL SELECT name FROM session_files.claim_files('w', 1) ORDER BY 1;
SELECT count(*), count(DISTINCT session_id) FROM session_files.claim_files('w');
RESET ROLE;
SELECT worker, sessions FROM session_files.workers;
SELECT count(*) AS left_of_two FROM session_files.claim_files('w');

-- The trigger function serves its own triggers only.
CREATE TEMP TABLE foreign_table (name text);
CREATE TRIGGER a AFTER INSERT ON foreign_table FOR EACH STATEMENT EXECUTE FUNCTION session_files._report_grants();
INSERT INTO foreign_table VALUES ('two');

-- A workspace that is renamed stays granted; one that is deleted and created again does not.
UPDATE session_files.workspaces SET name = 'uno' WHERE name = 'one';
SET ROLE regress_plain;
SELECT string_agg(name, ' ') FROM session_files.workspaces;
SELECT session_files.get_session_files('uno', pg_temp.s(4), "limit" => 0);
RESET ROLE;
UPDATE session_files.workspaces SET name = 'one' WHERE name = 'uno';
SELECT session_files.grant_workspace('regress_plain', 'unused');
DELETE FROM session_files.workspaces WHERE name = 'unused';
INSERT INTO session_files.workspaces VALUES ('unused');
SET ROLE regress_plain;
SELECT string_agg(name, ' ') FROM session_files.workspaces;
RESET ROLE;

-- In one transaction: what is granted and revoked counts at once, and is undone with it.
BEGIN;
SET LOCAL ROLE regress_none;
SELECT session_files._may_see_session(pg_temp.s(1));
RESET ROLE;
SELECT session_files.grant_workspace('regress_none', 'one');
SET LOCAL ROLE regress_none;
SELECT session_files._may_see_session(pg_temp.s(1)), session_files.get_session_files('one', pg_temp.s(1), "limit" => 0);
RESET ROLE;
SAVEPOINT a;
SELECT session_files.revoke_workspace('regress_none', 'one');
SET LOCAL ROLE regress_none;
SELECT session_files._may_see_session(pg_temp.s(1));
ROLLBACK TO a;
SET LOCAL ROLE regress_none;
SELECT session_files._may_see_session(pg_temp.s(1));
ROLLBACK;
SET ROLE regress_none;
SELECT session_files._may_see_session(pg_temp.s(1));
RESET ROLE;
BEGIN;
SET LOCAL ROLE regress_one;
SELECT session_files._may_see_session(pg_temp.s(1));
RESET ROLE;
TRUNCATE session_files.workspace_grants;
SET LOCAL ROLE regress_one;
SELECT session_files._may_see_session(pg_temp.s(1));
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
		RAISE NOTICE '%', session_files._may_see_session(pg_temp.s(4));
	END LOOP;
END
$$;

-- Membership; roles that become able to see all, and no more; a role that is dropped.
GRANT regress_one TO regress_none;
SET ROLE regress_none;
SELECT session_files._may_see_session(pg_temp.s(1));
RESET ROLE;
REVOKE regress_one FROM regress_none;
SET ROLE regress_none;
SELECT session_files._may_see_session(pg_temp.s(1));
RESET ROLE;
ALTER ROLE regress_none BYPASSRLS;
SET ROLE regress_none;
SELECT session_files._may_see_session(pg_temp.s(1)), session_files.get_session_files('one', pg_temp.s(1), "limit" => 0);
RESET ROLE;
ALTER ROLE regress_none NOBYPASSRLS;
SET ROLE regress_none;
SELECT session_files._may_see_session(pg_temp.s(1)), pg_temp.try($$SELECT session_files.get_session_files('one', pg_temp.s(1), "limit" => 0)$$);
RESET ROLE;
CREATE ROLE regress_gone;
SELECT session_files.grant_workspace('regress_gone', 'one');
DROP ROLE regress_gone;
SET ROLE regress_none;
SELECT session_files._may_see_session(pg_temp.s(1));
RESET ROLE;
SELECT count(*) AS without_role FROM session_files.workspace_grants WHERE role NOT IN (SELECT oid FROM pg_roles);
SELECT session_files.revoke_workspace(role, 'one') FROM session_files.workspace_grants WHERE role NOT IN (SELECT oid FROM pg_roles);
SELECT count(*) AS without_role FROM session_files.workspace_grants WHERE role NOT IN (SELECT oid FROM pg_roles);
-- To revoke every workspace leaves those by name, and the other way round.
SELECT session_files.grant_workspace('regress_every', 'one'), session_files.revoke_workspace('regress_every', NULL);
SET ROLE regress_every;
SELECT session_files._may_see_session(pg_temp.s(1)), session_files._may_see_session(pg_temp.s(2));
RESET ROLE;
SELECT session_files.grant_workspace('regress_every', NULL, 'worker'), session_files.revoke_workspace('regress_every', 'one');
SET ROLE regress_every;
SELECT session_files._may_see_session(pg_temp.s(1)), session_files._may_see_session(pg_temp.s(2));
RESET ROLE;

-- Which workspaces a role may claim in follows its grants: of one kind, of several roles, of all.
SELECT session_files.revoke_workspace('regress_none', 'one');
UPDATE session_files.file_queue SET due_at = '2020-01-01 00:00+00' WHERE lease_token IS NOT NULL;
CREATE FUNCTION pg_temp.claimed() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	claimed text;
BEGIN
	SELECT string_agg(DISTINCT right(session_id::text, 1), ' ') INTO claimed FROM session_files.claim_files('w', 100);
	RAISE EXCEPTION USING ERRCODE = 'UNDO0', MESSAGE = coalesce(claimed, 'nothing');
EXCEPTION
	WHEN SQLSTATE 'UNDO0' THEN RETURN SQLERRM;
	WHEN insufficient_privilege THEN RETURN SQLSTATE;
END
$$;
-- No lease that was lost, whose files would be claimed apart.
UPDATE session_files.file_queue SET lease_token = NULL, worker = NULL, company = NULL;
SET ROLE regress_none;
SELECT pg_temp.claimed();
RESET ROLE;
SELECT session_files.grant_workspace('regress_none', 'one', 'watcher');
SET ROLE regress_none;
SELECT pg_temp.claimed();
RESET ROLE;
SELECT session_files.grant_workspace('regress_none', 'one', 'worker'), session_files.grant_workspace('regress_none', 'one', 'keeper');
SET ROLE regress_none;
SELECT pg_temp.claimed();
RESET ROLE;
SELECT session_files.grant_workspace('regress_lister', 'two', 'keeper');
GRANT regress_lister TO regress_none;
SET ROLE regress_none;
SELECT pg_temp.claimed();
RESET ROLE;
REVOKE regress_lister FROM regress_none;
SELECT session_files.revoke_workspace('regress_lister', 'two'), session_files.revoke_workspace('regress_none', 'one'), session_files.grant_workspace('regress_none', NULL, 'worker');
SET ROLE regress_none;
SELECT pg_temp.claimed();
RESET ROLE;
SELECT session_files.revoke_workspace('regress_none', NULL);

-- Other policies on upload_sessions decide besides the grants, by a query as the role, which needs SELECT; on files and workspaces, they cannot
-- be applied by a function.
ALTER POLICY visible_workspaces ON session_files.upload_sessions USING (workspace_name = current_setting('request.jwt.claims', true)::json ->> 'workspace');
SELECT session_files.grant_workspace('regress_none', NULL, 'worker'), session_files.grant_workspace('regress_none', NULL, 'uploader');
SET request.jwt.claims = '{"workspace":"one"}';
SET ROLE regress_none;
SELECT count(DISTINCT session_id) > 1 AS sees_sessions FROM session_files.upload_sessions WHERE workspace_name = 'one';
SELECT session_files.get_session_files('one', pg_temp.s(1), "limit" => 0);
SELECT count(*) > 0 AS sees_files FROM session_files.files WHERE session_id = pg_temp.s(1);
SELECT count(*) FROM session_files.finish_files(pg_temp.s(1), ARRAY[pg_temp.f(1)]);
SELECT pg_temp.claimed();
BEGIN;
SELECT session_files.create_session('one') IS NOT NULL AS created;
ROLLBACK;
SELECT pg_temp.try($$SELECT session_files.get_session_files('two', pg_temp.s(2))$$) = pg_temp.try($$SELECT session_files.get_session_files('two', pg_temp.s(9))$$) AS same;
SELECT pg_temp.try($$SELECT session_files.close_session(pg_temp.s(2))$$) = pg_temp.try($$SELECT session_files.close_session(pg_temp.s(9))$$) AS same;
SELECT left(pg_temp.try($$SELECT session_files.create_session('two')$$), 24);
SET request.jwt.claims = '{"workspace":"two"}';
SELECT pg_temp.try($$SELECT session_files.get_session_files('one', pg_temp.s(1), "limit" => 0)$$);
SELECT session_files.get_session_files('two', pg_temp.s(2), "limit" => 0);
RESET ROLE;
-- Without the grant, or the privilege.
SELECT session_files.revoke_workspace('regress_none', NULL, 'uploader');
SET ROLE regress_none;
SELECT pg_temp.try($$SELECT session_files.close_session(pg_temp.s(2))$$);
RESET ROLE;
SELECT session_files.revoke_workspace('regress_none', NULL);
SET ROLE regress_none;
SELECT pg_temp.try($$SELECT session_files.close_session(pg_temp.s(2))$$);
RESET ROLE;
SET ROLE regress_one;
SELECT pg_temp.try($$SELECT session_files.close_session(pg_temp.s(1))$$);
RESET ROLE;
RESET request.jwt.claims;
ALTER POLICY visible_workspaces ON session_files.upload_sessions USING (session_files._may_see_workspace(workspace_name));
CREATE POLICY closed ON session_files.upload_sessions AS RESTRICTIVE USING (status = 'CLOSED');
SET ROLE regress_plain;
SELECT pg_temp.try($$SELECT session_files.get_session_files('one', pg_temp.s(1), "limit" => 0)$$);
SELECT pg_temp.claimed();
RESET ROLE;
DROP POLICY closed ON session_files.upload_sessions;
CREATE POLICY short_names ON session_files.files AS RESTRICTIVE USING (length(name) < 3);
SET ROLE regress_one;
SELECT session_files.get_session_files('one', pg_temp.s(1), "limit" => 0);
SELECT (session_files.handle_request('GET', '/api/v1/workspaces/one/upload_sessions/' || pg_temp.s(1) || '/files')).*;
SELECT * FROM session_files.claim_files('w');
SELECT session_files.close_session(pg_temp.s(1));
RESET ROLE;
SELECT session_files.get_session_files('one', pg_temp.s(1), "limit" => 0);
DROP POLICY short_names ON session_files.files;
-- For other roles they are as if they were not there.
CREATE POLICY for_one ON session_files.upload_sessions AS RESTRICTIVE TO regress_lister USING (false);
CREATE POLICY for_another ON session_files.files AS RESTRICTIVE TO regress_watcher, regress_worker USING (false);
SET ROLE regress_lister;
SELECT pg_temp.try($$SELECT session_files.get_session_files('one', pg_temp.s(1), "limit" => 0)$$);
SET ROLE regress_worker;
SELECT session_files.get_session_files('one', pg_temp.s(1), "limit" => 0);
SET ROLE regress_one;
SELECT session_files.get_session_files('one', pg_temp.s(1), "limit" => 0);
SELECT pg_temp.claimed();
RESET ROLE;
DROP POLICY for_one ON session_files.upload_sessions;
DROP POLICY for_another ON session_files.files;
CREATE POLICY other ON session_files.workspaces AS RESTRICTIVE USING (name <> 'one');
SET ROLE regress_one;
SELECT session_files.create_session('one');
RESET ROLE;
DROP POLICY other ON session_files.workspaces;
-- A policy that calls the same function of another column is another one.
ALTER POLICY visible_sessions ON session_files.files USING (session_files._may_see_session(file_ingestion_id));
SET ROLE regress_one;
SELECT session_files.get_session_files('one', pg_temp.s(1), "limit" => 0);
RESET ROLE;
ALTER POLICY visible_sessions ON session_files.files USING (session_files._may_see_session(session_id));
-- The owner needs no grant, forced or not. It executes the functions that the public ones call.
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
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA session_files TO regress_owner;
SET ROLE regress_owner;
SELECT session_files._may_see_session(pg_temp.s(2)), session_files.get_session_files('two', pg_temp.s(2), "limit" => 0);
SELECT count(*) FROM session_files.check() WHERE broken > 0;
ALTER TABLE session_files.upload_sessions FORCE ROW LEVEL SECURITY;
ALTER TABLE session_files.file_counts FORCE ROW LEVEL SECURITY;
SELECT session_files._may_see_session(pg_temp.s(2)), session_files.get_session_files('two', pg_temp.s(2), "limit" => 0);
SELECT count(*) FROM session_files.check() WHERE broken > 0;
ALTER TABLE session_files.upload_sessions NO FORCE ROW LEVEL SECURITY;
ALTER TABLE session_files.file_counts NO FORCE ROW LEVEL SECURITY;
SET ROLE regress_uploader;
SELECT name FROM session_files.register_files(pg_temp.s(1), '{owned}');
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
SET ROLE regress_owner;
SELECT session_files._may_see_session(pg_temp.s(2));
RESET ROLE;
DROP OWNED BY regress_owner;
-- Without policies, a table shows nothing; without row level security, plain SQL sees everything, and functions still ask the grants.
BEGIN;
DROP POLICY visible_workspaces ON session_files.upload_sessions;
SET LOCAL ROLE regress_every;
SELECT pg_temp.try($$SELECT session_files.get_session_files('two', pg_temp.s(2), "limit" => 0)$$);
ROLLBACK;
BEGIN;
SELECT format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY', oid::regclass) FROM pg_class WHERE relnamespace = 'session_files'::regnamespace AND relkind = 'r' ORDER BY relname COLLATE "C" \gexec
SET LOCAL ROLE regress_none;
SELECT count(*) > 0 AS sees_files FROM session_files.files;
SELECT pg_temp.try($$SELECT session_files.get_session_files('two', pg_temp.s(2), "limit" => 0)$$), pg_temp.try($$SELECT session_files.close_session(pg_temp.s(2))$$),
	pg_temp.claimed(), pg_temp.try('SELECT session_files.maintain()'), pg_temp.try('SELECT session_files.check()'), (SELECT count(*) FROM session_files.session_progress);
ROLLBACK;

-- What a superuser runs for a role is that role's: an index expression, by REINDEX and ANALYZE; a function with the rights of its owner.
GRANT CREATE ON SCHEMA public TO regress_none;
SET ROLE regress_none;
CREATE FUNCTION public.steal(number int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
	statement text;
BEGIN
	FOREACH statement IN ARRAY ARRAY['create_workspace(''stolen'')', 'grant_workspace(''regress_none'', NULL, ''keeper'')', 'close_session(''00000000-0000-7000-8000-000000000002'')',
			'claim_files(''thief'', 1, workspace_name => ''two'')', 'claim_files(''thief'', 1)', 'maintain()', 'check()'] LOOP
		BEGIN
			EXECUTE 'SELECT * FROM session_files.' || statement;
			RAISE NOTICE '% may %', current_user, statement;
		EXCEPTION WHEN OTHERS THEN
			RAISE NOTICE '% may not %: %', current_user, statement, SQLSTATE;
		END;
	END LOOP;
	RETURN number;
END
$$;
CREATE TABLE public.bait AS SELECT 1 AS number;
SET client_min_messages = warning;
CREATE INDEX bait_idx ON public.bait (public.steal(number));
CREATE FUNCTION public.definer() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT public.steal(1)';
RESET client_min_messages;
RESET ROLE;
REINDEX TABLE public.bait;
ANALYZE public.bait;
SELECT public.definer();
SET client_min_messages = warning;
DROP TABLE public.bait;
DROP FUNCTION public.definer, public.steal;
RESET client_min_messages;
REVOKE CREATE ON SCHEMA public FROM regress_none;

-- In parallel workers too.
BEGIN;
SET LOCAL parallel_setup_cost = 0;
SET LOCAL parallel_tuple_cost = 0;
SET LOCAL min_parallel_table_scan_size = 0;
SELECT set_config(CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'debug_parallel_query' ELSE 'force_parallel_mode' END, 'on', true);
SET LOCAL ROLE regress_plain;
SELECT count(DISTINCT session_id) FROM session_files.files;
SELECT session_files.get_session_files('one', pg_temp.s(1), "limit" => 0);
SELECT session_files._may_see_session('00000000-0000-7000-8000-000000000009');
ROLLBACK;

SET client_min_messages = warning;
DROP TABLE foreign_table;
DELETE FROM session_files.upload_sessions;
DELETE FROM session_files.workspaces;
DELETE FROM session_files.workspace_grants;
DROP OWNED BY regress_plain, regress_none, regress_every;
DROP ROLE regress_owner, regress_plain, regress_lister, regress_uploader, regress_worker, regress_watcher, regress_keeper, regress_one, regress_none, regress_every, regress_member,
	regress_noinherit, regress_bypass;
