-- Whether all that the extension keeps agrees with itself, and what can be made again: for the administrator after a disaster, or a restore
-- without triggers.

CREATE FUNCTION session_files.file_digest(
	file_ingestion_id uuid,
	ingestion_status session_files.ingestion_status,
	ingestion_status_reason session_files.ingestion_status_reason,
	name text
) RETURNS bigint
	LANGUAGE c STABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'session_files_file_digest';
COMMENT ON FUNCTION session_files.file_digest(uuid, session_files.ingestion_status, session_files.ingestion_status_reason, text) IS
	'Returns what a file adds, by XOR, to the digest of its session (file_counts.digest). NULL if an argument other than the reason is '
	'NULL.';

-- Called by check and repair, for their errors' sake.
CREATE FUNCTION session_files.require_all_rows(caller text) RETURNS void
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	hidden regclass;
BEGIN
	SELECT c.oid INTO hidden FROM pg_class AS c
		WHERE c.relnamespace = 'session_files'::regnamespace AND c.relkind = 'r' AND row_security_active(c.oid)
		ORDER BY c.relname LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION '% needs to see all rows, and row level security hides some of % from %', caller, hidden, current_user
			USING ERRCODE = 'insufficient_privilege',
				HINT = 'Call it as a superuser, the owner of the tables, or a role with BYPASSRLS.';
	END IF;
END
$$;
COMMENT ON FUNCTION session_files.require_all_rows(text) IS
	'Raises 42501 if row level security applies to the current user on one of the tables.';

