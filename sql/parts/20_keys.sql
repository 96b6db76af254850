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
	'What the indexes hold of a file name: at most 2,545 bytes, different for different names, in the order of the UTF-8 bytes for names of up to 800 characters.';
