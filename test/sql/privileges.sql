-- The grants that the README gives for each kind of role are enough, and each is needed.
\set VERBOSITY terse
\set SHOW_CONTEXT never
CREATE ROLE regress_lister;
CREATE ROLE regress_uploader;
CREATE ROLE regress_worker;
CREATE ROLE regress_watcher;
CREATE ROLE regress_keeper;
INSERT INTO session_files.workspaces VALUES ('privileges'), ('other');
INSERT INTO session_files.upload_sessions (session_id, workspace_name) VALUES ('00000000-0000-7000-8000-000000000001', 'privileges');
INSERT INTO session_files.files (session_id, file_ingestion_id, name) VALUES
	('00000000-0000-7000-8000-000000000001', '00000000-0000-7000-8000-0000000000a1', 'a'),
	('00000000-0000-7000-8000-000000000001', '00000000-0000-7000-8000-0000000000a2', 'b');

-- Without grants nobody gets anywhere.
SET ROLE regress_lister;
SELECT session_files.get_session_files('privileges', '00000000-0000-7000-8000-000000000001');
RESET ROLE;

-- As in the README.
GRANT USAGE ON SCHEMA session_files TO regress_lister, regress_uploader, regress_worker, regress_watcher, regress_keeper;
GRANT SELECT ON session_files.upload_sessions, session_files.files TO regress_lister;
GRANT EXECUTE ON FUNCTION session_files.get_session_files, session_files.handle_request TO regress_lister;
GRANT SELECT, INSERT ON session_files.workspaces, session_files.files TO regress_uploader;
GRANT SELECT, INSERT, UPDATE ON session_files.upload_sessions TO regress_uploader;
GRANT EXECUTE ON FUNCTION session_files.create_workspace, session_files.create_session, session_files.default_expiry,
	session_files.register_files, session_files.close_session, session_files.uuid7, session_files.name_key,
	session_files.locate_names TO regress_uploader;
GRANT SELECT, UPDATE ON session_files.files TO regress_worker;
GRANT EXECUTE ON FUNCTION session_files.finish_files, session_files.fail_files, session_files.settle_files, session_files.sort_ids,
	session_files.name_key, session_files.locate_ids TO regress_worker;

-- A workspace has to be granted, too.
SET ROLE regress_lister;
SELECT session_files.get_session_files('privileges', '00000000-0000-7000-8000-000000000001', "limit" => 0);
RESET ROLE;
SELECT session_files.grant_workspace('regress_lister', 'privileges');
SELECT session_files.grant_workspace('regress_worker', 'privileges');
SELECT session_files.grant_workspace('regress_watcher');
SELECT session_files.grant_workspace('regress_keeper');

SET ROLE regress_lister;
SELECT session_files.get_session_files('privileges', '00000000-0000-7000-8000-000000000001', "limit" => 0);
SELECT (session_files.handle_request('GET', '/api/v1/workspaces/privileges/upload_sessions/00000000-0000-7000-8000-000000000001/files?limit=0')).body;
SELECT * FROM session_files.finish_files('00000000-0000-7000-8000-000000000001', ARRAY['00000000-0000-7000-8000-0000000000a1']::uuid[]);
UPDATE session_files.files SET ingestion_status = 'FINISHED';
SELECT session_files.create_workspace('lister');
SELECT * FROM session_files.file_counts;

SET ROLE regress_worker;
SELECT * FROM session_files.finish_files('00000000-0000-7000-8000-000000000001', ARRAY['00000000-0000-7000-8000-0000000000a1']::uuid[]);
SELECT * FROM session_files.fail_files('00000000-0000-7000-8000-000000000001', ARRAY['00000000-0000-7000-8000-0000000000a2']::uuid[], 'EMPTY_FILE');
SELECT * FROM session_files.register_files('00000000-0000-7000-8000-000000000001', ARRAY['c']);
INSERT INTO session_files.files (session_id, name) VALUES ('00000000-0000-7000-8000-000000000001', 'c');
UPDATE session_files.file_counts SET pending = 0;
SELECT session_files.close_session('00000000-0000-7000-8000-000000000001');
SELECT * FROM session_files.claim_files('w');
RESET ROLE;
GRANT SELECT ON session_files.upload_sessions, session_files.workspaces TO regress_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON session_files.file_queue TO regress_worker;
GRANT EXECUTE ON FUNCTION session_files.claim_files, session_files.extend_lease, session_files.release_files,
	session_files.take_batches, session_files.leave_lease, session_files.check_lease,
	session_files.pick_ids, session_files.retry_at, session_files.notify_work, session_files.uuid7_time TO regress_worker;