CREATE FUNCTION session_files.count_errors()
	RETURNS TABLE (session_id uuid, failed bigint, finished bigint, pending bigint, digest bigint)
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
AS $$
	SELECT s.session_id, w.failed, w.finished, w.pending, w.digest
	FROM session_files.upload_sessions AS s
		LEFT JOIN (
			SELECT f.session_id,
				count(*) FILTER (WHERE f.ingestion_status = 'FAILED') AS failed,
				count(*) FILTER (WHERE f.ingestion_status = 'FINISHED') AS finished,
				count(*) FILTER (WHERE f.ingestion_status = 'PENDING') AS pending,
				bit_xor(session_files.file_digest(f.file_ingestion_id, f.ingestion_status, f.ingestion_status_reason, f.name)) AS digest
			FROM session_files.files AS f GROUP BY f.session_id) AS f ON f.session_id = s.session_id
		LEFT JOIN (
			SELECT c.session_id, sum(c.failed)::bigint AS failed, sum(c.finished)::bigint AS finished, sum(c.pending)::bigint AS pending,
				bit_xor(c.digest) AS digest
			FROM session_files.file_counts AS c GROUP BY c.session_id) AS c ON c.session_id = s.session_id,
		LATERAL (SELECT coalesce(f.failed, 0) - coalesce(c.failed, 0) AS failed, coalesce(f.finished, 0) - coalesce(c.finished, 0) AS finished,
			coalesce(f.pending, 0) - coalesce(c.pending, 0) AS pending, coalesce(f.digest, 0) # coalesce(c.digest, 0) AS digest) AS w
	WHERE (w.failed, w.finished, w.pending, w.digest) <> (0, 0, 0, 0)
$$;
COMMENT ON FUNCTION session_files.count_errors() IS
	'Returns the sessions whose totals are wrong, and the differences: to be added to file_counts and, for the digest, XORed.';

CREATE FUNCTION session_files.unqueued_files() RETURNS TABLE (session_id uuid, file_ingestion_id uuid, retries integer)
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
AS $$
	SELECT f.session_id, f.file_ingestion_id, f.retries
	FROM session_files.files AS f JOIN session_files.upload_sessions AS s ON s.session_id = f.session_id
	WHERE f.ingestion_status = 'PENDING'
	EXCEPT
	SELECT q.session_id, unnest(q.file_ingestion_ids), q.retries FROM session_files.file_queue AS q
$$;
COMMENT ON FUNCTION session_files.unqueued_files() IS 'Returns PENDING files that are not in file_queue, so that no worker can claim them.';

CREATE FUNCTION session_files.files_queued_twice() RETURNS TABLE (place tid, session_id uuid, file_ingestion_ids uuid[])
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
AS $$
	SELECT e.place, e.session_id, array_agg(e.id ORDER BY e.id)
	FROM (
		SELECT q.ctid AS place, q.session_id, i.id, q.retries,
			-- A worker that holds a file keeps it.
			row_number() OVER (PARTITION BY q.session_id, i.id, q.retries ORDER BY q.lease_token IS NULL, q.due_at DESC, q.ctid) AS number
		FROM session_files.file_queue AS q, unnest(q.file_ingestion_ids) AS i (id)) AS e
		JOIN session_files.files AS f ON f.session_id = e.session_id AND f.file_ingestion_id = e.id AND f.retries = e.retries
	WHERE e.number > 1 AND f.ingestion_status = 'PENDING'
	GROUP BY e.place, e.session_id
$$;
COMMENT ON FUNCTION session_files.files_queued_twice() IS
	'Returns PENDING files that two workers could claim at the same time: per queue row, its files that another queue row has too.';

-- The rules are read back from what PostgreSQL prints of them. Some zones print times, in some styles, that are then read as another zone's.
CREATE FUNCTION session_files.rule_breaks(OUT checked bigint, OUT broken bigint, OUT example text)
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
	SET DateStyle = 'ISO'
	SET TimeZone = 'UTC'
AS $$
DECLARE
	rules record;
	one record;
BEGIN
	checked := 0;
	broken := 0;
	FOR rules IN
		SELECT c.conrelid::regclass AS of_table, string_agg(format('(%s) IS FALSE', pg_get_expr(c.conbin, c.conrelid)), ' OR ') AS are_broken
		FROM pg_constraint AS c
		WHERE c.contype = 'c' AND c.conrelid <> 0 AND c.connamespace = 'session_files'::regnamespace
		GROUP BY c.conrelid ORDER BY 1
	LOOP
		EXECUTE format('SELECT count(*) AS checked, count(*) FILTER (WHERE %2$s) AS broken, min(ctid) FILTER (WHERE %2$s) AS place FROM %1$s',
			rules.of_table, rules.are_broken) INTO one;
		checked := checked + one.checked;
		broken := broken + one.broken;
		IF one.broken > 0 THEN
			example := coalesce(example, format('the row of %s at ctid %s', rules.of_table, one.place));
		END IF;
	END LOOP;
END
$$;
COMMENT ON FUNCTION session_files.rule_breaks() IS
	'Returns how many rows of all tables were checked against the CHECK constraints of their table, and how many violate one.';

CREATE FUNCTION session_files.missing_guards() RETURNS TABLE (invariant text, number bigint, guard text, problem text)
	LANGUAGE sql STABLE
	SET search_path = pg_catalog, pg_temp
AS $$
	WITH tables AS (
		SELECT c.oid, c.relname, c.relrowsecurity FROM pg_class AS c
		WHERE c.relnamespace = 'session_files'::regnamespace
			AND c.relname IN ('workspaces', 'workspace_grants', 'upload_sessions', 'files', 'file_counts', 'file_queue', 'file_deletions')),
	expected (invariant, table_name, names) AS (VALUES
		('triggers', 'files', '{count_deletes,count_inserts,count_updates,fail_long_name,queue_deletes,queue_inserts,queue_updates,session_cleanup}'::text[]),
		('triggers', 'upload_sessions', '{notify_end,session_cleanup}'),
		('triggers', 'workspaces', '{grant_creator}'),
		('triggers', 'workspace_grants', '{report_changes,report_truncate}'),
		('constraints', 'files', '{files_id_is_uuid7,files_long_name_failed,files_name_length,files_name_not_empty,files_pkey,files_reason_when_failed,files_session_id_fkey}'),
		('constraints', 'upload_sessions', '{upload_sessions_expires_at,upload_sessions_pkey,upload_sessions_workspace_name_fkey}'),
		('constraints', 'workspaces', '{workspaces_created_at,workspaces_name_length,workspaces_pkey}'),
		('constraints', 'workspace_grants', '{workspace_grants_workspace_name_fkey}'),
		('constraints', 'file_counts', '{file_counts_pkey}'),
		('constraints', 'file_queue', '{file_queue_has_files,file_queue_lease,file_queue_times,file_queue_worker}'),
		('indexes', 'files', '{files_name_idx,files_pkey,files_reason_idx,files_status_idx,files_status_name_idx}'),
		('indexes', 'upload_sessions', '{upload_sessions_expiry_idx,upload_sessions_pkey,upload_sessions_workspace_idx}'),
		('indexes', 'workspaces', '{workspaces_pkey}'),
		('indexes', 'workspace_grants', '{workspace_grants_every_key,workspace_grants_key}'),
		('indexes', 'file_counts', '{file_counts_marks_idx,file_counts_pkey}'),
		('indexes', 'file_queue', '{file_queue_due_idx,file_queue_lease_idx}'),
		('indexes', 'file_deletions', '{file_deletions_session_idx}'),
		('policies', 'files', '{visible_sessions}'),
		('policies', 'upload_sessions', '{visible_workspaces}'),
		('policies', 'workspaces', '{new_workspaces,visible_workspaces}'),
		('policies', 'workspace_grants', '{visible_workspaces}'),
		('policies', 'file_counts', '{visible_sessions}'),
		('policies', 'file_queue', '{visible_sessions}'),
		('policies', 'file_deletions', '{visible_sessions}')),
	present (invariant, table_id, name, problem) AS (
		SELECT 'triggers', g.tgrelid, g.tgname::text, CASE WHEN g.tgenabled IN ('D', 'R') THEN 'is disabled' END FROM pg_trigger AS g
		UNION ALL
		SELECT 'constraints', c.conrelid, c.conname::text, CASE WHEN NOT c.convalidated THEN 'is not validated' END FROM pg_constraint AS c
		UNION ALL
		SELECT 'indexes', i.indrelid, c.relname::text, CASE WHEN NOT (i.indisvalid AND i.indisready AND i.indislive) THEN 'is not valid' END
			FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
		UNION ALL
		SELECT 'policies', p.polrelid, p.polname::text,
			-- To turn grants off is to turn them off everywhere.
			CASE WHEN NOT t.relrowsecurity AND (SELECT bool_or(o.relrowsecurity) FROM tables AS o) THEN 'is not applied' END
			FROM pg_policy AS p JOIN tables AS t ON t.oid = p.polrelid)
	SELECT e.invariant, count(*) OVER (PARTITION BY e.invariant), format('session_files.%s: %s', e.table_name, n.name),
		CASE WHEN p.name IS NULL THEN 'is missing' ELSE p.problem END
	FROM expected AS e CROSS JOIN unnest(e.names) AS n (name)
		LEFT JOIN tables AS t ON t.relname = e.table_name
		LEFT JOIN present AS p ON p.invariant = e.invariant AND p.table_id = t.oid AND p.name = n.name
	UNION ALL
	-- Those of the foreign keys have names of no meaning.
	SELECT 'triggers', 0, format('session_files.%s: a trigger of %s', t.relname, c.conname), 'is disabled'
	FROM pg_trigger AS g JOIN tables AS t ON t.oid = g.tgrelid JOIN pg_constraint AS c ON c.oid = g.tgconstraint
	WHERE g.tgisinternal AND g.tgenabled IN ('D', 'R')
$$;
COMMENT ON FUNCTION session_files.missing_guards() IS
	'Returns the triggers, constraints, indexes and policies of the extension''s tables, how many of each kind there should be, and '
	'the problem of each that is not as it should be.';

CREATE FUNCTION session_files.check() RETURNS TABLE (invariant text, checked bigint, broken bigint, example text)
	LANGUAGE plpgsql STABLE
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	sessions bigint;
	files bigint;
	pending bigint;
	queued bigint;
BEGIN
	PERFORM session_files.require_all_rows('check()');
	SELECT count(*) INTO sessions FROM session_files.upload_sessions;
	SELECT count(*), count(*) FILTER (WHERE f.ingestion_status = 'PENDING') INTO files, pending FROM session_files.files AS f;
	SELECT count(*) INTO queued FROM session_files.file_queue;

	RETURN QUERY SELECT 'totals', sessions, count(*),
		min(format('session %s: to be added are FAILED %s, FINISHED %s, PENDING %s%s', e.session_id, e.failed, e.finished, e.pending,
			CASE WHEN e.digest <> 0 THEN '; another digest' ELSE '' END))
		FROM session_files.count_errors() AS e;
	RETURN QUERY SELECT 'totals_session', count(*), count(*) FILTER (WHERE s.session_id IS NULL),
		min(format('totals of session %s', c.session_id)) FILTER (WHERE s.session_id IS NULL)
		FROM session_files.file_counts AS c LEFT JOIN session_files.upload_sessions AS s ON s.session_id = c.session_id;
	RETURN QUERY SELECT 'queue', pending, count(*), min(format('file %s of session %s', u.file_ingestion_id, u.session_id))
		FROM session_files.unqueued_files() AS u;
	RETURN QUERY SELECT 'queue_once', pending, coalesce(sum(cardinality(t.file_ingestion_ids)), 0)::bigint,
		min(format('file %s of session %s', t.file_ingestion_ids[1], t.session_id))
		FROM session_files.files_queued_twice() AS t;
	RETURN QUERY SELECT 'queue_session', queued, count(*), min(format('files of session %s', q.session_id))
		FROM session_files.file_queue AS q
		WHERE NOT EXISTS (SELECT FROM session_files.upload_sessions AS s WHERE s.session_id = q.session_id);
	RETURN QUERY SELECT 'deletions_session', count(*), count(*) FILTER (WHERE s.session_id IS NULL),
		min(format('deletions of session %s', d.session_id)) FILTER (WHERE s.session_id IS NULL)
		FROM session_files.file_deletions AS d LEFT JOIN session_files.upload_sessions AS s ON s.session_id = d.session_id;
	RETURN QUERY SELECT 'files_session', files, count(*), min(format('file %s of session %s', f.file_ingestion_id, f.session_id))
		FROM session_files.files AS f
		WHERE NOT EXISTS (SELECT FROM session_files.upload_sessions AS s WHERE s.session_id = f.session_id);
	RETURN QUERY SELECT 'sessions_workspace', sessions, count(*), min(format('session %s of workspace %s', s.session_id, s.workspace_name))
		FROM session_files.upload_sessions AS s
		WHERE NOT EXISTS (SELECT FROM session_files.workspaces AS w WHERE w.name = s.workspace_name);
	RETURN QUERY SELECT 'grants', count(*), count(*) FILTER (WHERE r.oid IS NULL OR (w.name IS NULL AND g.workspace_name IS NOT NULL)),
		min(format('role %s, workspace %s', g.role, g.workspace_name))
			FILTER (WHERE r.oid IS NULL OR (w.name IS NULL AND g.workspace_name IS NOT NULL))
		FROM session_files.workspace_grants AS g LEFT JOIN pg_roles AS r ON r.oid = g.role
			LEFT JOIN session_files.workspaces AS w ON w.name = g.workspace_name;
	RETURN QUERY SELECT 'rules', r.checked, r.broken, r.example FROM session_files.rule_breaks() AS r;
	RETURN QUERY SELECT m.invariant, max(m.number), count(m.problem), min(m.guard || ' ' || m.problem)
		FROM session_files.missing_guards() AS m GROUP BY m.invariant ORDER BY m.invariant;
END
$$;
COMMENT ON FUNCTION session_files.check() IS
	'Checks every invariant in one snapshot, without waiting for locks. Reads all tables. Returns a row per invariant: how many were '
	'checked, how many are broken, and an example. Errors: 42501 (row level security hides rows).';

CREATE FUNCTION session_files.repair() RETURNS TABLE (invariant text, repaired bigint)
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	changed bigint;
	waiting uuid[];
	this_session uuid;
BEGIN
	PERFORM session_files.require_all_rows('repair()');
	-- With a snapshot from before the lock, what another call has repaired meanwhile would be repaired twice.
	IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
		RAISE EXCEPTION 'repair() needs the isolation level READ COMMITTED, and this transaction is %', upper(current_setting('transaction_isolation'))
			USING ERRCODE = 'invalid_transaction_state';
	END IF;
	-- Against TRUNCATE, and against another call; writers and readers go on.
	LOCK TABLE session_files.upload_sessions, session_files.files IN ACCESS SHARE MODE;
	LOCK TABLE session_files.file_counts IN SHARE UPDATE EXCLUSIVE MODE;

	-- A difference, not a number: what other transactions change at the same time, they change in files and in counts alike. It goes into a
	-- slot of its own. Sessions stay until the end of this transaction, so that their counts go with them.
	INSERT INTO session_files.file_counts AS c (session_id, slot, failed, finished, pending, digest)
		SELECT e.session_id, pg_current_xact_id()::text::bigint, e.failed, e.finished, e.pending, e.digest
		FROM session_files.count_errors() AS e JOIN session_files.upload_sessions AS s ON s.session_id = e.session_id
		FOR KEY SHARE OF s SKIP LOCKED
		ON CONFLICT ON CONSTRAINT file_counts_pkey DO UPDATE SET failed = c.failed + excluded.failed,
			finished = c.finished + excluded.finished, pending = c.pending + excluded.pending, digest = c.digest # excluded.digest;
	GET DIAGNOSTICS changed = ROW_COUNT;
	RETURN QUERY SELECT 'totals', changed;

	DELETE FROM session_files.file_counts AS c WHERE c.ctid = ANY (ARRAY(
		SELECT o.ctid FROM session_files.file_counts AS o
		WHERE NOT EXISTS (SELECT FROM session_files.upload_sessions AS s WHERE s.session_id = o.session_id) FOR UPDATE SKIP LOCKED));
	GET DIAGNOSTICS changed = ROW_COUNT;
	RETURN QUERY SELECT 'totals_session', changed;

	-- In rows of as many files as the trigger would make.
	WITH missing AS MATERIALIZED (
		SELECT u.session_id, u.file_ingestion_id, u.retries
		FROM session_files.unqueued_files() AS u JOIN session_files.upload_sessions AS s ON s.session_id = u.session_id
		FOR KEY SHARE OF s SKIP LOCKED),
	placed AS (
		SELECT m.*, row_number() OVER (PARTITION BY m.session_id, m.retries ORDER BY m.file_ingestion_id) - 1 AS place,
			least((count(*) OVER (PARTITION BY m.session_id, m.retries) + 15) / 16, 100) AS per_row
		FROM missing AS m),
	batches AS (
		SELECT p.session_id, p.retries, array_agg(p.file_ingestion_id ORDER BY p.file_ingestion_id) AS ids
		FROM placed AS p GROUP BY p.session_id, p.retries, p.place / p.per_row),
	queued AS (
		INSERT INTO session_files.file_queue AS q (session_id, due_at, file_ingestion_ids, retries)
			SELECT b.session_id, session_files.uuid7_time(b.ids[1]), b.ids, b.retries FROM batches AS b
			RETURNING q.session_id, cardinality(q.file_ingestion_ids) AS files)
	SELECT coalesce(sum(q.files), 0), coalesce(array_agg(DISTINCT q.session_id), '{}') INTO changed, waiting FROM queued AS q;
	FOREACH this_session IN ARRAY waiting LOOP
		PERFORM session_files.notify_work(this_session);
	END LOOP;
	RETURN QUERY SELECT 'queue', changed;

	WITH surplus AS MATERIALIZED (
		SELECT q.ctid AS place, t.file_ingestion_ids AS ids
		FROM session_files.files_queued_twice() AS t JOIN session_files.file_queue AS q ON q.ctid = t.place
		FOR UPDATE OF q SKIP LOCKED),
	emptied AS (
		DELETE FROM session_files.file_queue AS q USING surplus AS s
		WHERE q.ctid = s.place AND q.file_ingestion_ids <@ s.ids RETURNING cardinality(s.ids) AS files),
	reduced AS (
		UPDATE session_files.file_queue AS q SET file_ingestion_ids = session_files.pick_ids(q.file_ingestion_ids, s.ids, false)
		FROM surplus AS s
		WHERE q.ctid = s.place AND NOT q.file_ingestion_ids <@ s.ids RETURNING cardinality(s.ids) AS files)
	SELECT coalesce(sum(r.files), 0) INTO changed FROM (TABLE emptied UNION ALL TABLE reduced) AS r;
	RETURN QUERY SELECT 'queue_once', changed;

	DELETE FROM session_files.file_queue AS q WHERE q.ctid = ANY (ARRAY(
		SELECT o.ctid FROM session_files.file_queue AS o
		WHERE NOT EXISTS (SELECT FROM session_files.upload_sessions AS s WHERE s.session_id = o.session_id) FOR UPDATE SKIP LOCKED));
	GET DIAGNOSTICS changed = ROW_COUNT;
	RETURN QUERY SELECT 'queue_session', changed;

	DELETE FROM session_files.file_deletions AS d WHERE d.ctid = ANY (ARRAY(
		SELECT o.ctid FROM session_files.file_deletions AS o
		WHERE NOT EXISTS (SELECT FROM session_files.upload_sessions AS s WHERE s.session_id = o.session_id) FOR UPDATE SKIP LOCKED));
	GET DIAGNOSTICS changed = ROW_COUNT;
	RETURN QUERY SELECT 'deletions_session', changed;

	DELETE FROM session_files.workspace_grants AS g
		WHERE NOT EXISTS (SELECT FROM pg_roles AS r WHERE r.oid = g.role)
			OR (g.workspace_name IS NOT NULL AND NOT EXISTS (SELECT FROM session_files.workspaces AS w WHERE w.name = g.workspace_name));
	GET DIAGNOSTICS changed = ROW_COUNT;
	RETURN QUERY SELECT 'grants', changed;
END
$$;
COMMENT ON FUNCTION session_files.repair() IS
	'Computes totals and queue again from the files, and removes rows of sessions, roles and workspaces that do not exist. DROP, '
	'ALTER, TRUNCATE, and deletions of a session that is being repaired wait for it; other statements do not. Returns the number of '
	'repairs per invariant of check(). Errors: 42501 (row level security hides rows), 25000 (not READ COMMITTED).';
