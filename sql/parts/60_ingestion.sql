CREATE FUNCTION session_files.create_workspace(name text) RETURNS void
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF name IS NULL THEN
		RAISE EXCEPTION 'workspace name must not be null' USING ERRCODE = 'null_value_not_allowed';
	END IF;
	IF char_length(name) NOT BETWEEN 1 AND 600 THEN
		RAISE EXCEPTION 'workspace name has % characters, and 1 to 600 are allowed', char_length(name)
			USING ERRCODE = 'invalid_parameter_value';
	END IF;
	INSERT INTO session_files.workspaces (name) VALUES (create_workspace.name) ON CONFLICT DO NOTHING;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'workspace "%" already exists', name USING ERRCODE = 'unique_violation';
	END IF;
END
$$;
COMMENT ON FUNCTION session_files.create_workspace(text) IS
	'Creates a workspace. Errors: 22004 (NULL), 22023 (not 1 to 600 characters), 23505 (exists).';

CREATE FUNCTION session_files.create_session(
	workspace_name text,
	write_mode session_files.write_mode DEFAULT 'KEEP',
	expires_in interval DEFAULT '24 hours'
) RETURNS uuid
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	new_id uuid;
BEGIN
	IF workspace_name IS NULL OR write_mode IS NULL OR expires_in IS NULL THEN
		RAISE EXCEPTION 'workspace_name, write_mode and expires_in must not be null'
			USING ERRCODE = 'null_value_not_allowed';
	END IF;
	IF expires_in <= interval '0' OR expires_in > interval '1000 years' THEN
		RAISE EXCEPTION 'expires_in is "%", and it must be more than 0 and at most 1000 years', expires_in
			USING ERRCODE = 'invalid_parameter_value';
	END IF;
	PERFORM FROM session_files.workspaces AS w WHERE w.name = create_session.workspace_name;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'there is no workspace "%"', workspace_name USING ERRCODE = 'no_data_found';
	END IF;
	INSERT INTO session_files.upload_sessions (workspace_name, write_mode, expires_at)
		VALUES (create_session.workspace_name, create_session.write_mode, now() + expires_in)
		RETURNING session_id INTO new_id;
	RETURN new_id;
END
$$;
COMMENT ON FUNCTION session_files.create_session(text, session_files.write_mode, interval) IS
	'Opens an upload session in a workspace and returns its id. Errors: 22004 (NULL), 22023 (expires_in not within 0 and 1000 years), P0002 (no such workspace).';

-- Plans are cached for a whole connection, while a session grows from nothing to millions of files:
-- so the plans of the next functions are kept to the indexes. Going through the files in the order of
-- their ids also keeps two workers that finish overlapping batches from a deadlock.
CREATE FUNCTION session_files.register_files(session_id uuid, names text[])
	RETURNS TABLE (file_ingestion_id uuid, name text, ingestion_status session_files.ingestion_status)
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
	SET enable_seqscan = off
	SET enable_hashjoin = off
	SET enable_mergejoin = off
AS $$
#variable_conflict use_column
DECLARE
	session_status session_files.session_status;
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
	-- Locked in share mode: the session cannot be closed or deleted before these files are committed.
	SELECT s.status INTO session_status
		FROM session_files.upload_sessions AS s WHERE s.session_id = register_files.session_id FOR SHARE;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'there is no session "%"', session_id USING ERRCODE = 'no_data_found';
	END IF;
	IF session_status <> 'OPEN' THEN
		RAISE EXCEPTION 'session "%" is %, and only an OPEN one takes files', session_id, session_status
			USING ERRCODE = 'object_not_in_prerequisite_state';
	END IF;
	INSERT INTO session_files.files (session_id, name)
		SELECT register_files.session_id, n.name
		FROM unnest(names) WITH ORDINALITY AS n (name, ordinal) ORDER BY n.ordinal
		ON CONFLICT (session_id, session_files.name_key(name)) DO NOTHING;
	RETURN QUERY
		SELECT f.file_ingestion_id, f.name, f.ingestion_status
		FROM unnest(names) WITH ORDINALITY AS n (name, ordinal)
		JOIN session_files.files AS f
			ON f.session_id = register_files.session_id AND session_files.name_key(f.name) = session_files.name_key(n.name)
		ORDER BY n.ordinal;
END
$$;
COMMENT ON FUNCTION session_files.register_files(uuid, text[]) IS
	'Adds files to an OPEN session, in the order given. One row per name: its id, which is the one it had if the session has the name '
	'already, and its status: FAILED when the name is over 800 characters. Errors: 22004 (NULL), 22023 (empty name, more than one '
	'dimension), P0002 (no such session), 55000 (session not OPEN).';

-- What finish_files and fail_files have in common.
CREATE FUNCTION session_files.settle_files(
	session_id uuid,
	file_ingestion_ids uuid[],
	new_status session_files.ingestion_status,
	new_reason session_files.ingestion_status_reason
) RETURNS TABLE (
	file_ingestion_id uuid,
	ingestion_status session_files.ingestion_status,
	ingestion_status_reason session_files.ingestion_status_reason,
	changed boolean
)
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
	SET enable_seqscan = off
	SET enable_bitmapscan = off
	SET enable_hashjoin = off
