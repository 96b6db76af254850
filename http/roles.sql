-- The roles of both ways over HTTP, the server in PostgreSQL and PostgREST, and the extension, where it is not there yet. Run by psql as a
-- superuser, in the database that is served; can be run again.

\set ON_ERROR_STOP on
BEGIN;
SET LOCAL client_min_messages = warning;
DO $$
BEGIN
	IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
		RAISE EXCEPTION 'the role "%" is no superuser, and what serves HTTP is set up by one', current_user
			USING ERRCODE = 'insufficient_privilege';
	END IF;
END
$$;
CREATE EXTENSION IF NOT EXISTS session_files;

-- The HTTP workers, or PostgREST, log in as the authenticator, which can do nothing but become one of the roles granted to it.
SELECT 'CREATE ROLE session_files_authenticator LOGIN NOINHERIT'
	WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'session_files_authenticator')
\gexec

-- What a request without a token runs as. For requests with a token (a JWT with the claim "role"), grant further roles to the authenticator.
SELECT 'CREATE ROLE session_files_anonymous NOLOGIN'
	WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'session_files_anonymous')
\gexec
GRANT session_files_anonymous TO session_files_authenticator;

-- They hold for whatever role a request runs as. Who runs into one gets a 503.
ALTER ROLE session_files_authenticator SET lock_timeout = '2s';
ALTER ROLE session_files_authenticator SET statement_timeout = '5s';

-- What the listing reads, in the workspaces that were granted: none, until some are granted.
--   SELECT session_files.grant_workspace('session_files_anonymous', 'research');
-- For a token's role, grant to that. PostgREST needs further rights, which are in postgrest/api.sql.
GRANT USAGE ON SCHEMA session_files TO session_files_anonymous;
GRANT EXECUTE ON FUNCTION session_files.handle_request(text, text, json, bytea) TO session_files_anonymous;
GRANT SELECT ON session_files.upload_sessions, session_files.files TO session_files_anonymous;

COMMIT;
