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

-- What uploaders may say of a file, for workers. Domains, because every statement reads all CHECK constraints of the table that it writes,
-- which costs a statement that finishes one file more than all else that these columns do.
CREATE DOMAIN session_files.file_size AS bigint CONSTRAINT files_size CHECK (VALUE >= 0);
COMMENT ON DOMAIN session_files.file_size IS 'Size of a file in bytes, at least 0.';
CREATE DOMAIN session_files.file_type AS text CONSTRAINT files_type CHECK (char_length(VALUE) BETWEEN 1 AND 255);
COMMENT ON DOMAIN session_files.file_type IS 'Media type of a file, 1 to 255 characters.';
CREATE DOMAIN session_files.file_location AS text CONSTRAINT files_location CHECK (char_length(VALUE) BETWEEN 1 AND 2048);
COMMENT ON DOMAIN session_files.file_location IS 'Where the content of a file is, a key or a URL, 1 to 2048 characters.';
CREATE DOMAIN session_files.file_metadata AS jsonb
	CONSTRAINT files_metadata CHECK (jsonb_typeof(VALUE) = 'object' AND octet_length(VALUE::text) <= 65536);
COMMENT ON DOMAIN session_files.file_metadata IS 'What else workers need to know of a file: an object of at most 65536 bytes as text.';

CREATE TYPE session_files.http_response AS (status integer, headers json, body text);
COMMENT ON TYPE session_files.http_response IS 'HTTP response: status code, headers (an array of objects with one key each), body.';
