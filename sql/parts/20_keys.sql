CREATE FUNCTION session_files.uuid7() RETURNS uuid
	LANGUAGE c VOLATILE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'session_files_uuid7';
COMMENT ON FUNCTION session_files.uuid7() IS
	'A new UUID of version 7 (RFC 9562, method 3: milliseconds, then 12 bits of their fraction); strictly increasing within a backend.';

CREATE FUNCTION session_files.uuid7_time(id uuid) RETURNS timestamptz
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'session_files_uuid7_time';
COMMENT ON FUNCTION session_files.uuid7_time(uuid) IS
	'When a version 7 UUID was made, to the millisecond: a file''s created_at. NULL for a UUID of another version.';

CREATE FUNCTION session_files.name_key(name text) RETURNS bytea
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'session_files_name_key';
COMMENT ON FUNCTION session_files.name_key(text) IS
	'What the indexes hold of a file name: different for different names, in the order of their UTF-8 bytes. At most 2,658 bytes for names that files takes.';

-- What follows from the settings (src/settings.c); to call a function loads the library, and with it the settings.
CREATE FUNCTION session_files.default_expiry() RETURNS timestamptz
	LANGUAGE c STABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'session_files_default_expiry';
COMMENT ON FUNCTION session_files.default_expiry() IS
	'When a session that is opened now expires, unless its creator says otherwise: by the setting session_files.session_lifetime.';

CREATE FUNCTION session_files.retained_since() RETURNS timestamptz
	LANGUAGE c VOLATILE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'session_files_retained_since';
COMMENT ON FUNCTION session_files.retained_since() IS
	'A session that expired before this is to be deleted: by the setting session_files.session_retention; NULL if none is.';

CREATE FUNCTION session_files.retry_at(reason session_files.ingestion_status_reason, attempt integer) RETURNS timestamptz
	LANGUAGE c VOLATILE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'session_files_retry_at';
COMMENT ON FUNCTION session_files.retry_at(session_files.ingestion_status_reason, integer) IS
	'When a file whose so many-th attempt just failed for a reason can be tried again, by the settings session_files.retry_reasons, '
	'retry_delay, retry_delay_limit and max_attempts; NULL if it is not tried again.';
