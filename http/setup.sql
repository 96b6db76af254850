-- The settings with which PostgreSQL serves this database over HTTP, by ALTER SYSTEM, behind the roles of roles.sql: `make install-http` installs both
-- as one script. Run by psql as a superuser, in the database that is served:
--
--   psql --dbname=files --file="$(pg_config --sharedir)/extension/session_files_http.sql"
--
-- --set=workers=N, --set=address=IP and --set=port=N set these; without them stays what is set, or there are 2 workers, on 127.0.0.1:8080.
-- Can be run again. A restart of the server applies it.

\set ON_ERROR_STOP on
-- Were one of the libraries not installed, PostgreSQL would not start. The first one knows the settings.
LOAD 'session_files';
LOAD 'session_files_http';

DO $$
BEGIN
	IF (SELECT s.source = 'command line' FROM pg_settings AS s WHERE s.name = 'shared_preload_libraries') THEN
		RAISE EXCEPTION 'shared_preload_libraries is set on the command line of the server, where ALTER SYSTEM cannot change it'
			USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Have it set in postgresql.conf.';
	END IF;
END
$$;

-- Behind the libraries that the next start would load, unless it is one of them.
SELECT format('ALTER SYSTEM SET shared_preload_libraries = %s', string_agg(quote_literal(library), ', ' ORDER BY position))
	FROM (
		SELECT trim(BOTH ' "' FROM listed.item) AS library, listed.position
		FROM (
			SELECT coalesce((SELECT f.setting FROM pg_file_settings AS f WHERE f.name = 'shared_preload_libraries' ORDER BY f.seqno DESC LIMIT 1),
				current_setting('shared_preload_libraries')) AS setting
		) AS pending, LATERAL regexp_split_to_table(pending.setting, ',') WITH ORDINALITY AS listed (item, position)
		UNION ALL
		SELECT 'session_files_http', 1000000
	) AS libraries
	WHERE library <> ''
	HAVING count(*) FILTER (WHERE library = 'session_files_http') = 1
\gexec

SELECT format('ALTER SYSTEM SET session_files.http_database = %L', current_database())
\gexec
\if :{?workers}
\else
SELECT coalesce((SELECT f.setting FROM pg_file_settings AS f WHERE f.name = 'session_files.http_workers' ORDER BY f.seqno DESC LIMIT 1), '0') AS workers \gset
SELECT CASE :'workers' WHEN '0' THEN '2' ELSE :'workers' END AS workers \gset
\endif
ALTER SYSTEM SET session_files.http_workers = :'workers';
\if :{?address}
ALTER SYSTEM SET session_files.http_listen_address = :'address';
\endif
\if :{?port}
ALTER SYSTEM SET session_files.http_port = :'port';
\endif

\echo 'session_files: restart PostgreSQL to serve this database over HTTP; its log says where.'
