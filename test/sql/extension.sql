-- Installing, dropping and installing again, in one backend; databases that are refused.
\set VERBOSITY terse
CREATE DATABASE regress_recreate ENCODING 'UTF8' TEMPLATE template0;
\c regress_recreate
CREATE EXTENSION session_files;
SELECT extversion, extrelocatable, extnamespace::regnamespace FROM pg_extension WHERE extname = 'session_files';

-- Every function and table says what it is for, but for the bodies of public functions. PUBLIC may call what checks its caller, and what
-- defaults, indexes, policies and views need; it may read the views, and no table.
SELECT p.oid::regprocedure AS without_comment FROM pg_proc p
	WHERE pronamespace = 'session_files'::regnamespace AND obj_description(p.oid, 'pg_proc') IS NULL AND NOT EXISTS (SELECT FROM pg_proc o
		WHERE o.pronamespace = p.pronamespace AND p.proname = '_' || o.proname AND o.proargtypes = p.proargtypes AND o.prosrc = 'session_files_as_owner');
SELECT c.oid::regclass AS without_comment FROM pg_class c
	WHERE relnamespace = 'session_files'::regnamespace AND relkind = 'r' AND obj_description(c.oid, 'pg_class') IS NULL;
SELECT p.oid::regprocedure AS open_to_public FROM pg_proc p
	WHERE pronamespace = 'session_files'::regnamespace AND has_function_privilege('public', p.oid, 'EXECUTE') ORDER BY proname COLLATE "C", pronargs;
SELECT c.oid::regclass AS open_to_public FROM pg_class c
	WHERE relnamespace = 'session_files'::regnamespace AND relkind IN ('r', 'v')
		AND has_table_privilege('public', c.oid, 'SELECT,INSERT,UPDATE,DELETE,TRUNCATE');
SELECT has_schema_privilege('public', 'session_files', 'USAGE') AS schema_open_to_public;

-- One backend uses the first extension, then the second.
CREATE FUNCTION pg_temp.use_it() RETURNS TABLE (body text, changed boolean) LANGUAGE plpgsql AS $$
DECLARE
	session uuid;
BEGIN
	PERFORM session_files.create_workspace('w');
	session := session_files.create_session('w');
	PERFORM session_files.register_files(session, ARRAY['a', 'b']);
	RETURN QUERY
		SELECT regexp_replace(session_files.get_session_files('w', session, field => 'name')::text, '[0-9a-f-]{36}', 'ID', 'g'), f.changed
		FROM session_files.finish_files(session, ARRAY(SELECT file_ingestion_id FROM session_files.files WHERE name = 'a')) f;
END
$$;
SELECT * FROM pg_temp.use_it();
DROP EXTENSION session_files;
CREATE EXTENSION session_files;
SELECT * FROM pg_temp.use_it();
SELECT failed, finished, pending FROM session_files.file_counts;

-- A table that is renamed away is an error, and when it is back all is well.
SELECT session_id AS s FROM session_files.upload_sessions \gset
ALTER TABLE session_files.files RENAME TO files_away;
SELECT session_files.get_session_files('w', :'s', 'PENDING');
ALTER TABLE session_files.files_away RENAME TO files;
SELECT session_files.get_session_files('w', :'s', 'PENDING')::json -> 'total' AS pending;
ALTER TYPE session_files.ingestion_status RENAME VALUE 'PENDING' TO 'WAITING';
SELECT session_files.get_session_files('w', :'s', 'PENDING');
ALTER TYPE session_files.ingestion_status RENAME VALUE 'WAITING' TO 'PENDING';
SELECT session_files.get_session_files('w', :'s', 'PENDING')::json -> 'total' AS pending;
REINDEX TABLE CONCURRENTLY session_files.files;
SELECT session_files.get_session_files('w', :'s', 'PENDING')::json -> 'total' AS pending;
DROP EXTENSION session_files CASCADE;

-- Only UTF-8 will do, and only its own schema.
CREATE EXTENSION session_files SCHEMA public;
CREATE DATABASE regress_latin1 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
\c regress_latin1
CREATE EXTENSION session_files;
CREATE DATABASE regress_ascii ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
\c regress_ascii
CREATE EXTENSION session_files;
\c contrib_regression
DROP DATABASE regress_recreate;
DROP DATABASE regress_latin1;
DROP DATABASE regress_ascii;
