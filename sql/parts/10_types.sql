-- Labels stand in the order of their bytes, so that enum order is the order of the listing.

CREATE TYPE session_files.ingestion_status AS ENUM ('FAILED', 'FINISHED', 'PENDING');
COMMENT ON TYPE session_files.ingestion_status IS 'What became of a file: PENDING until a worker marks it FINISHED or FAILED.';

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
COMMENT ON TYPE session_files.ingestion_status_reason IS 'Why a file FAILED.';

CREATE TYPE session_files.session_status AS ENUM ('CLOSED', 'EXPIRED', 'OPEN');
COMMENT ON TYPE session_files.session_status IS 'Whether an upload session takes new files (OPEN).';

CREATE TYPE session_files.write_mode AS ENUM ('FAIL', 'KEEP', 'OVERWRITE');
COMMENT ON TYPE session_files.write_mode IS 'What ingestion does with a file whose name the workspace has already.';

CREATE TYPE session_files.http_response AS (status integer, headers json, body text);
COMMENT ON TYPE session_files.http_response IS 'An HTTP response: status code, headers as an array of objects of one key each, body.';
