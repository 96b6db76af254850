-- What time does to sessions: they expire, and long after that they go. maintain() does it in small steps, for any scheduler. It may run
-- in one backend for years: a plan is made for each statement, by what the tables are then.
--
-- It waits for no transaction. It skips rows that are locked; what has no SKIP LOCKED, as an application's foreign keys, waits for 10 ms.
-- What a session meets is that session's trouble: it is rolled back in a subtransaction, and the others go on.

-- Does one session's part, for about max_files files. work is what it took of that. A session that another transaction has
-- locked, or is adding files to, is left for the next call: with FOR UPDATE that is an INSERT, too.
CREATE FUNCTION session_files._maintain_session(
	session_id uuid,
	max_files bigint,
	OUT work bigint,
	OUT sessions_expired bigint,
	OUT files_failed bigint,
	OUT sessions_deleted bigint,
	OUT files_deleted bigint,
	OUT sessions_failed bigint
)
	LANGUAGE plpgsql
	SET plan_cache_mode = force_custom_plan
	SET lock_timeout = '10ms'
AS $$
#variable_conflict use_column
DECLARE
	now_status session_files.session_status;
	batch record;
	pending bigint;
	settled bigint;
BEGIN
	work := 0;
	sessions_expired := 0;
	files_failed := 0;
	sessions_deleted := 0;
	files_deleted := 0;
	sessions_failed := 0;
	SELECT s.status INTO now_status FROM session_files.upload_sessions AS s
		WHERE s.session_id = _maintain_session.session_id
			AND s.expires_at < CASE WHEN s.status = 'EXPIRED' THEN session_files._retained_since() ELSE clock_timestamp() END
		FOR UPDATE SKIP LOCKED;
	IF now_status = 'EXPIRED' THEN
		-- The deletion of the session deletes what is left of its queue.
		PERFORM FROM session_files.file_queue AS q WHERE q.session_id = _maintain_session.session_id FOR UPDATE NOWAIT;
		DELETE FROM session_files.files AS f
			WHERE f.ctid = ANY (ARRAY(
				SELECT g.ctid FROM session_files.files AS g WHERE g.session_id = _maintain_session.session_id
					ORDER BY g.file_ingestion_id LIMIT max_files FOR UPDATE SKIP LOCKED));
		GET DIAGNOSTICS files_deleted = ROW_COUNT;
		work := files_deleted;
		PERFORM FROM session_files.files AS f WHERE f.session_id = _maintain_session.session_id LIMIT 1;
		IF NOT FOUND THEN
			DELETE FROM session_files.upload_sessions AS s WHERE s.session_id = _maintain_session.session_id;
			sessions_deleted := 1;
		END IF;
	ELSIF now_status IS NOT NULL THEN
		FOR batch IN
			SELECT q.ctid AS place, q.file_ingestion_ids AS ids, q.generation, q.last_reason FROM session_files.file_queue AS q
				WHERE q.session_id = _maintain_session.session_id AND (q.lease_token IS NULL OR q.due_at <= clock_timestamp())
				LIMIT max_files FOR UPDATE SKIP LOCKED
		LOOP
			EXIT WHEN work >= max_files;
			SELECT count(*) INTO pending FROM session_files.files AS f
				WHERE f.ctid = ANY (session_files._locate_ids(_maintain_session.session_id, batch.ids))
					AND f.ingestion_status = 'PENDING' AND f.generation <= batch.generation;
			UPDATE session_files.files AS f
				SET ingestion_status = 'FAILED', ingestion_status_reason = coalesce(batch.last_reason, 'FILE_NOT_FOUND')
				WHERE f.ctid = ANY (ARRAY(
					SELECT g.ctid FROM session_files.files AS g
						WHERE g.ctid = ANY (session_files._locate_ids(_maintain_session.session_id, batch.ids))
							AND g.ingestion_status = 'PENDING' AND g.generation <= batch.generation
						FOR NO KEY UPDATE SKIP LOCKED));
			GET DIAGNOSTICS settled = ROW_COUNT;
			files_failed := files_failed + settled;
			work := work + greatest(settled, 1);
			IF settled = pending THEN
				DELETE FROM session_files.file_queue AS q WHERE q.ctid = batch.place;
			END IF;
		END LOOP;
		PERFORM FROM session_files.files AS f
			WHERE f.session_id = _maintain_session.session_id AND f.ingestion_status = 'PENDING' LIMIT 1;
		IF NOT FOUND THEN
			UPDATE session_files.upload_sessions AS s SET status = 'EXPIRED' WHERE s.session_id = _maintain_session.session_id;
			sessions_expired := 1;
		END IF;
	END IF;
