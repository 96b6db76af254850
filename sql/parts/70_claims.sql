-- What workers in the database do: claim PENDING files for a time (a lease), and finish, fail, extend or release them by the lease's
-- token. A worker whose lease ran out goes on as long as no other worker has claimed the file; after that its token holds it no more.

CREATE FUNCTION session_files.take_batches(
	session uuid,
	workspace text,
	files integer,
	OUT session_id uuid,
	OUT generation bigint,
	OUT attempt integer,
	OUT last_reason session_files.ingestion_status_reason,
	OUT exhausted boolean,
	OUT file_ingestion_ids uuid[],
	OUT names text[],
	OUT rest uuid[],
	OUT rest_generation bigint,
	OUT due_at timestamptz,
	OUT claimed_at timestamptz,
	OUT lease_token uuid,
	OUT worker text
) RETURNS SETOF record
	LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'session_files_take_batches';
COMMENT ON FUNCTION session_files.take_batches(uuid, text, integer) IS
	'First step of claim_files: deletes queue rows that hold up to so many files, and skips rows that are locked. Returns a row per '
	'new lease: its PENDING files, their history, and the rest of the last queue row, which the caller must insert. Errors: P0002 (no '
	'such session), 25006 (read-only transaction), 42501 (no SELECT on files and upload_sessions, or no DELETE on file_queue).';

-- Whether a lease can last so long; raises if not.
CREATE FUNCTION session_files.check_lease(lease interval) RETURNS void
	LANGUAGE plpgsql IMMUTABLE
	SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF lease IS NULL THEN
		RAISE EXCEPTION 'lease must not be null' USING ERRCODE = 'null_value_not_allowed';
	END IF;
	-- Years and days by themselves too: with different signs they outweigh each other in a comparison, where a month is 30 days, but
	-- not by the calendar.
	IF lease <= interval '0' OR lease > interval '1 year'
		OR extract(year FROM lease) NOT BETWEEN -1 AND 1 OR extract(day FROM lease) NOT BETWEEN -1000 AND 1000 THEN
		RAISE EXCEPTION 'lease is "%", and it must be more than 0 and at most 1 year', lease
			USING ERRCODE = 'invalid_parameter_value';
	END IF;
END
$$;
COMMENT ON FUNCTION session_files.check_lease(interval) IS
	'Checks the duration of a lease. Errors: 22004 (NULL), 22023 (not more than 0 and at most 1 year).';

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
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
	SET enable_seqscan = off
	SET jit = off
AS $$
#variable_conflict use_column
DECLARE
	batch record;
	failed uuid[];
	token constant uuid := gen_random_uuid();
	expires_at timestamptz;
