-- Whether all that the extension keeps agrees with itself, and what can be made again: for the administrator after a disaster, or a restore
-- without triggers.

CREATE FUNCTION session_files._file_digest(
	file_ingestion_id uuid,
	ingestion_status session_files.ingestion_status,
	ingestion_status_reason session_files.ingestion_status_reason,
	name text
) RETURNS bigint
	LANGUAGE c STABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'session_files_file_digest';
COMMENT ON FUNCTION session_files._file_digest(uuid, session_files.ingestion_status, session_files.ingestion_status_reason, text) IS
	'Returns what a file adds, by XOR, to the digest of its session (file_counts.digest). NULL if an argument other than the reason is '
	'NULL.';

CREATE FUNCTION session_files._count_errors()
	RETURNS TABLE (session_id uuid, failed bigint, finished bigint, pending bigint, digest bigint)
	LANGUAGE sql STABLE
AS $$
	SELECT s.session_id, w.failed, w.finished, w.pending, w.digest
	FROM session_files.upload_sessions AS s
		LEFT JOIN (
			SELECT f.session_id,
				count(*) FILTER (WHERE f.ingestion_status = 'FAILED') AS failed,
				count(*) FILTER (WHERE f.ingestion_status = 'FINISHED') AS finished,
				count(*) FILTER (WHERE f.ingestion_status = 'PENDING') AS pending,
				bit_xor(session_files._file_digest(f.file_ingestion_id, f.ingestion_status, f.ingestion_status_reason, f.name)) AS digest
			FROM session_files.files AS f GROUP BY f.session_id) AS f ON f.session_id = s.session_id
		LEFT JOIN (
			SELECT c.session_id, sum(c.failed)::bigint AS failed, sum(c.finished)::bigint AS finished, sum(c.pending)::bigint AS pending,
				bit_xor(c.digest) AS digest
			FROM session_files.file_counts AS c GROUP BY c.session_id) AS c ON c.session_id = s.session_id,
		LATERAL (SELECT coalesce(f.failed, 0) - coalesce(c.failed, 0) AS failed, coalesce(f.finished, 0) - coalesce(c.finished, 0) AS finished,
			coalesce(f.pending, 0) - coalesce(c.pending, 0) AS pending, coalesce(f.digest, 0) # coalesce(c.digest, 0) AS digest) AS w
	WHERE (w.failed, w.finished, w.pending, w.digest) <> (0, 0, 0, 0)
$$;
COMMENT ON FUNCTION session_files._count_errors() IS
	'Returns the sessions whose totals are wrong, and the differences: to be added to file_counts and, for the digest, XORed.';

-- By aggregates and windows, not by joins: for tables without statistics a join can take the square of the time.
CREATE FUNCTION session_files._unqueued_files()
	RETURNS TABLE (session_id uuid, file_ingestion_id uuid, generation bigint, is_touched boolean)
	LANGUAGE sql STABLE
AS $$
	SELECT e.session_id, e.id, max(e.of_file), bool_or(e.is_touched)
	FROM (
		SELECT f.session_id, f.file_ingestion_id AS id, f.generation AS of_file, NULL::bigint AS of_row, f.xmax <> '0' AS is_touched
		FROM session_files.files AS f JOIN session_files.upload_sessions AS s ON s.session_id = f.session_id
		WHERE f.ingestion_status = 'PENDING'
		UNION ALL
		SELECT q.session_id, unnest(q.file_ingestion_ids), NULL, q.generation, NULL FROM session_files.file_queue AS q) AS e
	GROUP BY e.session_id, e.id
	HAVING max(e.of_file) IS NOT NULL AND (max(e.of_row) >= max(e.of_file)) IS NOT TRUE
$$;
COMMENT ON FUNCTION session_files._unqueued_files() IS
	'Returns PENDING files that are not in file_queue, so that no worker can claim them; and whether a transaction has locked or changed '
	'this version of the file, or is about to.';

CREATE FUNCTION session_files._files_queued_twice() RETURNS TABLE (place tid, session_id uuid, file_ingestion_ids uuid[])
	LANGUAGE sql STABLE
AS $$
	SELECT v.place, v.session_id, array_agg(v.id ORDER BY v.id)
	FROM (
		SELECT e.place, e.session_id, e.id,
			-- A worker that holds a file keeps it.
			row_number() OVER (PARTITION BY e.session_id, e.id ORDER BY e.lease_token IS NULL, e.due_at DESC, e.place) AS number
		FROM (
			SELECT q.*, max(q.of_file) OVER (PARTITION BY q.session_id, q.id) AS generation
			FROM (
				SELECT f.session_id, f.file_ingestion_id AS id, f.generation AS of_file, NULL::tid AS place, NULL::bigint AS of_row,
					NULL::uuid AS lease_token, NULL::timestamptz AS due_at
				FROM session_files.files AS f WHERE f.ingestion_status = 'PENDING'
				UNION ALL
				SELECT q.session_id, unnest(q.file_ingestion_ids), NULL, q.ctid, q.generation, q.lease_token, q.due_at
				FROM session_files.file_queue AS q) AS q) AS e
		WHERE e.of_row >= e.generation) AS v
	WHERE v.number > 1
	GROUP BY v.place, v.session_id
$$;
COMMENT ON FUNCTION session_files._files_queued_twice() IS
	'Returns PENDING files that two workers could claim at the same time: per queue row, its files that another queue row has too.';

-- The snapshot is older than what is read of the sequence: so no file or queue row in it is ahead because it was written meanwhile.
CREATE FUNCTION session_files._generation_errors(OUT ahead bigint, OUT highest bigint, OUT drawn bigint)
	LANGUAGE sql STABLE
AS $$
	SELECT count(*), max(g.generation), min(s.drawn)
	FROM (SELECT CASE WHEN s.is_called THEN s.last_value ELSE s.last_value - 1 END AS drawn FROM session_files.files_generation_seq AS s) AS s
		JOIN (
			SELECT f.generation FROM session_files.files AS f
			UNION ALL
			SELECT q.generation FROM session_files.file_queue AS q) AS g ON g.generation > s.drawn
$$;
COMMENT ON FUNCTION session_files._generation_errors() IS
	'Returns how many files and queue rows have a generation that the sequence has not drawn yet: a file that becomes PENDING could get '
	'it once more. Also the greatest of them, and the last that was drawn.';

CREATE FUNCTION session_files._name_hash_errors() RETURNS TABLE (place tid, session_id uuid, file_ingestion_id uuid, name_hash bigint)
	LANGUAGE sql STABLE
AS $$
	SELECT f.ctid, f.session_id, f.file_ingestion_id, h.name_hash
	FROM session_files.files AS f JOIN session_files.upload_sessions AS s ON s.session_id = f.session_id
		JOIN session_files.workspaces AS w ON w.name = s.workspace_name,
		LATERAL (SELECT CASE WHEN f.ingestion_status = 'FINISHED' AND f.superseded_by IS NULL
			THEN session_files._name_hash(w.workspace_id, f.name) END) AS h (name_hash)
	WHERE f.name_hash IS DISTINCT FROM h.name_hash
$$;
COMMENT ON FUNCTION session_files._name_hash_errors() IS
	'Returns files that write modes do not find by their name, or find though they should not, where they are, and what their name_hash '
	'should be.';

-- The rules are read back from what PostgreSQL prints of them. Some zones print times, in some styles, that are then read as another zone's.
CREATE FUNCTION session_files._rule_breaks(OUT checked bigint, OUT broken bigint, OUT example text)
	LANGUAGE plpgsql STABLE
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
		SELECT r.of_table::regclass, string_agg(format('(%s) IS FALSE', r.rule), ' OR ') AS are_broken
		FROM (
			SELECT c.conrelid, pg_get_expr(c.conbin, c.conrelid)
			FROM pg_constraint AS c
			WHERE c.contype = 'c' AND c.conrelid <> 0 AND c.connamespace = 'session_files'::regnamespace
			UNION ALL
			-- Of the domains: the column is their VALUE.
			SELECT a.attrelid, regexp_replace(pg_get_expr(c.conbin, 0), '\mVALUE\M', quote_ident(a.attname), 'g')
			FROM pg_constraint AS c JOIN pg_attribute AS a ON a.atttypid = c.contypid AND NOT a.attisdropped
				JOIN pg_class AS t ON t.oid = a.attrelid
			WHERE c.contype = 'c' AND t.relkind = 'r' AND t.relnamespace = 'session_files'::regnamespace) AS r (of_table, rule)
		GROUP BY r.of_table ORDER BY 1
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
COMMENT ON FUNCTION session_files._rule_breaks() IS
	'Returns how many rows of all tables were checked against the CHECK constraints of their table, and of the domains of its columns, and how '
	'many violate one.';

CREATE FUNCTION session_files._missing_guards() RETURNS TABLE (invariant text, number bigint, guard text, problem text)
	LANGUAGE sql STABLE
AS $$
	WITH tables AS (
		SELECT c.oid, c.relname, c.relrowsecurity FROM pg_class AS c
		WHERE c.relnamespace = 'session_files'::regnamespace
			AND c.relname IN ('workspaces', 'workspace_grants', 'upload_sessions', 'files', 'file_counts', 'file_queue')),
	expected (invariant, table_name, names) AS (VALUES
		('triggers', 'files', '{count_deletes,count_inserts,count_updates,derive_columns,queue_inserts,queue_updates,session_cleanup}'::text[]),
		('triggers', 'upload_sessions', '{check_expired,follow_session,keep_session_id,notify_end,session_cleanup}'),
		('triggers', 'workspace_grants', '{report_changes,report_truncate}'),
		('constraints', 'files', '{files_error_length,files_error_when_failed,files_id_is_uuid7,files_location,files_long_name_failed,files_metadata,files_name_length,files_name_not_empty,files_pkey,files_reason_when_failed,files_session_id_fkey,files_size,files_type}'),
		('constraints', 'upload_sessions', '{upload_sessions_expires_at,upload_sessions_pkey,upload_sessions_priority,upload_sessions_workspace_name_fkey}'),
		('constraints', 'workspaces', '{workspaces_created_at,workspaces_name_length,workspaces_pkey}'),
		('constraints', 'workspace_grants', '{workspace_grants_pkey,workspace_grants_workspace_name_fkey}'),
		('constraints', 'file_counts', '{file_counts_pkey}'),
		('constraints', 'file_queue', '{file_queue_files,file_queue_lease,file_queue_pkey,file_queue_time,file_queue_worker_length}'),
		('indexes', 'files', '{files_name_hash_idx,files_name_idx,files_pkey,files_reason_idx,files_status_idx,files_status_name_idx}'),
		('indexes', 'upload_sessions', '{upload_sessions_expiry_idx,upload_sessions_pkey,upload_sessions_workspace_idx}'),
		('indexes', 'workspaces', '{workspaces_id_idx,workspaces_pkey}'),
		('indexes', 'workspace_grants', '{workspace_grants_every_key,workspace_grants_key,workspace_grants_pkey,workspace_grants_workspace_idx}'),
		('indexes', 'file_counts', '{file_counts_marks_idx,file_counts_pkey}'),
		('indexes', 'file_queue', '{file_queue_due_idx,file_queue_lease_idx,file_queue_new_idx,file_queue_pkey,file_queue_returned_idx,file_queue_workspace_returned_idx}'),
		('policies', 'files', '{visible_sessions}'),
		('policies', 'upload_sessions', '{visible_workspaces}'),
		('policies', 'workspaces', '{visible_workspaces}')),
	present (invariant, table_id, name, problem) AS (
		SELECT 'triggers', g.tgrelid, g.tgname::text, CASE WHEN g.tgenabled IN ('D', 'R') THEN 'is disabled' END FROM pg_trigger AS g
		UNION ALL
		-- Those of a domain are the table's that has a column of it.
		SELECT DISTINCT 'constraints', coalesce(a.attrelid, c.conrelid), c.conname::text, CASE WHEN NOT c.convalidated THEN 'is not validated' END
			FROM pg_constraint AS c LEFT JOIN pg_attribute AS a ON a.atttypid = c.contypid AND NOT a.attisdropped
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
	UNION ALL
	SELECT 'constraints', 0, 'session_files.files_generation_seq: ascending, CACHE 1, NO CYCLE', 'is not so'
	FROM pg_sequence AS s
	WHERE s.seqrelid = 'session_files.files_generation_seq'::regclass AND (s.seqcache > 1 OR s.seqincrement < 1 OR s.seqcycle)
$$;
COMMENT ON FUNCTION session_files._missing_guards() IS
	'Returns the triggers, constraints, indexes and policies of the extension''s tables, how many of each kind there should be, and '
	'the problem of each that is not as it should be.';

-- check and repair read whole tables, which the functions that run as the owner are otherwise kept from (src/owner.c).
CREATE FUNCTION session_files._check() RETURNS TABLE (invariant text, checked bigint, broken bigint, example text)
	LANGUAGE plpgsql STABLE
	SET enable_seqscan = on
AS $$
DECLARE
	sessions bigint;
	files bigint;
	pending bigint;
	queued bigint;
BEGIN
	SELECT count(*) INTO sessions FROM session_files.upload_sessions;
	SELECT count(*), count(*) FILTER (WHERE f.ingestion_status = 'PENDING') INTO files, pending FROM session_files.files AS f;
	SELECT count(*) INTO queued FROM session_files.file_queue;

	RETURN QUERY SELECT 'totals', sessions, count(*),
		min(format('session %s: to be added are FAILED %s, FINISHED %s, PENDING %s%s', e.session_id, e.failed, e.finished, e.pending,
			CASE WHEN e.digest <> 0 THEN '; another digest' ELSE '' END))
		FROM session_files._count_errors() AS e;
	RETURN QUERY SELECT 'totals_session', count(*), count(*) FILTER (WHERE s.session_id IS NULL),
		min(format('totals of session %s', c.session_id)) FILTER (WHERE s.session_id IS NULL)
		FROM session_files.file_counts AS c LEFT JOIN session_files.upload_sessions AS s ON s.session_id = c.session_id;
	RETURN QUERY SELECT 'queue', pending, count(*), min(format('file %s of session %s', u.file_ingestion_id, u.session_id))
		FROM session_files._unqueued_files() AS u;
	RETURN QUERY SELECT 'queue_once', pending, coalesce(sum(cardinality(t.file_ingestion_ids)), 0)::bigint,
		min(format('file %s of session %s', t.file_ingestion_ids[1], t.session_id))
		FROM session_files._files_queued_twice() AS t;
	RETURN QUERY SELECT 'queue_session', queued, count(*), min(format('files of session %s', q.session_id))
		FROM session_files.file_queue AS q
		WHERE NOT EXISTS (SELECT FROM session_files.upload_sessions AS s WHERE s.session_id = q.session_id);
	RETURN QUERY SELECT 'queue_workspace', queued, count(*),
		min(format('files of session %s: workspace %s, priority %s', q.session_id, q.workspace_name, q.priority))
		FROM session_files.file_queue AS q JOIN session_files.upload_sessions AS s ON s.session_id = q.session_id
		WHERE (q.workspace_name, q.priority) <> (s.workspace_name, s.priority);
	RETURN QUERY SELECT 'generations', files + queued, e.ahead, CASE WHEN e.ahead > 0 THEN
		format('the sequence files_generation_seq is at %s, and the greatest generation is %s', e.drawn, e.highest) END
		FROM session_files._generation_errors() AS e;
	RETURN QUERY SELECT 'name_hashes', files, count(*), min(format('file %s of session %s', e.file_ingestion_id, e.session_id))
		FROM session_files._name_hash_errors() AS e;
	RETURN QUERY SELECT 'files_session', files, count(*), min(format('file %s of session %s', f.file_ingestion_id, f.session_id))
		FROM session_files.files AS f
		WHERE NOT EXISTS (SELECT FROM session_files.upload_sessions AS s WHERE s.session_id = f.session_id);
	RETURN QUERY SELECT 'expired_pending', pending, count(*), min(format('file %s of session %s', f.file_ingestion_id, f.session_id))
		FROM session_files.files AS f JOIN session_files.upload_sessions AS s ON s.session_id = f.session_id
		WHERE f.ingestion_status = 'PENDING' AND s.status = 'EXPIRED';
	RETURN QUERY SELECT 'sessions_workspace', sessions, count(*), min(format('session %s of workspace %s', s.session_id, s.workspace_name))
		FROM session_files.upload_sessions AS s
		WHERE NOT EXISTS (SELECT FROM session_files.workspaces AS w WHERE w.name = s.workspace_name);
	RETURN QUERY SELECT 'grants', count(*), count(*) FILTER (WHERE r.oid IS NULL OR (w.name IS NULL AND g.workspace_name IS NOT NULL)),
		min(format('role %s, workspace %s', g.role, g.workspace_name))
			FILTER (WHERE r.oid IS NULL OR (w.name IS NULL AND g.workspace_name IS NOT NULL))
		FROM session_files.workspace_grants AS g LEFT JOIN pg_roles AS r ON r.oid = g.role
			LEFT JOIN session_files.workspaces AS w ON w.name = g.workspace_name;
	RETURN QUERY SELECT 'rules', r.checked, r.broken, r.example FROM session_files._rule_breaks() AS r;
	RETURN QUERY SELECT m.invariant, max(m.number), count(m.problem), min(m.guard || ' ' || m.problem)
		FROM session_files._missing_guards() AS m GROUP BY m.invariant ORDER BY m.invariant;
END
$$;
CREATE FUNCTION session_files.check() RETURNS TABLE (invariant text, checked bigint, broken bigint, example text)
	LANGUAGE c STABLE
	AS 'MODULE_PATHNAME', 'session_files_as_owner';
COMMENT ON FUNCTION session_files.check() IS
	'Checks every invariant in one snapshot, without waiting for locks. Reads all tables. Returns a row per invariant: how many were '
	'checked, how many are broken, and an example. Errors: 42501 (no grant of all workspaces as watcher or keeper).';

CREATE FUNCTION session_files._repair() RETURNS TABLE (invariant text, repaired bigint)
	LANGUAGE plpgsql
	SET enable_seqscan = on
AS $$
DECLARE
	changed bigint;
	next_generation bigint;
	waiting uuid[];
	this_session uuid;
BEGIN
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
		FROM session_files._count_errors() AS e JOIN session_files.upload_sessions AS s ON s.session_id = e.session_id
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

	-- By more than what other transactions draw meanwhile: setval must not set it back. But not without a limit: a role that inserts a file
	-- with a generation of its own choice must not use up the sequence for all.
	SELECT e.ahead, greatest(e.drawn, least(e.highest, 4000000000000000000)) + 1000 INTO changed, next_generation
		FROM session_files._generation_errors() AS e;
	IF changed > 0 THEN
		PERFORM setval('session_files.files_generation_seq', next_generation);
	END IF;
	RETURN QUERY SELECT 'generations', changed;

	-- In rows of as many files as the trigger would make. One that another transaction may be making PENDING again, with a
	-- smaller generation than another file's here, has a row of its own, as it would be in two valid ones otherwise (src/ingestion/batch.c).
	WITH missing AS MATERIALIZED (
		SELECT u.session_id, s.workspace_name, s.priority, u.file_ingestion_id, u.generation, CASE WHEN u.is_touched THEN u.generation END AS alone
		FROM session_files._unqueued_files() AS u JOIN session_files.upload_sessions AS s ON s.session_id = u.session_id
		FOR KEY SHARE OF s SKIP LOCKED),
	placed AS (
		SELECT m.*, row_number() OVER (PARTITION BY m.session_id, m.alone ORDER BY m.file_ingestion_id) - 1 AS place,
			least((count(*) OVER (PARTITION BY m.session_id, m.alone) + 15) / 16, 100) AS per_row
		FROM missing AS m),
	batches AS (
		SELECT p.session_id, p.workspace_name, p.priority, max(p.generation) AS generation, array_agg(p.file_ingestion_id ORDER BY p.file_ingestion_id) AS ids
		FROM placed AS p GROUP BY p.session_id, p.workspace_name, p.priority, p.alone, p.place / p.per_row),
	queued AS (
		INSERT INTO session_files.file_queue AS q (session_id, workspace_name, priority, due_at, file_ingestion_ids, generation)
			SELECT b.session_id, b.workspace_name, b.priority, session_files.uuid7_time(b.ids[1]), b.ids, b.generation FROM batches AS b
			RETURNING q.session_id, cardinality(q.file_ingestion_ids) AS files)
	SELECT coalesce(sum(q.files), 0), coalesce(array_agg(DISTINCT q.session_id), '{}') INTO changed, waiting FROM queued AS q;
	FOREACH this_session IN ARRAY waiting LOOP
		PERFORM session_files._notify_work(this_session);
	END LOOP;
	RETURN QUERY SELECT 'queue', changed;

	WITH surplus AS MATERIALIZED (
		SELECT q.ctid AS place, t.file_ingestion_ids AS ids
		FROM session_files._files_queued_twice() AS t JOIN session_files.file_queue AS q ON q.ctid = t.place
		FOR UPDATE OF q SKIP LOCKED),
	emptied AS (
		DELETE FROM session_files.file_queue AS q USING surplus AS s
		WHERE q.ctid = s.place AND q.file_ingestion_ids <@ s.ids RETURNING cardinality(s.ids) AS files),
	reduced AS (
		UPDATE session_files.file_queue AS q SET file_ingestion_ids = ARRAY(SELECT i.id FROM unnest(q.file_ingestion_ids) AS i (id) WHERE i.id <> ALL (s.ids) ORDER BY i.id)
		FROM surplus AS s
		WHERE q.ctid = s.place AND NOT q.file_ingestion_ids <@ s.ids RETURNING cardinality(s.ids) AS files)
	SELECT coalesce(sum(r.files), 0) INTO changed FROM (TABLE emptied UNION ALL TABLE reduced) AS r;
	RETURN QUERY SELECT 'queue_once', changed;

	DELETE FROM session_files.file_queue AS q WHERE q.ctid = ANY (ARRAY(
		SELECT o.ctid FROM session_files.file_queue AS o
		WHERE NOT EXISTS (SELECT FROM session_files.upload_sessions AS s WHERE s.session_id = o.session_id) FOR UPDATE SKIP LOCKED));
	GET DIAGNOSTICS changed = ROW_COUNT;
	RETURN QUERY SELECT 'queue_session', changed;

	UPDATE session_files.file_queue AS q SET workspace_name = s.workspace_name, priority = s.priority
		FROM session_files.upload_sessions AS s
		WHERE s.session_id = q.session_id AND (q.workspace_name, q.priority) <> (s.workspace_name, s.priority);
	GET DIAGNOSTICS changed = ROW_COUNT;
	RETURN QUERY SELECT 'queue_workspace', changed;

	WITH wrong AS MATERIALIZED (
		SELECT e.* FROM session_files._name_hash_errors() AS e JOIN session_files.files AS f ON f.ctid = e.place FOR UPDATE OF f SKIP LOCKED)
	UPDATE session_files.files AS f SET name_hash = w.name_hash FROM wrong AS w WHERE f.ctid = w.place;
	GET DIAGNOSTICS changed = ROW_COUNT;
	RETURN QUERY SELECT 'name_hashes', changed;

	UPDATE session_files.upload_sessions AS s SET status = 'CLOSED' WHERE s.ctid = ANY (ARRAY(
		SELECT e.ctid FROM session_files.upload_sessions AS e
		WHERE e.status = 'EXPIRED' AND EXISTS (SELECT FROM session_files.files AS f
			WHERE f.session_id = e.session_id AND f.ingestion_status = 'PENDING') FOR NO KEY UPDATE SKIP LOCKED));
	GET DIAGNOSTICS changed = ROW_COUNT;
	RETURN QUERY SELECT 'expired_pending', changed;

	DELETE FROM session_files.workspace_grants AS g
		WHERE NOT EXISTS (SELECT FROM pg_roles AS r WHERE r.oid = g.role)
			OR (g.workspace_name IS NOT NULL AND NOT EXISTS (SELECT FROM session_files.workspaces AS w WHERE w.name = g.workspace_name));
	GET DIAGNOSTICS changed = ROW_COUNT;
	RETURN QUERY SELECT 'grants', changed;
END
$$;
CREATE FUNCTION session_files.repair() RETURNS TABLE (invariant text, repaired bigint)
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'session_files_as_owner';
COMMENT ON FUNCTION session_files.repair() IS
	'Computes totals, queue and name hashes again from the files, moves the sequence of generations on, and removes rows of sessions, roles and '
	'workspaces that do not exist. DROP, ALTER, TRUNCATE, and deletions of a session that is being repaired wait for it; other statements '
	'do not. Returns the number of repairs per invariant of check(). Errors: 42501 (not a superuser, the owner '
	'of the tables or a role with BYPASSRLS), 25000 (not READ COMMITTED).';
