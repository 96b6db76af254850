-- What workers in the database do: claim PENDING files for a time (a lease), and finish, fail, extend or release them by the lease's
-- token. A worker whose lease ran out goes on as long as no other worker has claimed the file; after that its token holds it no more.

-- A type instead of columns of the function, whose names its arguments could not have.
CREATE TYPE session_files.claimed_file AS (
	session_id uuid,
	file_ingestion_id uuid,
	name text,
	attempt integer,
	lease_token uuid,
	lease_expires_at timestamptz,
	write_mode session_files.write_mode,
	size bigint,
	type text,
	location text,
	metadata jsonb
);
COMMENT ON TYPE session_files.claimed_file IS
	'A file that claim_files gave to a worker: which attempt it is, from 1, the token of the lease with its end, the write mode of the '
	'session, and what register_files was given of the file: size in bytes, media type, location and metadata, or NULL.';

CREATE FUNCTION session_files.claim_files(
	worker text,
	max_files integer DEFAULT 100,
	lease interval DEFAULT '5 minutes',
	workspace_name text DEFAULT NULL,
	session_id uuid DEFAULT NULL
) RETURNS SETOF session_files.claimed_file
	LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'session_files_claim_files';
COMMENT ON FUNCTION session_files.claim_files(text, integer, interval, text, uuid) IS
	'Gives a worker up to max_files PENDING files (1 to 100000, default 100) that no other worker holds, for the time lease (at most 1 year, '
	'default 5 minutes): of a session, of all sessions of a workspace, or of all sessions in turn. Files that were claimed before come '
	'first, then the oldest. Skips files that another transaction is claiming, and expired sessions. attempt counts from 1. A file '
	'whose last attempt ended without a report becomes FAILED. A role that was granted no workspace gets a NOTICE. Errors: 22004 (NULL), 22023 (out of range), P0002 (no such workspace or '
	'session), 42501 (no grant as worker or keeper).';

CREATE FUNCTION session_files.extend_lease(
	session_id uuid,
	file_ingestion_ids uuid[],
	lease_token uuid,
	lease interval DEFAULT '5 minutes'
) RETURNS TABLE (file_ingestion_id uuid, lease_expires_at timestamptz)
	LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'session_files_extend_lease';
COMMENT ON FUNCTION session_files.extend_lease(uuid, uuid[], uuid, interval) IS
	'Extends a lease for these files to the given duration from now (more than 0, at most 1 year, default 5 minutes). Returns the new '
	'end per file, by id. NULL if the lease does not hold the file. Errors: 22004 (NULL), 22023 (duration), P0002 (no such '
	'session), 42501 (no grant as worker or keeper).';

CREATE FUNCTION session_files.release_files(session_id uuid, file_ingestion_ids uuid[], lease_token uuid)
	RETURNS TABLE (file_ingestion_id uuid, changed boolean)
	LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'session_files_release_files';
COMMENT ON FUNCTION session_files.release_files(uuid, uuid[], uuid) IS
	'Gives back files that a lease holds. Other workers can claim them at once, and the attempt does not count. Returns per file, by '
	'id, whether it was given back. Errors: 22004 (NULL), P0002 (no such session), 42501 (no grant as worker or keeper).';
