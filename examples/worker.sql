-- What a role needs that registers files and settles them, as ingest.py beside this file does. Run by psql as a superuser, in the
-- database that has the extension, with the role's name: psql --set=worker=NAME --file=worker.sql
-- Sessions are opened and closed by others.

\set ON_ERROR_STOP on
BEGIN;
GRANT USAGE ON SCHEMA session_files TO :"worker";
-- UPDATE (expires_at) lets it lock a session, so that nobody closes it meanwhile.
GRANT SELECT, UPDATE (expires_at) ON session_files.upload_sessions TO :"worker";
GRANT SELECT, INSERT, UPDATE ON session_files.files TO :"worker";
GRANT EXECUTE ON FUNCTION
	session_files.register_files, session_files.finish_files, session_files.fail_files,
	session_files.settle_files, session_files.name_key, session_files.uuid7, session_files.locate_ids, session_files.locate_names
	TO :"worker";
COMMIT;