BEGIN
	IF worker IS NULL OR max_files IS NULL THEN
		RAISE EXCEPTION 'worker and max_files must not be null' USING ERRCODE = 'null_value_not_allowed';
	END IF;
	IF char_length(worker) NOT BETWEEN 1 AND 200 THEN
		RAISE EXCEPTION 'worker has % characters, and 1 to 200 are allowed', char_length(worker)
			USING ERRCODE = 'invalid_parameter_value';
	END IF;
	IF max_files NOT BETWEEN 1 AND 100000 THEN
		RAISE EXCEPTION 'max_files is %, and it must be 1 to 100000', max_files USING ERRCODE = 'invalid_parameter_value';
	END IF;
	PERFORM session_files.check_lease(lease);
	expires_at := clock_timestamp() + lease;
	IF workspace_name IS NOT NULL THEN
		PERFORM FROM session_files.workspaces AS w WHERE w.name = workspace_name;
		IF NOT FOUND THEN
			RAISE EXCEPTION 'there is no workspace "%"', workspace_name
				USING ERRCODE = 'no_data_found',
					HINT = 'Create it with session_files.create_workspace(). If it is there, it was not granted to the role, which session_files.grant_workspace() does.';
		END IF;
	END IF;
	FOR batch IN SELECT * FROM session_files.take_batches(session_id, workspace_name, max_files) LOOP
		IF batch.rest IS NOT NULL THEN
			-- In rows of the size of this claim: the next worker may want as many. A lease that has run out still holds them.
			INSERT INTO session_files.file_queue
					(session_id, due_at, file_ingestion_ids, generation, attempt, claimed_at, last_reason, lease_token, worker)
				SELECT batch.session_id, CASE WHEN batch.claimed_at IS NULL THEN session_files.uuid7_time(batch.rest[i]) ELSE batch.due_at END,
					batch.rest[i : i + max_files - 1], batch.rest_generation, batch.attempt, batch.claimed_at, batch.last_reason, batch.lease_token, batch.worker
				FROM generate_series(1, cardinality(batch.rest), max_files) AS i;
		END IF;
		IF batch.exhausted THEN
			WITH settled AS (
				UPDATE session_files.files AS f
					SET ingestion_status = 'FAILED', ingestion_status_reason = coalesce(batch.last_reason, 'INGESTING_FILE_FAILED')
					WHERE f.ctid = ANY (ARRAY(
						SELECT g.ctid FROM session_files.files AS g
							WHERE g.ctid = ANY (session_files.locate_ids(batch.session_id, batch.file_ingestion_ids))
								AND g.ingestion_status = 'PENDING' AND g.generation <= batch.generation
							FOR NO KEY UPDATE SKIP LOCKED))
					RETURNING f.file_ingestion_id
			)
			SELECT array_agg(s.file_ingestion_id ORDER BY s.file_ingestion_id) INTO failed FROM settled AS s;
			-- A file that another transaction has locked is left as it was found, for a later claim.
			IF cardinality(batch.file_ingestion_ids) > coalesce(cardinality(failed), 0) THEN
				INSERT INTO session_files.file_queue
						(session_id, due_at, file_ingestion_ids, generation, attempt, claimed_at, last_reason, lease_token, worker)
					VALUES (batch.session_id, batch.due_at, session_files.pick_ids(batch.file_ingestion_ids, coalesce(failed, '{}'), false),
						batch.generation, batch.attempt, batch.claimed_at, batch.last_reason, batch.lease_token, batch.worker);
			END IF;
		ELSIF cardinality(batch.file_ingestion_ids) > 0 THEN
			INSERT INTO session_files.file_queue
					(session_id, due_at, file_ingestion_ids, generation, attempt, claimed_at, last_reason, lease_token, worker)
				VALUES (batch.session_id, expires_at, batch.file_ingestion_ids, batch.generation, batch.attempt + 1, clock_timestamp(), batch.last_reason,
					token, claim_files.worker);
			RETURN QUERY
				SELECT batch.session_id, f.id, f.name, batch.attempt + 1, token, expires_at
				FROM unnest(batch.file_ingestion_ids, batch.names) AS f (id, name);
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION session_files.claim_files(text, integer, interval, text, uuid) IS
	'Gives a worker up to max_files PENDING files (1 to 100000, default 100) that no other worker holds, for the time lease (at most 1 year, '
	'default 5 minutes): of a session, of all sessions of a workspace, or of all sessions in turn. Files that were claimed before come '
	'first, then the oldest. Skips files that another transaction is claiming, and expired sessions. attempt counts from 1. A file '
	'whose last attempt ended without a report becomes FAILED. A role that was granted no workspace gets a NOTICE. Errors: 22004 (NULL), 22023 (out of range), P0002 (no such workspace or '
	'session).';

-- What the functions that end a lease, or change it, have in common.
CREATE FUNCTION session_files.leave_lease(session_id uuid, file_ingestion_ids uuid[], lease_token uuid)
	RETURNS TABLE (
		is_held boolean,
		ids uuid[],
		generation bigint,
		attempt integer,
		claimed_at timestamptz,
		last_reason session_files.ingestion_status_reason,
		worker text
	)
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
	SET enable_seqscan = off
	SET jit = off
AS $$
#variable_conflict use_column
DECLARE
	lease record;
	rest uuid[];
	held uuid[] := '{}';
	leases integer := 0;
BEGIN
	is_held := true;
	FOR lease IN
		SELECT q.ctid AS place, q.file_ingestion_ids, q.generation, q.attempt, q.claimed_at, q.last_reason, q.worker
			FROM session_files.file_queue AS q
			-- Said so that no plan, made when the table was small, goes through all rows of the session.
			WHERE q.lease_token = leave_lease.lease_token AND q.session_id IS NOT DISTINCT FROM leave_lease.session_id
			FOR UPDATE
	LOOP
		ids := session_files.pick_ids(lease.file_ingestion_ids, leave_lease.file_ingestion_ids, true);
		CONTINUE WHEN cardinality(ids) = 0;
		IF cardinality(ids) = cardinality(lease.file_ingestion_ids) THEN
			DELETE FROM session_files.file_queue AS q WHERE q.ctid = lease.place;
		ELSE
			rest := session_files.pick_ids(lease.file_ingestion_ids, ids, false);
			UPDATE session_files.file_queue AS q SET file_ingestion_ids = rest WHERE q.ctid = lease.place;
		END IF;
		held := held || ids;
		leases := leases + 1;
		generation := lease.generation;
		attempt := lease.attempt;
		claimed_at := lease.claimed_at;
		last_reason := lease.last_reason;
		worker := lease.worker;
		RETURN NEXT;
	END LOOP;
	IF cardinality(held) < cardinality(leave_lease.file_ingestion_ids) THEN
		IF leases > 1 THEN
			held := ARRAY(SELECT h.id FROM unnest(held) AS h (id) ORDER BY h.id);
		END IF;
		is_held := false;
		ids := session_files.pick_ids(leave_lease.file_ingestion_ids, held, false);
		RETURN NEXT;
	END IF;
