-- A listing as one writes it first: counts what passes the filter, sorts, and skips what is before the page. PostgREST makes
-- /rpc/list_files of it; limit and order mean something to PostgREST itself, so the parameters have names of their own.
-- Run by psql as a superuser, after schema.sql.

\set ON_ERROR_STOP on
BEGIN;
CREATE SCHEMA naive;
GRANT USAGE ON SCHEMA naive TO peer;

CREATE FUNCTION naive.list_files(
	workspace text,
	session uuid,
	status session_files.ingestion_status DEFAULT NULL,
	page integer DEFAULT 1,
	page_size integer DEFAULT 10,
	sort text DEFAULT 'created_at',
	direction text DEFAULT 'DESC'
) RETURNS json
	LANGUAGE plpgsql STABLE
AS $$
DECLARE
	total bigint;
	data json;
BEGIN
	PERFORM FROM peer.upload_sessions AS s WHERE s.session_id = session AND s.workspace_name = workspace;
	IF NOT FOUND THEN
		RAISE SQLSTATE 'PT404' USING MESSAGE = 'There is no such session in the workspace';
	END IF;
	SELECT count(*) INTO total
		FROM peer.files AS f WHERE f.session_id = session AND (status IS NULL OR f.ingestion_status = status);
	EXECUTE format(
		'SELECT coalesce(json_agg(f), ''[]'') FROM (
			SELECT file_ingestion_id, ingestion_status, ingestion_status_reason, name
				FROM peer.files WHERE session_id = $1 AND ($2 IS NULL OR ingestion_status = $2)
				ORDER BY %s %s LIMIT $3 OFFSET $4) AS f',
		CASE sort WHEN 'name' THEN 'name' ELSE 'file_ingestion_id' END,
		CASE direction WHEN 'ASC' THEN 'ASC' ELSE 'DESC' END)
		INTO data
		USING session, status, page_size, (page - 1) * page_size;
	RETURN json_build_object('data', data, 'has_more', total > page * page_size, 'total', total);
END
$$;
COMMIT;
