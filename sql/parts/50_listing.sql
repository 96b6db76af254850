CREATE FUNCTION session_files.get_session_files(
	workspace_name text,
	session_id uuid,
	ingestion_status text DEFAULT NULL,
	"limit" bigint DEFAULT NULL,
	before uuid DEFAULT NULL,
	after uuid DEFAULT NULL,
	page_number bigint DEFAULT NULL,
	field text DEFAULT NULL,
	"order" text DEFAULT NULL
) RETURNS json
	LANGUAGE c STABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'session_files_get_session_files';
COMMENT ON FUNCTION session_files.get_session_files(text, uuid, text, bigint, uuid, uuid, bigint, text, text) IS
	'The listing of a session''s files: {"data":[...],"has_more":...,"total":...}. NULL means "not given": limit 10 (0 to 100), '
	'field created_at, order DESC, no filter, the first page. Errors: 22023 with the 422 body as DETAIL, P0002 with the 404 body '
	'as DETAIL, 22004 when session_id is NULL, 42501 without SELECT on upload_sessions and files.';

CREATE FUNCTION session_files.handle_request(
	method text,
	target text,
	headers json DEFAULT '{}',
	body bytea DEFAULT NULL
) RETURNS session_files.http_response
	LANGUAGE c STABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'session_files_handle_request';
COMMENT ON FUNCTION session_files.handle_request(text, text, json, bytea) IS
	'Returns the response to an HTTP request. target is the raw request target (path?query, percent-encoded). Statuses: 200, 304 (the header '
	'If-None-Match, its name in lower case, has the ETag), 403 (no SELECT on upload_sessions and files), 404, 405, 422, 503 '
	'(/healthz, when a table is not found). The body for HEAD is that for GET, for the caller to leave out. No request raises an '
	'error: only a NULL method or target does (22004), and headers with an escape that is no text, as \u0000 (22P05, 22P02).';
