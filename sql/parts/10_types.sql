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

-- The rules of a single column are those of a domain, and not of its table: PostgreSQL parses each CHECK constraint of a table again for each
-- statement that writes it. For a statement about one file, that takes longer than all else that the rule costs.
CREATE DOMAIN session_files.file_name AS text COLLATE "C"
	CONSTRAINT files_name_not_empty CHECK (VALUE <> '')
	-- So that the whole name stands in an index tuple (src/index/name_key.c).
	CONSTRAINT files_name_length CHECK (octet_length(VALUE) <= 2600 OR char_length(VALUE) <= 830);
COMMENT ON DOMAIN session_files.file_name IS 'Name of a file, not empty, at most 2600 bytes or 830 characters.';
CREATE DOMAIN session_files.file_error AS text CONSTRAINT files_error_length CHECK (char_length(VALUE) <= 2000);
COMMENT ON DOMAIN session_files.file_error IS 'What went wrong with a file, for people, at most 2000 characters.';
-- What uploaders may say of a file, for workers.
CREATE DOMAIN session_files.file_size AS bigint CONSTRAINT files_size CHECK (VALUE >= 0);
COMMENT ON DOMAIN session_files.file_size IS 'Size of a file in bytes, at least 0.';
CREATE DOMAIN session_files.file_type AS text CONSTRAINT files_type CHECK (char_length(VALUE) BETWEEN 1 AND 255);
COMMENT ON DOMAIN session_files.file_type IS 'Media type of a file, 1 to 255 characters.';
CREATE DOMAIN session_files.file_location AS text CONSTRAINT files_location CHECK (char_length(VALUE) BETWEEN 1 AND 2048);
COMMENT ON DOMAIN session_files.file_location IS 'Where the content of a file is, a key or a URL, 1 to 2048 characters.';
CREATE DOMAIN session_files.file_metadata AS jsonb
	CONSTRAINT files_metadata CHECK (jsonb_typeof(VALUE) = 'object' AND octet_length(VALUE::text) <= 65536);
COMMENT ON DOMAIN session_files.file_metadata IS 'What else workers need to know of a file: an object of at most 65536 bytes as text.';

CREATE DOMAIN session_files.queue_files AS uuid[] CONSTRAINT file_queue_files CHECK (
	array_ndims(VALUE) = 1 AND array_lower(VALUE, 1) = 1 AND cardinality(VALUE) BETWEEN 1 AND 100 AND array_position(VALUE, NULL) IS NULL);
COMMENT ON DOMAIN session_files.queue_files IS 'Files of a queue row, 1 to 100 ids in one dimension.';
-- Infinite times cannot be subtracted. A file's id can have a time up to the year 10889.
CREATE DOMAIN session_files.queue_time AS timestamptz
	CONSTRAINT file_queue_time CHECK (VALUE >= '1970-01-01 00:00:00+00' AND VALUE < '11000-01-01 00:00:00+00');
COMMENT ON DOMAIN session_files.queue_time IS 'Time of a queue row, from 1970 up to the year 11000.';
CREATE DOMAIN session_files.worker_name AS text CONSTRAINT file_queue_worker_length CHECK (char_length(VALUE) BETWEEN 1 AND 200);
COMMENT ON DOMAIN session_files.worker_name IS 'Name of a worker, 1 to 200 characters.';

CREATE TYPE session_files.http_response AS (status integer, headers json, body text);
COMMENT ON TYPE session_files.http_response IS 'HTTP response: status code, headers (an array of objects with one key each), body.';
