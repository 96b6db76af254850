-- Labels stand in the order of their bytes, so that enum order is the order of the listing.

CREATE TYPE session_files.ingestion_status AS ENUM ('FAILED', 'FINISHED', 'PENDING');
COMMENT ON TYPE session_files.ingestion_status IS 'Status of a file. PENDING until a worker marks it FINISHED or FAILED.';

CREATE TYPE session_files.ingestion_status_reason AS ENUM (
	'EMPTY_FILE',
	'FAILED_TO_PARSE_META',
	'FILE NAME TOO LONG. MAX LENGTH IS 800',
	'FILE_ALREADY_EXISTS',
	'FILE_NOT_FOUND',
	'INGESTING_FILE_FAILED',
	'SLOWDOWN',
	'UNKNOWN_ERROR'
);
COMMENT ON TYPE session_files.ingestion_status_reason IS 'Reason of a FAILED file.';

CREATE TYPE session_files.session_status AS ENUM ('CLOSED', 'EXPIRED', 'OPEN');
COMMENT ON TYPE session_files.session_status IS 'Status of an upload session. Only an OPEN one takes new files.';

CREATE TYPE session_files.write_mode AS ENUM ('FAIL', 'KEEP', 'OVERWRITE');
COMMENT ON TYPE session_files.write_mode IS 'What ingestion does with a file whose name the workspace already has.';

CREATE TYPE session_files.grant_kind AS ENUM ('keeper', 'lister', 'uploader', 'watcher', 'worker');
COMMENT ON TYPE session_files.grant_kind IS 'What a grant of a workspace lets a role do.';

CREATE TYPE session_files.http_response AS (status integer, headers json, body text);
COMMENT ON TYPE session_files.http_response IS 'HTTP response: status code, headers (an array of objects with one key each), body.';