END
$$;
COMMENT ON FUNCTION session_files.leave_lease(uuid, uuid[], uuid) IS
	'Removes files, sorted by id, from a lease. Returns a row per history, and a last row with the files that the lease does not hold. '
	'Common part of finish_files, fail_files, extend_lease and release_files. Call those.';

CREATE FUNCTION session_files.extend_lease(
	session_id uuid,
	file_ingestion_ids uuid[],
	lease_token uuid,
	lease interval DEFAULT '5 minutes'
) RETURNS TABLE (file_ingestion_id uuid, lease_expires_at timestamptz)
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	given constant uuid[] := session_files.sort_ids(session_id, file_ingestion_ids);
	expires_at timestamptz;
	batch record;
	kept uuid[] := '{}';
BEGIN
	PERFORM session_files.check_lease(lease);
	IF lease_token IS NULL THEN
		RAISE EXCEPTION 'lease_token must not be null' USING ERRCODE = 'null_value_not_allowed';
	END IF;
	expires_at := clock_timestamp() + lease;
	FOR batch IN SELECT * FROM session_files.leave_lease(session_id, given, lease_token) AS l WHERE l.is_held LOOP
		INSERT INTO session_files.file_queue
				(session_id, due_at, file_ingestion_ids, generation, attempt, claimed_at, last_reason, lease_token, worker)
			VALUES (extend_lease.session_id, expires_at, batch.ids, batch.generation, batch.attempt, batch.claimed_at, batch.last_reason,
				extend_lease.lease_token, batch.worker);
		kept := kept || batch.ids;
	END LOOP;
	RETURN QUERY
		SELECT g.id, CASE WHEN k.id IS NOT NULL THEN expires_at END
		FROM unnest(given) AS g (id) LEFT JOIN unnest(kept) AS k (id) ON k.id = g.id
		ORDER BY g.id;
END
$$;
COMMENT ON FUNCTION session_files.extend_lease(uuid, uuid[], uuid, interval) IS
	'Extends a lease for these files to the given duration from now (more than 0, at most 1 year, default 5 minutes). Returns the new '
	'end per file, by id. NULL if the lease does not hold the file. Errors: 22004 (NULL), 22023 (duration).';

CREATE FUNCTION session_files.release_files(session_id uuid, file_ingestion_ids uuid[], lease_token uuid)
	RETURNS TABLE (file_ingestion_id uuid, changed boolean)
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	given constant uuid[] := session_files.sort_ids(session_id, file_ingestion_ids);
	batch record;
	released uuid[] := '{}';
BEGIN
	IF lease_token IS NULL THEN
		RAISE EXCEPTION 'lease_token must not be null' USING ERRCODE = 'null_value_not_allowed';
	END IF;
	FOR batch IN SELECT * FROM session_files.leave_lease(session_id, given, lease_token) AS l WHERE l.is_held LOOP
		INSERT INTO session_files.file_queue (session_id, due_at, file_ingestion_ids, generation, attempt, claimed_at, last_reason)
			VALUES (release_files.session_id, clock_timestamp(), batch.ids, batch.generation, batch.attempt - 1, batch.claimed_at, batch.last_reason);
		released := released || batch.ids;
	END LOOP;
	IF released <> '{}' THEN
		PERFORM session_files.notify_work(session_id);
	END IF;
	RETURN QUERY
		SELECT g.id, r.id IS NOT NULL
		FROM unnest(given) AS g (id) LEFT JOIN unnest(released) AS r (id) ON r.id = g.id
		ORDER BY g.id;
END
$$;
COMMENT ON FUNCTION session_files.release_files(uuid, uuid[], uuid) IS
	'Gives back files that a lease holds. Other workers can claim them at once, and the attempt does not count. Returns per file, by '
	'id, whether it was given back. Errors: 22004 (NULL).';