GRANT SELECT ON session_files.session_progress, session_files.leases, session_files.workers TO regress_watcher;
INSERT INTO session_files.files (session_id, file_ingestion_id, name)
	SELECT '00000000-0000-7000-8000-000000000001', ('00000000-0000-7000-8000-0000000000b' || n)::uuid, 'b' || n FROM generate_series(1, 4) n;
SET ROLE regress_worker;
SELECT file_ingestion_id, name, lease_token AS t FROM session_files.claim_files('w', 1) \gset
SELECT name, attempt FROM session_files.claim_files('w', 1, workspace => 'privileges');
SELECT lease_expires_at > now() AS extended FROM session_files.extend_lease('00000000-0000-7000-8000-000000000001', ARRAY[:'file_ingestion_id']::uuid[], :'t');
SELECT * FROM session_files.release_files('00000000-0000-7000-8000-000000000001', ARRAY[:'file_ingestion_id']::uuid[], :'t');
SELECT file_ingestion_id, name, lease_token AS t FROM session_files.claim_files('w', 1) \gset
-- For longer than this test takes.
SET session_files.retry_delay = '5 min';
SELECT ingestion_status, changed, retry_at > now() AS later
	FROM session_files.fail_files('00000000-0000-7000-8000-000000000001', ARRAY[:'file_ingestion_id']::uuid[], 'SLOWDOWN', :'t');
SELECT file_ingestion_id, name, lease_token AS t FROM session_files.claim_files('w', 1) \gset
SELECT * FROM session_files.finish_files('00000000-0000-7000-8000-000000000001', ARRAY[:'file_ingestion_id']::uuid[], :'t');
SELECT session_files.retry_failed('00000000-0000-7000-8000-000000000001');
SELECT * FROM session_files.maintain();
SELECT * FROM session_files.session_progress;
-- Claiming reads past the planner, so it checks rights itself.
RESET ROLE;
REVOKE SELECT ON session_files.upload_sessions FROM regress_worker;
SET ROLE regress_worker;
SELECT * FROM session_files.claim_files('w');
RESET ROLE;
GRANT SELECT ON session_files.upload_sessions TO regress_worker;
SET ROLE regress_watcher;
SELECT total, pending, claimed, put_off FROM session_files.session_progress;
SELECT worker, files FROM session_files.workers;
SELECT * FROM session_files.file_queue;

RESET ROLE;
GRANT SELECT, UPDATE, DELETE ON session_files.upload_sessions, session_files.files, session_files.file_queue TO regress_keeper;
GRANT EXECUTE ON FUNCTION session_files.maintain, session_files.expire_files, session_files.retained_since,
	session_files.retry_failed, session_files.locate_ids, session_files.name_key TO regress_keeper;
SET ROLE regress_keeper;
SELECT session_files.retry_failed('00000000-0000-7000-8000-000000000001');
UPDATE session_files.upload_sessions SET created_at = '2020-01-01', expires_at = '2020-01-02';
SELECT * FROM session_files.maintain();
SELECT session_files.close_session('00000000-0000-7000-8000-000000000001');
RESET ROLE;
UPDATE session_files.file_queue SET due_at = '2020-01-01';
SET session_files.session_retention = '1h';
SET ROLE regress_keeper;
SELECT * FROM session_files.maintain();
RESET session_files.session_retention;

SET ROLE regress_uploader;
SELECT session_files.create_workspace('uploader');
SELECT session_files.create_session('uploader') AS session \gset
SELECT name, ingestion_status FROM session_files.register_files(:'session', ARRAY['c', repeat('x', 801)]) WHERE length(name) = 1;
SELECT session_files.close_session(:'session');
UPDATE session_files.files SET ingestion_status = 'FINISHED';
DELETE FROM session_files.files;
TRUNCATE session_files.file_counts;

RESET ROLE;
SELECT failed, finished, pending FROM session_files.file_counts ORDER BY 1, 2, 3;
DELETE FROM session_files.upload_sessions;
DELETE FROM session_files.workspaces;
DELETE FROM session_files.workspace_grants;
DROP OWNED BY regress_lister, regress_uploader, regress_worker, regress_watcher, regress_keeper;
DROP ROLE regress_lister, regress_uploader, regress_worker, regress_watcher, regress_keeper;
