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
	SET jit = off
AS $$
#variable_conflict use_column
DECLARE
	batch record;
	failed uuid[];
	token constant uuid := gen_random_uuid();
	expires_at timestamptz;
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
	expires_at := clock_timestamp() + lease;
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

-- Intervals whose parts outweigh each other, and arrays of several dimensions, get the 22023 of what is out of range.

CREATE OR REPLACE FUNCTION session_files.create_session(
	workspace_name text,
	write_mode session_files.write_mode DEFAULT 'KEEP',
	expires_in interval DEFAULT NULL
) RETURNS uuid
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	new_id uuid;
	expires_in_range boolean;
BEGIN
	IF workspace_name IS NULL OR write_mode IS NULL THEN
		RAISE EXCEPTION 'workspace_name and write_mode must not be null'
			USING ERRCODE = 'null_value_not_allowed';
	END IF;
	-- Intervals are compared by months of 30 days of 24 hours, and added by the calendar: parts with different signs, which outweigh each
	-- other in a comparison, can lead anywhere. So the parts have limits, which keep the sum in range, and the sum is looked at too.
	expires_in_range := expires_in > interval '0' AND expires_in <= interval '1000 years'
		AND extract(year FROM expires_in) BETWEEN -1000 AND 1000 AND extract(day FROM expires_in) BETWEEN -1000000 AND 1000000;
	IF expires_in_range THEN
		expires_in_range := now() + expires_in > now();
	END IF;
	IF NOT expires_in_range THEN
		RAISE EXCEPTION 'expires_in is "%", and it must be more than 0 and at most 1000 years', expires_in
			USING ERRCODE = 'invalid_parameter_value';
	END IF;
	PERFORM FROM session_files.workspaces AS w WHERE w.name = create_session.workspace_name;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'there is no workspace "%"', workspace_name USING ERRCODE = 'no_data_found';
	END IF;
	INSERT INTO session_files.upload_sessions (workspace_name, write_mode, expires_at)
		VALUES (create_session.workspace_name, create_session.write_mode, coalesce(now() + expires_in, session_files.default_expiry()))
		RETURNING session_id INTO new_id;
	RETURN new_id;
END
$$;

CREATE OR REPLACE FUNCTION session_files.check_lease(lease interval) RETURNS void
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

