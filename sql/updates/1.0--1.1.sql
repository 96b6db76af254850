\echo Use "ALTER EXTENSION session_files UPDATE TO '1.1'" to load this file. \quit

-- A claim waits for nobody, also not for a file that has no attempt left.
CREATE OR REPLACE FUNCTION session_files.claim_files(
	worker text,
	max integer DEFAULT 100,
	lease interval DEFAULT '5 minutes',
	workspace text DEFAULT NULL,
	session uuid DEFAULT NULL
) RETURNS TABLE (
	session_id uuid,
	file_ingestion_id uuid,
	name text,
	attempt integer,
	lease_token uuid,
	lease_expires_at timestamptz
)
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
	SET enable_seqscan = off
AS $$
#variable_conflict use_column
DECLARE
	batch record;
	failed uuid[];
	token constant uuid := gen_random_uuid();
	expires_at constant timestamptz := clock_timestamp() + lease;
BEGIN
	IF worker IS NULL OR max IS NULL THEN
		RAISE EXCEPTION 'worker and max must not be null' USING ERRCODE = 'null_value_not_allowed';
	END IF;
	IF char_length(worker) NOT BETWEEN 1 AND 200 THEN
		RAISE EXCEPTION 'worker has % characters, and 1 to 200 are allowed', char_length(worker)
			USING ERRCODE = 'invalid_parameter_value';
	END IF;
	IF max NOT BETWEEN 1 AND 100000 THEN
		RAISE EXCEPTION 'max is %, and it must be 1 to 100000', max USING ERRCODE = 'invalid_parameter_value';
	END IF;
	PERFORM session_files.check_lease(lease);
	IF workspace IS NOT NULL THEN
		PERFORM FROM session_files.workspaces AS w WHERE w.name = workspace;
		IF NOT FOUND THEN
			RAISE EXCEPTION 'there is no workspace "%"', workspace USING ERRCODE = 'no_data_found';
		END IF;
	END IF;
	FOR batch IN SELECT * FROM session_files.take_batches(session, workspace, max) LOOP
		IF batch.rest IS NOT NULL THEN
			-- In rows of the size of this claim: the next worker may want as many. A lease that has run out still holds them.
			INSERT INTO session_files.file_queue
					(session_id, due_at, file_ingestion_ids, retries, attempt, claimed_at, last_reason, lease_token, worker)
				SELECT batch.session_id, CASE WHEN batch.claimed_at IS NULL THEN session_files.uuid7_time(batch.rest[i]) ELSE batch.due_at END,
					batch.rest[i : i + max - 1], batch.retries, batch.attempt, batch.claimed_at, batch.last_reason, batch.lease_token, batch.worker
				FROM generate_series(1, cardinality(batch.rest), max) AS i;
		END IF;
		IF batch.exhausted THEN
			WITH settled AS (
				UPDATE session_files.files AS f
					SET ingestion_status = 'FAILED', ingestion_status_reason = coalesce(batch.last_reason, 'INGESTING_FILE_FAILED')
					WHERE f.ctid = ANY (ARRAY(
						SELECT g.ctid FROM session_files.files AS g
							WHERE g.ctid = ANY (session_files.locate_ids(batch.session_id, batch.file_ingestion_ids))
								AND g.ingestion_status = 'PENDING' AND g.retries = batch.retries
							FOR NO KEY UPDATE SKIP LOCKED))
					RETURNING f.file_ingestion_id
			)
			SELECT array_agg(s.file_ingestion_id ORDER BY s.file_ingestion_id) INTO failed FROM settled AS s;
			-- A file that somebody has locked is left as it was found, for a later claim.
			IF cardinality(batch.file_ingestion_ids) > coalesce(cardinality(failed), 0) THEN
				INSERT INTO session_files.file_queue
						(session_id, due_at, file_ingestion_ids, retries, attempt, claimed_at, last_reason, lease_token, worker)
					VALUES (batch.session_id, batch.due_at, session_files.pick_ids(batch.file_ingestion_ids, coalesce(failed, '{}'), false),
						batch.retries, batch.attempt, batch.claimed_at, batch.last_reason, batch.lease_token, batch.worker);
			END IF;
		ELSIF cardinality(batch.file_ingestion_ids) > 0 THEN
			INSERT INTO session_files.file_queue
					(session_id, due_at, file_ingestion_ids, retries, attempt, claimed_at, last_reason, lease_token, worker)
				VALUES (batch.session_id, expires_at, batch.file_ingestion_ids, batch.retries, batch.attempt + 1, clock_timestamp(), batch.last_reason,
					token, claim_files.worker);
			RETURN QUERY
				SELECT batch.session_id, f.id, f.name, batch.attempt + 1, token, expires_at
				FROM unnest(batch.file_ingestion_ids, batch.names) AS f (id, name);
		END IF;
	END LOOP;
END
$$;
