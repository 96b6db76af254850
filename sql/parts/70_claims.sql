-- What workers in the database do: claim PENDING files for a time (a lease), and finish, fail, extend or release them by the lease's
-- token. A worker whose lease ran out goes on as long as no other worker has claimed the file; after that its token holds it no more.

-- A type instead of columns of the function, whose names its arguments could not have.
CREATE TYPE session_files.claimed_file AS (
	session_id uuid,
	file_ingestion_id uuid,
	name text,
	attempt integer,
	lease_token uuid,
	lease_expires_at timestamptz
);
COMMENT ON TYPE session_files.claimed_file IS
	'A file that claim_files gave to a worker: which attempt it is, from 1, and the token of the lease with its end.';

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

CREATE FUNCTION session_files._retry_failed(
	session_id uuid,
	reasons session_files.ingestion_status_reason[]
) RETURNS bigint
	LANGUAGE plpgsql
	SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
DECLARE
	session record;
	changed bigint;
BEGIN
	IF array_ndims(reasons) > 1 THEN
		RAISE EXCEPTION 'reasons has % dimensions, and one is allowed', array_ndims(reasons)
			USING ERRCODE = 'invalid_parameter_value';
	END IF;
	IF session_id IS NULL OR array_position(reasons, NULL) IS NOT NULL THEN
		RAISE EXCEPTION 'session_id and each of reasons must not be null' USING ERRCODE = 'null_value_not_allowed';
	END IF;
	IF 'FILE NAME TOO LONG. MAX LENGTH IS 800' = ANY (reasons) THEN
		RAISE EXCEPTION 'reason "FILE NAME TOO LONG. MAX LENGTH IS 800" is final, and cannot be retried'
			USING ERRCODE = 'invalid_parameter_value';
	END IF;
	-- Locked in share mode, so that it does not expire meanwhile.
	SELECT s.status, s.expires_at INTO session
		FROM session_files.upload_sessions AS s WHERE s.session_id = _retry_failed.session_id FOR SHARE;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'there is no session "%"', session_id
			USING ERRCODE = 'no_data_found',
				HINT = 'Either it is not there, or its workspace was not granted to the role, which session_files.grant_workspace() does.';
	END IF;
	IF session.status = 'EXPIRED' OR session.expires_at <= clock_timestamp() THEN
		RAISE EXCEPTION 'session "%" expired at %, and its files cannot be retried', session_id, session.expires_at
			USING ERRCODE = 'object_not_in_prerequisite_state';
	END IF;
	UPDATE session_files.files AS f
		SET ingestion_status = 'PENDING', ingestion_status_reason = NULL, error = NULL
		WHERE f.session_id = _retry_failed.session_id
			AND f.ingestion_status_reason = ANY (coalesce(reasons, enum_range(NULL::session_files.ingestion_status_reason)))
			AND f.ingestion_status_reason <> 'FILE NAME TOO LONG. MAX LENGTH IS 800';
	GET DIAGNOSTICS changed = ROW_COUNT;
	RETURN changed;
END
$$;
CREATE FUNCTION session_files.retry_failed(
	session_id uuid,
	reasons session_files.ingestion_status_reason[] DEFAULT NULL
) RETURNS bigint
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'session_files_as_owner';
COMMENT ON FUNCTION session_files.retry_failed(uuid, session_files.ingestion_status_reason[]) IS
	'Makes FAILED files PENDING again, with all their attempts: those with one of the reasons, or all except those whose name is too '
	'long (NULL, the default). Returns their number. Errors: 22004 (NULL), 22023 (the reason of a name that is too long, more than one '
	'dimension), 22P02 (unknown reason), P0002 (no such session), 55000 (session expired), 42501 (no grant as keeper).';
