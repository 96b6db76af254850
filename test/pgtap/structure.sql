-- What the extension promises to those who write SQL against it: types, tables, keys, signatures.
BEGIN;
CREATE EXTENSION IF NOT EXISTS pgtap;
SELECT no_plan();

SELECT has_extension('session_files');
SELECT enum_has_labels('session_files', 'ingestion_status', ARRAY['FAILED', 'FINISHED', 'PENDING']);
SELECT enum_has_labels('session_files', 'ingestion_status_reason', ARRAY['EMPTY_FILE', 'FAILED_TO_PARSE_META',
	'FILE NAME TOO LONG. MAX LENGTH IS 800', 'FILE_ALREADY_EXISTS', 'FILE_NOT_FOUND', 'INGESTING_FILE_FAILED', 'SLOWDOWN', 'UNKNOWN_ERROR']);
SELECT enum_has_labels('session_files', 'session_status', ARRAY['CLOSED', 'EXPIRED', 'OPEN']);
SELECT enum_has_labels('session_files', 'grant_kind', ARRAY['keeper', 'lister', 'uploader', 'watcher', 'worker']);
SELECT enum_has_labels('session_files', 'write_mode', ARRAY['FAIL', 'KEEP', 'OVERWRITE']);
SELECT is_empty($$
	SELECT t.typname, e.enumlabel FROM pg_type t JOIN pg_enum e ON e.enumtypid = t.oid
		JOIN pg_enum f ON f.enumtypid = t.oid AND (e.enumsortorder < f.enumsortorder) <> (e.enumlabel::text COLLATE "C" < f.enumlabel::text COLLATE "C")
			AND e.oid <> f.oid
	WHERE t.typnamespace = 'session_files'::regnamespace $$, 'enum order is the order of the labels by bytes');

SELECT tables_are('session_files', ARRAY['workspaces', 'upload_sessions', 'files', 'file_counts', 'file_queue', 'workspace_grants']);
SELECT columns_are('session_files', 'workspaces', ARRAY['name', 'created_at', 'workspace_id']);
SELECT columns_are('session_files', 'upload_sessions', ARRAY['session_id', 'workspace_name', 'status', 'write_mode', 'created_at', 'expires_at', 'priority']);
SELECT columns_are('session_files', 'workspace_grants', ARRAY['grant_id', 'role', 'workspace_name', 'kind']);
SELECT columns_are('session_files', 'files', ARRAY['session_id', 'file_ingestion_id', 'ingestion_status', 'ingestion_status_reason', 'name', 'generation', 'name_hash', 'superseded_by', 'error',
	'size', 'type', 'location', 'metadata']);
SELECT views_are('session_files', ARRAY['session_progress', 'leases', 'workers']);
SELECT col_is_pk('session_files', 'files', ARRAY['session_id', 'file_ingestion_id'], 'files has its primary key');
SELECT fk_ok('session_files', 'files', 'session_id', 'session_files', 'upload_sessions', 'session_id');
SELECT fk_ok('session_files', 'upload_sessions', 'workspace_name', 'session_files', 'workspaces', 'name');
SELECT indexes_are('session_files', 'files', ARRAY['files_pkey', 'files_status_idx', 'files_reason_idx', 'files_name_hash_idx', 'files_name_idx', 'files_status_name_idx']);
SELECT index_is_unique('session_files', 'files', 'files_name_idx');
SELECT fk_ok('session_files', 'workspace_grants', 'workspace_name', 'session_files', 'workspaces', 'name');
SELECT is_empty($$ SELECT c.oid::regclass FROM pg_class c WHERE relnamespace = 'session_files'::regnamespace AND relkind = 'r' AND NOT relrowsecurity $$,
	'no table is without row level security');
SELECT set_eq($$ SELECT polrelid::regclass::text, polname::text FROM pg_policy $$, $$ VALUES ('session_files.workspaces', 'visible_workspaces'),
	('session_files.upload_sessions', 'visible_workspaces'), ('session_files.files', 'visible_sessions') $$, 'the tables for plain SQL have a policy, and no other');
SELECT is_empty($$ SELECT c.oid::regclass FROM pg_class c WHERE relnamespace = 'session_files'::regnamespace AND relkind = 'v'
	AND NOT coalesce(reloptions @> '{security_barrier=true}', false) $$, 'no view lets a function look at what it hides');
SELECT indexes_are('session_files', 'file_queue', ARRAY['file_queue_due_idx', 'file_queue_lease_idx', 'file_queue_new_idx', 'file_queue_pkey',
	'file_queue_returned_idx', 'file_queue_workspace_returned_idx']);

SELECT function_returns('session_files', 'get_session_files', ARRAY['text', 'uuid', 'text', 'bigint', 'uuid', 'uuid', 'bigint', 'text', 'text'], 'json');
SELECT volatility_is('session_files', 'get_session_files', ARRAY['text', 'uuid', 'text', 'bigint', 'uuid', 'uuid', 'bigint', 'text', 'text'], 'stable');
SELECT function_returns('session_files', 'handle_request', ARRAY['text', 'text', 'json', 'bytea'], 'session_files.http_response');
SELECT volatility_is('session_files', 'handle_request', ARRAY['text', 'text', 'json', 'bytea'], 'stable');
-- What begins with _ is the extension's own. So this is what the manual is about.
SELECT set_eq($$ SELECT DISTINCT proname::text FROM pg_proc WHERE pronamespace = 'session_files'::regnamespace AND proname !~ '^_' $$,
	ARRAY['cancel_session', 'check', 'claim_files', 'close_session', 'create_session', 'create_workspace', 'delete_files', 'delete_session',
		'extend_lease', 'extend_session', 'fail_files', 'finish_files', 'get_session_files', 'get_session_status', 'grant_workspace', 'handle_request',
		'list_session_files', 'maintain', 'register_files', 'release_files', 'reopen_session', 'repair', 'retry_failed', 'revoke_workspace',
		'session_counts', 'uuid7', 'uuid7_time'], 'the public functions');
SELECT is_empty($$ SELECT p.oid::regprocedure FROM pg_proc p WHERE pronamespace = 'session_files'::regnamespace AND prosecdef $$,
	'no function runs with the rights of its owner');
SELECT is_empty($$ SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
	WHERE pronamespace = 'session_files'::regnamespace AND l.lanname <> 'c'
		-- The others are called by src/as_owner.c, which sets it.
		AND (has_function_privilege('public', p.oid, 'EXECUTE') OR prorettype = 'trigger'::regtype)
		AND NOT coalesce(proconfig, '{}') @> ARRAY['search_path=pg_catalog, pg_temp'] $$,
	'no function that is written in SQL looks names up by the caller''s search_path');

SELECT * FROM finish();
ROLLBACK;
