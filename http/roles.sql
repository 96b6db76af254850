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

-- A request is shown the workspaces that were granted to its role: none, until some are granted.
--   SELECT session_files.grant_workspace('session_files_anonymous', 'research');

COMMIT;