EXCEPTION
	WHEN lock_not_available OR serialization_failure THEN
		files_failed := 0;
		files_deleted := 0;
	WHEN OTHERS THEN
		files_failed := 0;
		files_deleted := 0;
		sessions_failed := 1;
		RAISE WARNING 'maintain() leaves session "%" as it is: % (SQLSTATE %)', session_id, SQLERRM, SQLSTATE USING ERRCODE = SQLSTATE;
END
$$;
COMMENT ON FUNCTION session_files._maintain_session(uuid, bigint) IS
	'Step of maintain for one session. In one past its end, makes PENDING files that no worker holds FAILED, with the reason of their '
	'last attempt or FILE_NOT_FOUND; if none is PENDING, makes the session EXPIRED. Deletes an EXPIRED one that is not retained any '
	'longer. An error is a WARNING, and changes nothing.';

CREATE FUNCTION session_files._maintain(
	max_files integer,
	OUT sessions_expired bigint,
	OUT files_failed bigint,
	OUT sessions_deleted bigint,
	OUT files_deleted bigint,
	OUT more boolean,
	OUT sessions_failed bigint
)
	LANGUAGE plpgsql
	SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
	start constant timestamptz := clock_timestamp();
	retained_since constant timestamptz := session_files._retained_since();
	budget bigint := max_files;
	this_session uuid;
	step record;
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
	sessions_failed := 0;
	-- In any order, so that no session that fails each time is always before the others.
	FOR this_session IN
		SELECT d.session_id
		FROM (
			SELECT s.session_id FROM session_files.upload_sessions AS s WHERE s.status IN ('OPEN', 'CLOSED') AND s.expires_at <= start
			UNION ALL
			SELECT s.session_id FROM session_files.upload_sessions AS s WHERE s.status = 'EXPIRED' AND s.expires_at < retained_since) AS d
		ORDER BY random() LIMIT max_files
	LOOP
		EXIT WHEN budget <= 0;
		SELECT * INTO step FROM session_files._maintain_session(this_session, budget);
		sessions_expired := sessions_expired + step.sessions_expired;
		files_failed := files_failed + step.files_failed;
		sessions_deleted := sessions_deleted + step.sessions_deleted;
		files_deleted := files_deleted + step.files_deleted;
		sessions_failed := sessions_failed + step.sessions_failed;
		-- Of sessions that fail, a hundred end the call.
		budget := budget - greatest(step.work, step.sessions_failed * (max_files / 100), 1);
	END LOOP;
	-- Sessions that are done, where the last to finish files did not see it. They stay until the commit, which may mark them again.
	PERFORM session_files._notify_settled(m.session_id)
		FROM session_files.file_counts AS m JOIN session_files.upload_sessions AS s ON s.session_id = m.session_id
		WHERE m.slot < 0 AND s.status <> 'OPEN'
			AND (SELECT sum(p.pending) FROM session_files.file_counts AS p WHERE p.session_id = m.session_id) = 0
		FOR KEY SHARE OF s SKIP LOCKED;
	-- Not if all that the call met failed, or was locked: then there is time.
	more := budget <= 0 AND sessions_expired + files_failed + sessions_deleted + files_deleted > 0;
END
$$;
CREATE FUNCTION session_files.maintain(
	max_files integer DEFAULT 10000,
	OUT sessions_expired bigint,
	OUT files_failed bigint,
	OUT sessions_deleted bigint,
	OUT files_deleted bigint,
	OUT more boolean,
	OUT sessions_failed bigint
)
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'session_files_as_owner';
COMMENT ON FUNCTION session_files.maintain(integer) IS
	'Expires sessions and deletes old ones, up to max_files files (1 to 1000000, default 10000). In a session past expires_at, PENDING '
	'files that no worker holds become FAILED. When none is PENDING, the session becomes EXPIRED. Sessions that expired longer ago '
	'than the setting session_files.session_retention are deleted, files first. Skips locked rows, so several calls can run at the '
	'same time. A session that meets an error stays as it was: a WARNING has its id and SQLSTATE, sessions_failed counts it, and the '
	'others go on. Returns the numbers, and more: whether work may be left. Errors: 22004 (NULL), 22023 (max_files out of '
	'range), 42501 (no grant of all workspaces as keeper).';