CREATE OR REPLACE FUNCTION session_files.extend_lease(
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
				(session_id, due_at, file_ingestion_ids, retries, attempt, claimed_at, last_reason, lease_token, worker)
			VALUES (extend_lease.session_id, expires_at, batch.ids, batch.retries, batch.attempt, batch.claimed_at, batch.last_reason,
				extend_lease.lease_token, batch.worker);
		kept := kept || batch.ids;
	END LOOP;
	RETURN QUERY
		SELECT g.id, CASE WHEN k.id IS NOT NULL THEN expires_at END
		FROM unnest(given) AS g (id) LEFT JOIN unnest(kept) AS k (id) ON k.id = g.id
		ORDER BY g.id;
END
$$;

CREATE OR REPLACE FUNCTION session_files.retry_failed(
	session_id uuid,
	reasons session_files.ingestion_status_reason[] DEFAULT NULL
) RETURNS bigint
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
	SET enable_seqscan = off
	SET plan_cache_mode = force_custom_plan
	SET jit = off
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
		FROM session_files.upload_sessions AS s WHERE s.session_id = retry_failed.session_id FOR SHARE;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'there is no session "%"', session_id USING ERRCODE = 'no_data_found';
	END IF;
	IF session.status = 'EXPIRED' OR session.expires_at <= clock_timestamp() THEN
		RAISE EXCEPTION 'session "%" expired at %, and its files cannot be retried', session_id, session.expires_at
			USING ERRCODE = 'object_not_in_prerequisite_state';
	END IF;
	UPDATE session_files.files AS f
		SET ingestion_status = 'PENDING', ingestion_status_reason = NULL, retries = f.retries + 1
		WHERE f.session_id = retry_failed.session_id
			AND f.ingestion_status_reason = ANY (coalesce(reasons, enum_range(NULL::session_files.ingestion_status_reason)))
			AND f.ingestion_status_reason <> 'FILE NAME TOO LONG. MAX LENGTH IS 800';
	GET DIAGNOSTICS changed = ROW_COUNT;
	RETURN changed;
END
$$;
COMMENT ON FUNCTION session_files.retry_failed(uuid, session_files.ingestion_status_reason[]) IS
	'Makes FAILED files PENDING again, with all their attempts before them: those that failed for one of the reasons, or all (NULL, the '
	'default) but those whose name is too long. Returns how many. Errors: 22004 (NULL), 22023 (the reason of a name too long, more than one '
	'dimension), 22P02 (unknown reason), P0002 (no such session), 55000 (session expired).';

COMMENT ON FUNCTION session_files.handle_request(text, text, json, bytea) IS
	'Answers an HTTP request. target is the raw request target (path?query, percent-encoded). Statuses: 200, 304 (the header '
	'If-None-Match, its name in lower case, has the ETag), 403 (no SELECT on upload_sessions and files), 404, 405, 422, 503 '
	'(/healthz, when a table is not found). The body for HEAD is that for GET, for the caller to leave out. No request raises an '
	'error: only a NULL method or target does (22004), and headers with an escape that is no text, as \u0000 (22P05, 22P02).';

-- Where enable_seqscan is off, a plan that cannot but read a table costs more than JIT would look at; it takes longer than the plan does.
ALTER FUNCTION session_files.maintain(integer) SET jit = off;
ALTER FUNCTION session_files.expire_files(uuid, bigint) SET jit = off;
ALTER FUNCTION session_files.leave_lease(uuid, uuid[], uuid) SET jit = off;
ALTER FUNCTION session_files.settle_files(uuid, uuid[], uuid[], integer, session_files.ingestion_status, session_files.ingestion_status_reason)
	SET jit = off;

-- A name whose file is deleted or renamed while it is registered is not left out.
CREATE OR REPLACE FUNCTION session_files.register_files(session_id uuid, names text[])
	RETURNS TABLE (file_ingestion_id uuid, name text, ingestion_status session_files.ingestion_status)
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
	SET enable_seqscan = off
	SET enable_hashjoin = off
	SET enable_mergejoin = off
	SET jit = off
AS $$
#variable_conflict use_column
DECLARE
	too_long record;
	session record;
	ids uuid[];
	their_names text[];
	statuses session_files.ingestion_status[];
BEGIN
	IF array_ndims(names) > 1 THEN
		RAISE EXCEPTION 'names has % dimensions, and one is allowed', array_ndims(names)
			USING ERRCODE = 'invalid_parameter_value';
	END IF;
	IF session_id IS NULL OR names IS NULL OR array_position(names, NULL) IS NOT NULL THEN
		RAISE EXCEPTION 'session_id, names and each name must not be null' USING ERRCODE = 'null_value_not_allowed';
	END IF;
	IF array_position(names, '') IS NOT NULL THEN
		RAISE EXCEPTION 'name % of % is empty', array_position(names, ''), cardinality(names)
			USING ERRCODE = 'invalid_parameter_value';
	END IF;
	-- As the table does (files_name_length), but with which name it is.
	SELECT n.ordinal, octet_length(n.name) AS bytes, char_length(n.name) AS characters INTO too_long
		FROM unnest(names) WITH ORDINALITY AS n (name, ordinal)
		WHERE octet_length(n.name) > 2600 AND char_length(n.name) > 830 ORDER BY n.ordinal LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'name % of % has % bytes and % characters, and 2600 bytes or 830 characters are allowed',
			too_long.ordinal, cardinality(names), too_long.bytes, too_long.characters
			USING ERRCODE = 'invalid_parameter_value';
	END IF;
	-- Locked in share mode: the session cannot be closed or deleted before these files are committed.
	SELECT s.status, s.expires_at INTO session
		FROM session_files.upload_sessions AS s WHERE s.session_id = register_files.session_id FOR SHARE;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'there is no session "%"', session_id USING ERRCODE = 'no_data_found';
	END IF;
	IF session.status <> 'OPEN' THEN
		RAISE EXCEPTION 'session "%" is %, and only an OPEN one takes files', session_id, session.status
			USING ERRCODE = 'object_not_in_prerequisite_state';
	END IF;
	IF session.expires_at <= clock_timestamp() THEN
		RAISE EXCEPTION 'session "%" expired at %, and takes no more files', session_id, session.expires_at
			USING ERRCODE = 'object_not_in_prerequisite_state';
	END IF;
	FOR attempt IN 1 .. 10 LOOP
		WITH added AS (
			INSERT INTO session_files.files (session_id, name)
				SELECT register_files.session_id, n.name
				FROM unnest(names) WITH ORDINALITY AS n (name, ordinal) ORDER BY n.ordinal
				ON CONFLICT (session_id, session_files.name_key(name)) DO NOTHING
				RETURNING file_ingestion_id, name, ingestion_status
		)
		SELECT array_agg(a.file_ingestion_id), array_agg(a.name), array_agg(a.ingestion_status)
			INTO ids, their_names, statuses FROM added AS a;
		IF coalesce(cardinality(ids), 0) < cardinality(names) THEN
			SELECT array_agg(f.file_ingestion_id ORDER BY p.ordinal), array_agg(f.name ORDER BY p.ordinal), array_agg(f.ingestion_status ORDER BY p.ordinal)
				INTO ids, their_names, statuses
				FROM unnest(session_files.locate_names(register_files.session_id, names)) WITH ORDINALITY AS p (place, ordinal),
					-- OFFSET keeps it from becoming a join, with all of the table on one side.
					LATERAL (SELECT g.* FROM session_files.files AS g WHERE g.ctid = p.place OFFSET 0) AS f;
		END IF;
		IF coalesce(cardinality(ids), 0) = cardinality(names) THEN
			RETURN QUERY SELECT * FROM unnest(ids, their_names, statuses);
			RETURN;
		END IF;
		-- A name that was there is not any more: another transaction has deleted or renamed its file meanwhile. It can be had now.
	END LOOP;
	RAISE EXCEPTION 'files of session "%" were deleted or renamed at the same time, 10 times over', session_id
		USING ERRCODE = 'serialization_failure';
END
$$;
COMMENT ON FUNCTION session_files.register_files(uuid, text[]) IS
	'Adds files to an OPEN session, in the order given. One row per name: its id, which is the one it had if the session has the name '
	'already, and its status: FAILED when the name is over 800 characters. Errors: 22004 (NULL), 22023 (a name that '
	'is empty, or over 2600 bytes and 830 characters; more than one dimension), P0002 (no such session), 55000 (session not OPEN, or '
	'expired), 40001 (others delete or rename such files all the time).';

-- A file that is inserted under the id of one that was deleted is another one, for which the queue's entry of the first is void: it begins
-- with more retries than that one had (src/deletions.c). Not dumped, as the queue is not. The columns are known to the C code by their
-- position (src/catalog.h).
CREATE TABLE session_files.file_deletions (
	session_id uuid NOT NULL,
	up_to uuid NOT NULL,
	retries integer NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
COMMENT ON TABLE session_files.file_deletions IS
	'Bounds of what was deleted from a session: no file with an id over the greatest up_to, or with more retries than the most. Sessions from which nothing was deleted have no row.';
CREATE INDEX file_deletions_session_idx ON session_files.file_deletions (session_id);

CREATE TRIGGER queue_deletes AFTER DELETE ON session_files.files
	REFERENCING OLD TABLE AS removed
	FOR EACH STATEMENT EXECUTE FUNCTION session_files.queue_files();
COMMENT ON FUNCTION session_files.queue_files() IS
	'Trigger on files: queues what a statement made PENDING, counting retries of what was there before, under the same id too, and has the transaction notify session_files_work with the session''s id.';
COMMENT ON FUNCTION session_files.forget_counts() IS
	'Trigger: removes the counts, the queue and the deletions of the sessions that a statement deleted, or all of them when files is truncated.';
ALTER TABLE session_files.file_deletions ENABLE ROW LEVEL SECURITY;
CREATE POLICY visible_sessions ON session_files.file_deletions USING (session_files.may_see_session(session_id));
REVOKE ALL ON TABLE session_files.file_deletions FROM PUBLIC;
-- What was deleted before, as far as the queue still has it.
INSERT INTO session_files.file_deletions (session_id, up_to, retries)
	SELECT q.session_id, (pg_catalog.array_agg(i.id ORDER BY i.id DESC))[1], pg_catalog.max(q.retries)
	FROM session_files.file_queue AS q, pg_catalog.unnest(q.file_ingestion_ids) AS i (id)
	WHERE NOT EXISTS (SELECT FROM session_files.files AS f
		WHERE f.session_id OPERATOR(pg_catalog.=) q.session_id AND f.file_ingestion_id OPERATOR(pg_catalog.=) i.id)
	GROUP BY q.session_id;

-- Times are finite, and of years that clients can read. A row that breaks one of these, or of those below, makes the update fail with the
-- constraint's name (23514).
ALTER TABLE session_files.workspaces
	ADD CONSTRAINT workspaces_created_at CHECK (created_at >= '1970-01-01 00:00:00+00' AND created_at < '9999-12-31 00:00:00+00');
ALTER TABLE session_files.upload_sessions
	DROP CONSTRAINT upload_sessions_expires_at,
	ADD CONSTRAINT upload_sessions_expires_at CHECK (
		created_at >= '1970-01-01 00:00:00+00' AND expires_at > created_at AND expires_at < '9999-12-31 00:00:00+00');
ALTER TABLE session_files.file_queue
	ADD CONSTRAINT file_queue_times CHECK (
		due_at >= '1970-01-01 00:00:00+00' AND due_at < '11000-01-01 00:00:00+00'
		AND claimed_at >= '1970-01-01 00:00:00+00' AND claimed_at < '11000-01-01 00:00:00+00'),
	DROP CONSTRAINT file_queue_has_files,
	ADD CONSTRAINT file_queue_has_files CHECK (cardinality(file_ingestion_ids) BETWEEN 1 AND 100000),
	ADD CONSTRAINT file_queue_worker CHECK (char_length(worker) BETWEEN 1 AND 200);
CREATE OR REPLACE VIEW session_files.session_progress WITH (security_barrier) AS
	SELECT s.session_id, s.workspace_name, s.status, s.created_at, s.expires_at,
		c.failed + c.finished + c.pending AS total, c.pending, q.claimed, q.put_off, c.finished, c.failed,
		(SELECT coalesce(jsonb_object_agg(r.reason, r.files), '{}')
			FROM (SELECT f.ingestion_status_reason AS reason, count(*) AS files FROM session_files.files AS f
				WHERE f.session_id = s.session_id AND f.ingestion_status_reason IS NOT NULL GROUP BY 1) AS r) AS failed_by_reason,
		(SELECT session_files.uuid7_time(f.file_ingestion_id) FROM session_files.files AS f
			WHERE f.session_id = s.session_id AND f.ingestion_status = 'PENDING'
			ORDER BY f.file_ingestion_id LIMIT 1) AS oldest_pending,
		round(c.settled_per_second, 1) AS files_per_second,
		CASE WHEN c.pending > 0 AND c.settled_per_second > 0
			-- Slower than that, nobody can say.
			THEN now() + least(c.pending / c.settled_per_second, 1e9) * interval '1 second' END AS estimated_end
	FROM session_files.upload_sessions AS s,
		LATERAL (
			SELECT coalesce(sum(c.failed), 0) AS failed, coalesce(sum(c.finished), 0) AS finished, coalesce(sum(c.pending), 0) AS pending,
				-- This minute's, and the last one's as far as it lies within the last 60 seconds.
				coalesce(sum(CASE this_minute - c.minute
					WHEN 0 THEN c.settled + c.settled_before * (1 - past)
					WHEN 1 THEN c.settled * (1 - past)
					ELSE 0 END), 0)
				/ greatest(least(extract(epoch FROM clock_timestamp()) - extract(epoch FROM s.created_at), 60), 1) AS settled_per_second
			FROM session_files.file_counts AS c,
				LATERAL (SELECT extract(epoch FROM clock_timestamp() - '2000-01-01 00:00:00+00') / 60 AS minutes) AS t,
				LATERAL (SELECT floor(t.minutes) AS this_minute, t.minutes - floor(t.minutes) AS past) AS m
			WHERE c.session_id = s.session_id
		) AS c,
		LATERAL (
			SELECT coalesce(sum(cardinality(q.file_ingestion_ids)) FILTER (WHERE q.lease_token IS NOT NULL AND q.due_at > clock_timestamp()), 0) AS claimed,
				coalesce(sum(cardinality(q.file_ingestion_ids)) FILTER (WHERE q.lease_token IS NULL AND q.claimed_at IS NOT NULL AND q.due_at > clock_timestamp()), 0) AS put_off
			FROM session_files.file_queue AS q WHERE q.session_id = s.session_id
		) AS q
	WHERE session_files.may_see_session(s.session_id);
CREATE OR REPLACE VIEW session_files.leases WITH (security_barrier) AS
	SELECT q.worker, q.lease_token, q.session_id, sum(cardinality(q.file_ingestion_ids)) AS files, max(q.attempt) AS attempt,
		min(q.claimed_at) AS claimed_at, min(q.due_at) AS expires_at,
		CASE WHEN isfinite(min(q.due_at)) THEN min(q.due_at) - clock_timestamp() END AS remaining
	FROM session_files.file_queue AS q
	-- Any token. Without statistics the planner takes a range for few rows, and reads their index; IS NOT NULL it takes for all of them.
	WHERE q.lease_token BETWEEN '00000000-0000-0000-0000-000000000000' AND 'ffffffff-ffff-ffff-ffff-ffffffffffff'
		AND session_files.may_see_session(q.session_id)
	GROUP BY q.worker, q.lease_token, q.session_id;
CREATE OR REPLACE VIEW session_files.workers WITH (security_barrier) AS
	SELECT l.worker, count(DISTINCT l.session_id) AS sessions, count(DISTINCT l.lease_token) AS leases, sum(l.files) AS files,
		coalesce(sum(l.files) FILTER (WHERE l.expires_at <= clock_timestamp()), 0) AS overdue_files,
		min(l.claimed_at) AS oldest_claim, max(l.claimed_at) AS newest_claim, min(l.expires_at) AS next_expiry
	FROM session_files.leases AS l
	GROUP BY l.worker;

-- The planner's statistics are of all rows, whoever asks, and EXPLAIN prints what it estimates by them: an id, a name or a time of another
-- workspace can be found by halving, with SELECT alone. So there are none, of any column; the functions do not need them. ANALYZE leaves
-- those that it collected before.
DO $$
DECLARE
	target record;
BEGIN
	FOR target IN
		SELECT c.oid::pg_catalog.regclass AS relation, c.relkind, a.attname, a.attnum
		FROM pg_catalog.pg_class AS c
			JOIN pg_catalog.pg_attribute AS a ON a.attrelid OPERATOR(pg_catalog.=) c.oid
			LEFT JOIN pg_catalog.pg_index AS i ON i.indexrelid OPERATOR(pg_catalog.=) c.oid
		WHERE c.relnamespace OPERATOR(pg_catalog.=) 'session_files'::pg_catalog.regnamespace::pg_catalog.oid
			AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped
			-- 0 stands for an expression.
			AND (c.relkind OPERATOR(pg_catalog.=) 'r' OR i.indkey[a.attnum OPERATOR(pg_catalog.-) 1] OPERATOR(pg_catalog.=) 0)
		ORDER BY c.relname, a.attnum
	LOOP
		EXECUTE CASE target.relkind WHEN 'r' THEN
			pg_catalog.format('ALTER TABLE %s ALTER COLUMN %I SET STATISTICS 0', target.relation, target.attname)
		ELSE
			pg_catalog.format('ALTER INDEX %s ALTER COLUMN %s SET STATISTICS 0', target.relation, target.attnum)
		END;
	END LOOP;
END
$$;
DELETE FROM pg_catalog.pg_statistic AS s USING pg_catalog.pg_class AS c
	WHERE c.oid OPERATOR(pg_catalog.=) s.starelid AND c.relnamespace OPERATOR(pg_catalog.=) 'session_files'::pg_catalog.regnamespace::pg_catalog.oid;

-- Names have a maximum, so that the whole name stands in an index entry. The keys of names over 300 characters are others than before.
CREATE OR REPLACE FUNCTION session_files.name_key(name text) RETURNS bytea
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'session_files_whole_name_key';
DO $$
DECLARE
	too_long record;
BEGIN
	SELECT pg_catalog.count(*) AS files, pg_catalog.min(f.session_id::pg_catalog.text COLLATE pg_catalog."C") AS session INTO too_long
		FROM session_files.files AS f
		WHERE pg_catalog.octet_length(f.name) OPERATOR(pg_catalog.>) 2600 AND pg_catalog.char_length(f.name) OPERATOR(pg_catalog.>) 830;
	IF too_long.files OPERATOR(pg_catalog.>) 0 THEN
		RAISE EXCEPTION '% files have a name of more than 2600 bytes and 830 characters, one of them in session %', too_long.files, too_long.session
			USING ERRCODE = 'check_violation', HINT = 'Delete them, or give them shorter names: '
				'UPDATE session_files.files SET name = left(name, 830) WHERE octet_length(name) > 2600 AND char_length(name) > 830.';
	END IF;
	PERFORM FROM session_files.files AS f WHERE pg_catalog.char_length(f.name) OPERATOR(pg_catalog.>) 300 LIMIT 1;
	IF FOUND THEN
		REINDEX INDEX session_files.files_name_idx;
		REINDEX INDEX session_files.files_status_name_idx;
	END IF;
END
$$;
ALTER TABLE session_files.files
	ADD CONSTRAINT files_name_length CHECK (octet_length(name) <= 2600 OR char_length(name) <= 830);
COMMENT ON FUNCTION session_files.name_key(text) IS
	'What the indexes hold of a file name: different for different names, in the order of their UTF-8 bytes. At most 2,658 bytes for names that files takes.';
