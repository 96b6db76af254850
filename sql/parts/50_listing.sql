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
	'Returns one page of a session''s files: {"data":[...],"has_more":...,"total":...}. NULL means "not given": limit 10 (0 to 100), '
	'field created_at, order DESC, no filter, the first page. Errors: 22004 (session_id is NULL), 22023 (wrong parameters; DETAIL has '
	'the body of the 422), P0002 (no such session in the workspace; DETAIL has the body of the 404), 42501 (an administrator gave '
	'files other policies).';

-- The same as rows. The arguments whose names in HTTP are key words of SQL have others: limit is max_files, field and order are sort.
CREATE FUNCTION session_files.list_session_files(
	workspace_name text,
	session_id uuid,
	ingestion_status text DEFAULT NULL,
	sort text DEFAULT NULL,
	max_files bigint DEFAULT NULL,
	page_number bigint DEFAULT NULL,
	before uuid DEFAULT NULL,
	after uuid DEFAULT NULL
) RETURNS TABLE (
	file_ingestion_id uuid,
	ingestion_status session_files.ingestion_status,
	ingestion_status_reason session_files.ingestion_status_reason,
	name text,
	created_at timestamptz
)
	LANGUAGE c STABLE PARALLEL SAFE ROWS 10
	AS 'MODULE_PATHNAME', 'session_files_list_session_files';
COMMENT ON FUNCTION session_files.list_session_files(text, uuid, text, text, bigint, bigint, uuid, uuid) IS
	'The listing of get_session_files as rows, in its order. sort is a field (created_at, ingestion_status, ingestion_status_reason, name) and '
	'perhaps a direction: ''name ASC''; default ''created_at DESC''. max_files is 0 to 100, default 10; page_number counts from 1; before and '
	'after are ids of files of the session. session_counts has the totals. Errors: 22023 (a wrong argument; the 422 body as DETAIL), '
	'P0002 (no such session in the workspace), 22004 (no session_id), 42501 (an administrator gave files other policies).';

CREATE FUNCTION session_files.session_counts(
	session_id uuid,
	OUT pending bigint,
	OUT finished bigint,
	OUT failed bigint,
	OUT total bigint
)
	LANGUAGE c STABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'session_files_session_counts';
COMMENT ON FUNCTION session_files.session_counts(uuid) IS
	'How many files a session has of each status, and of all: exact, and at the same cost however many there are. Errors: 22004 (NULL), '
	'P0002 (no such session), 42501 (an administrator gave files other policies).';

CREATE FUNCTION session_files.get_session_status(workspace_name text, session_id uuid) RETURNS json
	LANGUAGE c STABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'session_files_get_session_status';
COMMENT ON FUNCTION session_files.get_session_status(text, uuid) IS
	'Returns the status of a session as HTTP does: {"session_id":...,"expires_at":...,"documentation_url":...,"ingestion_status":'
	'{"failed_files":...,"finished_files":...,"pending_files":...}}. Errors: 22004 (session_id is NULL), P0002 (no such session in the '
	'workspace; DETAIL has the body of the 404), 42501 (an administrator gave files other policies).';

CREATE FUNCTION session_files.handle_request(
	method text,
	target text,
	headers json DEFAULT '{}',
	body bytea DEFAULT NULL
) RETURNS session_files.http_response
	LANGUAGE c STABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'session_files_handle_request';
COMMENT ON FUNCTION session_files.handle_request(text, text, json, bytea) IS
	'Returns the response to an HTTP request. target is the request target as sent (path?query, percent-encoded). headers has names in '
	'lower case. Statuses: 200, 204, 304, 403, 404, 405, 422, 503. The body for HEAD is that for GET; the caller leaves it out. '
	'Errors: 22004 (method or target is NULL), 22P05 or 22P02 (headers has an escape that is no text, such as \u0000).';
