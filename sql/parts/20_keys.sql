CREATE FUNCTION session_files.uuid7() RETURNS uuid
	LANGUAGE c VOLATILE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'session_files_uuid7';
COMMENT ON FUNCTION session_files.uuid7() IS
	'Returns a new UUID of version 7 (RFC 9562, method 3: milliseconds and 12 bits of their fraction). Within a backend each is '
	'greater than the one before.';

CREATE FUNCTION session_files.uuid7_time(id uuid) RETURNS timestamptz
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'session_files_uuid7_time';
COMMENT ON FUNCTION session_files.uuid7_time(uuid) IS
	'Returns the creation time in a UUID of version 7, to the millisecond. NULL for a UUID of another version.';

CREATE FUNCTION session_files._name_key(name text) RETURNS bytea
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'session_files_name_key';
COMMENT ON FUNCTION session_files._name_key(text) IS
	'Returns the index key of a file name. Different names have different keys, which sort as the UTF-8 bytes of the names do. A key '
	'has at most 2658 bytes for a name that the table files takes.';

-- What follows from the settings (src/settings.c); to call a function loads the library, and with it the settings.
CREATE FUNCTION session_files._default_expiry() RETURNS timestamptz
	LANGUAGE c STABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'session_files_default_expiry';
COMMENT ON FUNCTION session_files._default_expiry() IS
	'Returns the end of a session that is opened now without expires_in: now plus the setting session_files.session_lifetime.';

CREATE FUNCTION session_files._retained_since() RETURNS timestamptz
	LANGUAGE c VOLATILE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'session_files_retained_since';
COMMENT ON FUNCTION session_files._retained_since() IS
	'Returns the time before which an expired session is to be deleted, by the setting session_files.session_retention. NULL if '
	'sessions are kept forever.';
