-- What time does to sessions: they expire, and long after that they go. maintain() does it in small steps, for any scheduler. It may run
-- in one backend for years: a plan is made for each statement, by what the tables are then.

-- Fails files of an expired session that no worker holds, some at most; returns how many queue rows it looked at. Files that another
-- transaction has locked wait for the next call.
CREATE FUNCTION session_files.expire_files(session_id uuid, max_files bigint, OUT seen bigint, OUT failed bigint)
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
	SET enable_seqscan = off
	SET plan_cache_mode = force_custom_plan
	SET jit = off
AS $$
#variable_conflict use_column
DECLARE
	batch record;
	pending bigint;
	settled bigint;
BEGIN
	seen := 0;
	failed := 0;
	FOR batch IN
		SELECT q.ctid AS place, q.file_ingestion_ids AS ids, q.generation, q.last_reason FROM session_files.file_queue AS q
			WHERE q.session_id = expire_files.session_id AND (q.lease_token IS NULL OR q.due_at <= clock_timestamp())
			LIMIT max_files FOR UPDATE SKIP LOCKED
	LOOP
		EXIT WHEN failed >= max_files;
		seen := seen + 1;
		SELECT count(*) INTO pending FROM session_files.files AS f
			WHERE f.ctid = ANY (session_files.locate_ids(expire_files.session_id, batch.ids))
				AND f.ingestion_status = 'PENDING' AND f.generation <= batch.generation;
		UPDATE session_files.files AS f
			SET ingestion_status = 'FAILED', ingestion_status_reason = coalesce(batch.last_reason, 'FILE_NOT_FOUND')
			WHERE f.ctid = ANY (ARRAY(
				SELECT g.ctid FROM session_files.files AS g
					WHERE g.ctid = ANY (session_files.locate_ids(expire_files.session_id, batch.ids))
						AND g.ingestion_status = 'PENDING' AND g.generation <= batch.generation
					FOR NO KEY UPDATE SKIP LOCKED));
		GET DIAGNOSTICS settled = ROW_COUNT;
		failed := failed + settled;
		IF settled = pending THEN
			DELETE FROM session_files.file_queue AS q WHERE q.ctid = batch.place;
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION session_files.expire_files(uuid, bigint) IS
	'Step of maintain for a session that has expired: makes files that no worker holds FAILED, with the reason of their last attempt '
	'or FILE_NOT_FOUND.';

CREATE FUNCTION session_files._maintain(
	max_files integer,
	OUT sessions_expired bigint,
	OUT files_failed bigint,
	OUT sessions_deleted bigint,
	OUT files_deleted bigint,
	OUT more boolean
)
	LANGUAGE plpgsql
	SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
	budget bigint := max_files;
	this_session uuid;
	step record;
	deleted bigint;
BEGIN
	IF max_files IS NULL THEN
		RAISE EXCEPTION 'max_files must not be null' USING ERRCODE = 'null_value_not_allowed';
	END IF;
	IF max_files NOT BETWEEN 1 AND 1000000 THEN
		RAISE EXCEPTION 'max_files is %, and it must be 1 to 1000000', max_files USING ERRCODE = 'invalid_parameter_value';
	END IF;
	sessions_expired := 0;
	files_failed := 0;
	sessions_deleted := 0;
	files_deleted := 0;
	-- A session that another transaction has locked, to add files or in another call, is left for the next call.
	FOR this_session IN
		SELECT s.session_id FROM session_files.upload_sessions AS s
			WHERE s.status IN ('OPEN', 'CLOSED') AND s.expires_at <= clock_timestamp()
			ORDER BY s.expires_at FOR NO KEY UPDATE SKIP LOCKED
	LOOP
		EXIT WHEN budget <= 0;
		SELECT e.seen, e.failed INTO step FROM session_files.expire_files(this_session, budget) AS e;
		files_failed := files_failed + step.failed;
		budget := budget - greatest(step.seen, step.failed, 1);
		PERFORM FROM session_files.files AS f WHERE f.session_id = this_session AND f.ingestion_status = 'PENDING' LIMIT 1;
		IF NOT FOUND THEN
			UPDATE session_files.upload_sessions AS s SET status = 'EXPIRED' WHERE s.session_id = this_session;
			sessions_expired := sessions_expired + 1;
		END IF;
	END LOOP;
	FOR this_session IN
		SELECT s.session_id FROM session_files.upload_sessions AS s
			WHERE s.status = 'EXPIRED' AND s.expires_at < session_files.retained_since()
			ORDER BY s.expires_at FOR UPDATE SKIP LOCKED
	LOOP
		EXIT WHEN budget <= 0;
		DELETE FROM session_files.files AS f
			WHERE f.ctid = ANY (ARRAY(
				SELECT g.ctid FROM session_files.files AS g WHERE g.session_id = this_session
					ORDER BY g.file_ingestion_id LIMIT budget FOR UPDATE SKIP LOCKED));
		GET DIAGNOSTICS deleted = ROW_COUNT;
		files_deleted := files_deleted + deleted;
		budget := budget - greatest(deleted, 1);
		PERFORM FROM session_files.files AS f WHERE f.session_id = this_session LIMIT 1;
		IF NOT FOUND THEN
			DELETE FROM session_files.upload_sessions AS s WHERE s.session_id = this_session;
			sessions_deleted := sessions_deleted + 1;
		END IF;
	END LOOP;
	more := budget <= 0;
END
$$;
CREATE FUNCTION session_files.maintain(
	max_files integer DEFAULT 10000,
	OUT sessions_expired bigint,
	OUT files_failed bigint,
	OUT sessions_deleted bigint,
	OUT files_deleted bigint,
	OUT more boolean
)
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'session_files_as_owner';
COMMENT ON FUNCTION session_files.maintain(integer) IS
	'Expires sessions and deletes old ones, up to max_files files (1 to 1000000, default 10000). In a session past expires_at, PENDING '
	'files that no worker holds become FAILED. When none is PENDING, the session becomes EXPIRED. Sessions that expired longer ago '
	'than the setting session_files.session_retention are deleted, files first. Skips locked rows, so several calls can run at the '
	'same time. Returns the numbers, and more: whether work may be left. Errors: 22004 (NULL), 22023 (max_files out of range), 42501 '
	'(no grant of all workspaces as keeper).';
