-- What the extension promises to those who write SQL against it: types, tables, keys, signatures.
BEGIN;
CREATE EXTENSION IF NOT EXISTS pgtap;
SELECT no_plan();

SELECT has_extension('session_files');
SELECT enum_has_labels('session_files', 'ingestion_status', ARRAY['FAILED', 'FINISHED', 'PENDING']);
SELECT enum_has_labels('session_files', 'ingestion_status_reason', ARRAY['EMPTY_FILE', 'FAILED_TO_PARSE_META',
	'FILE NAME TOO LONG. MAX LENGTH IS 800', 'FILE_ALREADY_EXISTS', 'FILE_NOT_FOUND', 'INGESTING_FILE_FAILED', 'SLOWDOWN', 'UNKNOWN_ERROR']);
SELECT enum_has_labels('session_files', 'session_status', ARRAY['CLOSED', 'EXPIRED', 'OPEN']);
SELECT enum_has_labels('session_files', 'write_mode', ARRAY['FAIL', 'KEEP', 'OVERWRITE']);
SELECT is_empty($$
	SELECT t.typname, e.enumlabel FROM pg_type t JOIN pg_enum e ON e.enumtypid = t.oid
		JOIN pg_enum f ON f.enumtypid = t.oid AND (e.enumsortorder < f.enumsortorder) <> (e.enumlabel::text COLLATE "C" < f.enumlabel::text COLLATE "C")
			AND e.oid <> f.oid
	WHERE t.typnamespace = 'session_files'::regnamespace $$, 'enum order is the order of the labels by bytes');

SELECT tables_are('session_files', ARRAY['workspaces', 'upload_sessions', 'files', 'file_counts', 'file_queue', 'file_deletions', 'workspace_grants']);
SELECT columns_are('session_files', 'workspaces', ARRAY['name', 'created_at']);
SELECT columns_are('session_files', 'upload_sessions', ARRAY['session_id', 'workspace_name', 'status', 'write_mode', 'created_at', 'expires_at']);
SELECT columns_are('session_files', 'files', ARRAY['session_id', 'file_ingestion_id', 'ingestion_status', 'ingestion_status_reason', 'name', 'retries']);
SELECT views_are('session_files', ARRAY['session_progress', 'leases', 'workers']);
SELECT col_is_pk('session_files', 'files', ARRAY['session_id', 'file_ingestion_id'], 'files has its primary key');
SELECT fk_ok('session_files', 'files', 'session_id', 'session_files', 'upload_sessions', 'session_id');
SELECT fk_ok('session_files', 'upload_sessions', 'workspace_name', 'session_files', 'workspaces', 'name');
SELECT indexes_are('session_files', 'files', ARRAY['files_pkey', 'files_status_idx', 'files_reason_idx', 'files_name_idx', 'files_status_name_idx']);
SELECT index_is_unique('session_files', 'files', 'files_name_idx');
SELECT fk_ok('session_files', 'workspace_grants', 'workspace_name', 'session_files', 'workspaces', 'name');
SELECT is_empty($$ SELECT c.oid::regclass FROM pg_class c WHERE relnamespace = 'session_files'::regnamespace AND relkind = 'r' AND NOT
	(relrowsecurity AND EXISTS (SELECT FROM pg_policy WHERE polrelid = c.oid)) $$, 'no table is without row level security, and a policy');
SELECT is_empty($$ SELECT c.oid::regclass FROM pg_class c WHERE relnamespace = 'session_files'::regnamespace AND relkind = 'v'
	AND NOT coalesce(reloptions @> '{security_barrier=true}', false) $$, 'no view lets a function look at what it hides');
SELECT indexes_are('session_files', 'file_queue', ARRAY['file_queue_due_idx', 'file_queue_lease_idx']);

SELECT function_returns('session_files', 'get_session_files', ARRAY['text', 'uuid', 'text', 'bigint', 'uuid', 'uuid', 'bigint', 'text', 'text'], 'json');
SELECT volatility_is('session_files', 'get_session_files', ARRAY['text', 'uuid', 'text', 'bigint', 'uuid', 'uuid', 'bigint', 'text', 'text'], 'stable');
SELECT function_returns('session_files', 'handle_request', ARRAY['text', 'text', 'json', 'bytea'], 'session_files.http_response');
SELECT volatility_is('session_files', 'handle_request', ARRAY['text', 'text', 'json', 'bytea'], 'stable');
SELECT functions_are('session_files', ARRAY['uuid7', 'uuid7_time', 'name_key', 'get_session_files', 'handle_request', 'create_workspace',
	'create_session', 'register_files', 'locate_ids', 'locate_names', 'settle_files', 'finish_files', 'fail_files', 'close_session', 'fail_long_name', 'count_changes', '_announce_done', 'session_cleanup',
	'default_expiry', 'retained_since', 'retry_at', 'queue_files', 'pick_ids', 'notify_work', 'notify_end', 'sort_ids', 'take_batches', 'check_lease',
	'claim_files', 'list_session_files', 'session_counts', 'leave_lease', 'extend_lease', 'release_files', 'retry_failed', 'expire_files', 'maintain', 'may_see_workspace', 'may_see_session', 'grant_workspace', 'revoke_workspace', 'report_grants', 'grant_creator', 'check', 'repair', 'file_digest', 'require_all_rows', 'count_errors', 'unqueued_files', 'files_queued_twice', 'rule_breaks', 'missing_guards']);
SELECT is_empty($$ SELECT p.oid::regprocedure FROM pg_proc p WHERE pronamespace = 'session_files'::regnamespace AND prosecdef $$,
	'no function runs with the rights of its owner');
SELECT is_empty($$ SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
	WHERE pronamespace = 'session_files'::regnamespace AND l.lanname <> 'c'
		AND NOT coalesce(proconfig, '{}') @> ARRAY['search_path=pg_catalog, pg_temp'] $$,
	'no function that is written in SQL looks names up by the caller''s search_path');

SELECT * FROM finish();
ROLLBACK;