AS $$
#variable_conflict use_column
DECLARE
	given uuid[] := ARRAY(SELECT DISTINCT g.id FROM unnest(file_ingestion_ids) AS g (id) ORDER BY g.id);
	changed_ids uuid[];
	missing uuid;
	found_files bigint;
BEGIN
	IF session_id IS NULL OR file_ingestion_ids IS NULL OR array_position(given, NULL) IS NOT NULL THEN
		RAISE EXCEPTION 'session_id, file_ingestion_ids and each of them must not be null'
			USING ERRCODE = 'null_value_not_allowed';
	END IF;
	WITH settled AS (
		UPDATE session_files.files AS f
			SET ingestion_status = new_status, ingestion_status_reason = new_reason
			WHERE f.session_id = settle_files.session_id AND f.file_ingestion_id = ANY (given) AND f.ingestion_status = 'PENDING'
			RETURNING f.file_ingestion_id
	)
	SELECT array_agg(s.file_ingestion_id) INTO changed_ids FROM settled AS s;
	-- A statement of its own, to see what others committed while the update waited for them.
	RETURN QUERY
		SELECT f.file_ingestion_id, f.ingestion_status, f.ingestion_status_reason, c.id IS NOT NULL
		FROM session_files.files AS f
		LEFT JOIN unnest(changed_ids) AS c (id) ON c.id = f.file_ingestion_id
		WHERE f.session_id = settle_files.session_id AND f.file_ingestion_id = ANY (given)
		ORDER BY f.file_ingestion_id;
	GET DIAGNOSTICS found_files = ROW_COUNT;
	IF found_files < cardinality(given) THEN
		SELECT g.id INTO missing FROM unnest(given) AS g (id)
			WHERE NOT EXISTS (SELECT FROM session_files.files AS f
				WHERE f.session_id = settle_files.session_id AND f.file_ingestion_id = g.id)
			LIMIT 1;
		RAISE EXCEPTION 'session "%" has no file "%"', session_id, missing USING ERRCODE = 'no_data_found';
	END IF;
END
$$;
COMMENT ON FUNCTION session_files.settle_files(uuid, uuid[], session_files.ingestion_status, session_files.ingestion_status_reason) IS
	'What finish_files and fail_files have in common; call those.';

CREATE FUNCTION session_files.finish_files(session_id uuid, file_ingestion_ids uuid[])
	RETURNS TABLE (
		file_ingestion_id uuid,
		ingestion_status session_files.ingestion_status,
		ingestion_status_reason session_files.ingestion_status_reason,
		changed boolean
	)
	LANGUAGE sql
	SET search_path = pg_catalog, pg_temp
AS $$
	SELECT * FROM session_files.settle_files(session_id, file_ingestion_ids, 'FINISHED', NULL)
$$;
COMMENT ON FUNCTION session_files.finish_files(uuid, uuid[]) IS
	'Marks PENDING files FINISHED. One row per file, by id: the status that it has now, and whether this call changed it; a file that was '
	'FINISHED or FAILED stays so. Errors, and then nothing changes: 22004 (NULL), P0002 (not a file of the session).';

CREATE FUNCTION session_files.fail_files(
	session_id uuid,
	file_ingestion_ids uuid[],
	reason session_files.ingestion_status_reason
)
	RETURNS TABLE (
		file_ingestion_id uuid,
		ingestion_status session_files.ingestion_status,
		ingestion_status_reason session_files.ingestion_status_reason,
		changed boolean
	)
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF reason IS NULL THEN
		RAISE EXCEPTION 'reason must not be null' USING ERRCODE = 'null_value_not_allowed';
	END IF;
	RETURN QUERY SELECT * FROM session_files.settle_files(session_id, file_ingestion_ids, 'FAILED', reason);
END
$$;
COMMENT ON FUNCTION session_files.fail_files(uuid, uuid[], session_files.ingestion_status_reason) IS
	'Marks PENDING files FAILED with a reason. Rows and errors are those of finish_files; also 22004 (no reason) and 22P02 (unknown reason).';

CREATE FUNCTION session_files.close_session(session_id uuid) RETURNS void
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
	IF session_id IS NULL THEN
		RAISE EXCEPTION 'session_id must not be null' USING ERRCODE = 'null_value_not_allowed';
	END IF;
	UPDATE session_files.upload_sessions AS s SET status = 'CLOSED'
		WHERE s.session_id = close_session.session_id AND s.status = 'OPEN';
	IF NOT FOUND THEN
		PERFORM FROM session_files.upload_sessions AS s WHERE s.session_id = close_session.session_id;
		IF NOT FOUND THEN
			RAISE EXCEPTION 'there is no session "%"', session_id USING ERRCODE = 'no_data_found';
		END IF;
	END IF;
END
$$;
COMMENT ON FUNCTION session_files.close_session(uuid) IS
	'Closes an OPEN session: it takes no more files, and those it has can still be finished. A session that is not OPEN stays as it is. '
	'Errors: 22004 (NULL), P0002 (no such session).';
