-- What a role needs that registers the files of a session and closes it, as upload.py beside this file does, and what one needs that
-- judges them, as worker.py does. Run by psql as a superuser, in the database that has the extension, with a name for either or both;
-- they may be the same: psql --set=uploader=NAME --set=worker=NAME --file=worker.sql
-- Sessions are opened by others. With --set=workspace=NAME, which is there already, they see that one; without it, every workspace.

\set ON_ERROR_STOP on
BEGIN;
\if :{?workspace}
\else
\set workspace ''
\endif
\if :{?uploader}
GRANT USAGE ON SCHEMA session_files TO :"uploader";
-- With UPDATE it also locks the session, so that no other transaction closes it while files are registered.
GRANT SELECT, UPDATE (status) ON session_files.upload_sessions TO :"uploader";
GRANT SELECT, INSERT ON session_files.files TO :"uploader";
GRANT EXECUTE ON FUNCTION
	session_files.register_files, session_files.close_session, session_files._lock_session, session_files.uuid7, session_files.name_key, session_files.locate_names
	TO :"uploader";
SELECT session_files.grant_workspace(quote_ident(:'uploader')::regrole, nullif(:'workspace', ''));
\endif
\if :{?worker}
GRANT USAGE ON SCHEMA session_files TO :"worker";
GRANT SELECT ON session_files.upload_sessions, session_files.workspaces, session_files.session_progress TO :"worker";
GRANT SELECT, UPDATE ON session_files.files TO :"worker";
GRANT SELECT, INSERT, UPDATE, DELETE ON session_files.file_queue TO :"worker";
GRANT EXECUTE ON FUNCTION
	session_files.claim_files, session_files.extend_lease, session_files.release_files, session_files.finish_files, session_files.fail_files,
	session_files.settle_files, session_files.name_key, session_files.locate_ids, session_files.take_batches, session_files.leave_lease,
	session_files.check_lease, session_files.sort_ids, session_files.pick_ids, session_files.retry_at, session_files.notify_work,
	session_files.uuid7_time
	TO :"worker";
SELECT session_files.grant_workspace(quote_ident(:'worker')::regrole, nullif(:'workspace', ''));
\endif
COMMIT;
