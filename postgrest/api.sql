-- The schema that PostgREST exposes: one function, which hands the request over to session_files.handle_request and hands back
-- the answer. Run by psql as a superuser, after ../http/roles.sql; can be run again.

\set ON_ERROR_STOP on
BEGIN;

SET LOCAL client_min_messages = warning;
DROP SCHEMA IF EXISTS session_files_api CASCADE;
CREATE SCHEMA session_files_api;
COMMENT ON SCHEMA session_files_api IS 'What PostgREST exposes of session_files.';

-- The name tells PostgREST to pass on the bytes of the body as they are, whatever the client accepts; the Content-Type is the answer's own.
CREATE DOMAIN session_files_api."*/*" AS bytea;

-- The request target comes as the body of a POST: bytes survive there which a header loses (PostgREST takes headers for UTF-8).
-- STABLE makes PostgREST's transaction read-only, for a POST as well.
CREATE FUNCTION session_files_api.handle_request(bytea) RETURNS session_files_api."*/*"
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	-- X-Request-Method, and the headers of the request, each NAME as X-Request-NAME.
	headers json := (SELECT pg_catalog.json_object_agg(pg_catalog.substr(key, 11), value)
		FROM pg_catalog.json_each_text(pg_catalog.current_setting('request.headers')::json) WHERE pg_catalog.starts_with(key, 'x-request-'));
	-- Escapes begin with a backslash: without one, the target is plain ASCII.
	target text := pg_catalog.encode($1, 'escape');
	answer session_files.http_response;
BEGIN
	IF pg_catalog.strpos(target, E'\\') > 0 THEN
		SELECT pg_catalog.string_agg(
				CASE
					WHEN pg_catalog.get_byte($1, i) < 128 THEN pg_catalog.chr(pg_catalog.get_byte($1, i))
					ELSE '%' || pg_catalog.upper(pg_catalog.to_hex(pg_catalog.get_byte($1, i)))
				END, '' ORDER BY i)
			INTO target
			FROM pg_catalog.generate_series(0, pg_catalog.length($1) - 1) AS i;
	END IF;
	answer := session_files.handle_request(headers ->> 'method', target, headers);
	PERFORM
		pg_catalog.set_config('response.status', answer.status::text, true),
		pg_catalog.set_config('response.headers', answer.headers::text, true);
	RETURN pg_catalog.convert_to(answer.body, 'UTF8');
EXCEPTION
	-- A timeout (../http/roles.sql): PostgREST would make a 500 of it.
	WHEN query_canceled OR lock_not_available THEN
		RAISE EXCEPTION USING ERRCODE = 'PT503', MESSAGE = SQLERRM;
END
$$;
COMMENT ON FUNCTION session_files_api.handle_request(bytea) IS
	'Answers the request whose target is the body and whose method is the header X-Request-Method.';

-- For each role of a token, too: what it is shown is by its grants.
GRANT USAGE ON SCHEMA session_files_api TO PUBLIC;

-- A PostgREST that is running takes note.
NOTIFY pgrst, 'reload schema';
COMMIT;
