CREATE FUNCTION session_files._create_workspace(workspace_name text) RETURNS void
	LANGUAGE plpgsql
AS $$
BEGIN
	IF workspace_name IS NULL THEN
		RAISE EXCEPTION 'workspace_name must not be null' USING ERRCODE = 'null_value_not_allowed';
	END IF;
	IF char_length(workspace_name) NOT BETWEEN 1 AND 600 THEN
		RAISE EXCEPTION 'workspace_name has % characters, and 1 to 600 are allowed', char_length(workspace_name)
			USING ERRCODE = 'invalid_parameter_value';
	END IF;
	INSERT INTO session_files.workspaces (name) VALUES (workspace_name) ON CONFLICT DO NOTHING;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'workspace "%" already exists', workspace_name USING ERRCODE = 'unique_violation';
	END IF;
END
$$;
CREATE FUNCTION session_files.create_workspace(workspace_name text) RETURNS void
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'session_files_as_owner';
COMMENT ON FUNCTION session_files.create_workspace(text) IS
	'Creates a workspace. The name has 1 to 600 characters. Errors: 22004 (NULL), 22023 (length), 23505 (the name exists), '
	'42501 (no grant of all workspaces as keeper).';

CREATE FUNCTION session_files._locate_ids(session_id uuid, file_ingestion_ids uuid[]) RETURNS tid[]
	LANGUAGE c STABLE STRICT PARALLEL SAFE COST 1000000
	AS 'MODULE_PATHNAME', 'session_files_locate_ids';
COMMENT ON FUNCTION session_files._locate_ids(uuid, uuid[]) IS
	'Returns the ctids of a session''s files with these ids, in the order given, under the snapshot of the calling statement.';

CREATE FUNCTION session_files._locate_names(session_id uuid, names text[]) RETURNS tid[]
	LANGUAGE c STABLE STRICT PARALLEL SAFE COST 1000000
	AS 'MODULE_PATHNAME', 'session_files_locate_names';
COMMENT ON FUNCTION session_files._locate_names(uuid, text[]) IS
	'Returns the ctids of a session''s files with these names, in the order given, under the snapshot of the calling statement.';

-- Unlike the errors of the table's constraints, these say which element it is.
CREATE FUNCTION session_files._check_details(names text[], sizes bigint[], types text[], locations text[], metadata jsonb[]) RETURNS void
	LANGUAGE plpgsql
AS $$
DECLARE
	fault text;
BEGIN
	SELECT CASE
			WHEN a.dimensions > 1 THEN format('%s has %s dimensions, and one is allowed', a.name, a.dimensions)
			ELSE format('%s has %s elements, and names has %s', a.name, a.length, cardinality(names))
		END
		INTO fault
		FROM (VALUES
			('sizes', array_ndims(sizes), cardinality(sizes)),
			('types', array_ndims(types), cardinality(types)),
			('locations', array_ndims(locations), cardinality(locations)),
			('metadata', array_ndims(metadata), cardinality(metadata))) AS a (name, dimensions, length)
		WHERE a.dimensions > 1 OR a.length <> cardinality(names) LIMIT 1;
	IF NOT FOUND THEN
		SELECT format(f.fault, d.ordinal, cardinality(names)) INTO fault
			FROM unnest(sizes, types, locations, metadata) WITH ORDINALITY AS d (size, type, location, metadata, ordinal),
				LATERAL (SELECT CASE
					WHEN d.size < 0 THEN format('size %%s of %%s is %s, and it must be at least 0', d.size)
					WHEN char_length(d.type) NOT BETWEEN 1 AND 255
						THEN format('type %%s of %%s has %s characters, and 1 to 255 are allowed', char_length(d.type))
					WHEN char_length(d.location) NOT BETWEEN 1 AND 2048
						THEN format('location %%s of %%s has %s characters, and 1 to 2048 are allowed', char_length(d.location))
					WHEN jsonb_typeof(d.metadata) <> 'object'
						THEN format('metadata %%s of %%s is of type %s, and it must be an object', jsonb_typeof(d.metadata))
					WHEN octet_length(d.metadata::text) > 65536
						THEN format('metadata %%s of %%s has %s bytes as text, and 65536 are allowed', octet_length(d.metadata::text))
				END) AS f (fault)
			WHERE f.fault IS NOT NULL ORDER BY d.ordinal LIMIT 1;
	END IF;
	IF FOUND THEN
		RAISE EXCEPTION '%', fault USING ERRCODE = 'invalid_parameter_value';
	END IF;
END
$$;
COMMENT ON FUNCTION session_files._check_details(text[], bigint[], text[], text[], jsonb[]) IS
	'Raises 22023 for an array that is not as long as names, or has more than one dimension, and for an element that is out of range.';

-- The next functions find files by their places: left to the planner, which knows nothing of a session that is newer than its
-- statistics, a batch can cost as much as all of the session, or its square. The plans are cached while a table grows from nothing to
-- millions of rows; the settings, and the cost of the two functions above, which no plan will have for each row, keep them to places.
-- A plan that cannot but read a table, as for a policy or a trigger of an administrator, then costs more than JIT would look at; it takes
-- longer than the plan does: so whatever sets enable_seqscan turns JIT off, too (src/owner.c).
CREATE FUNCTION session_files._register_files(
	session_id uuid, names text[], sizes bigint[], types text[], locations text[], metadata jsonb[])
	RETURNS TABLE (file_ingestion_id uuid, name text, ingestion_status session_files.ingestion_status)
	LANGUAGE plpgsql
	SET enable_hashjoin = off
	SET enable_mergejoin = off
AS $$
#variable_conflict use_column
DECLARE
	has_details CONSTANT boolean := num_nonnulls(sizes, types, locations, metadata) > 0;
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
	IF has_details THEN
		PERFORM session_files._check_details(names, sizes, types, locations, metadata);
	END IF;
	-- Locked in share mode: the session cannot be closed or deleted before these files are committed.
	SELECT s.status, s.expires_at INTO session
		FROM session_files.upload_sessions AS s WHERE s.session_id = _register_files.session_id FOR SHARE;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'there is no session "%"', session_id
			USING ERRCODE = 'no_data_found',
				HINT = 'Either it is not there, or its workspace was not granted to the role, which session_files.grant_workspace() does.';
	END IF;
	IF session.status <> 'OPEN' THEN
		RAISE EXCEPTION 'session "%" is %, and only an OPEN one takes files', session_id, session.status
			USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Open another with session_files.create_session().';
	END IF;
	IF session.expires_at <= clock_timestamp() THEN
		RAISE EXCEPTION 'session "%" expired at %, and takes no more files', session_id, session.expires_at
			USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Open another with session_files.create_session().';
	END IF;
	FOR attempt IN 1 .. 10 LOOP
		-- Two statements: the second would do for both, but a file that is registered alone would take 3 % more.
		IF has_details THEN
			WITH added AS (
				INSERT INTO session_files.files (session_id, name, size, type, location, metadata)
					SELECT _register_files.session_id, n.name, n.size, n.type, n.location, n.metadata
					FROM unnest(names, sizes, types, locations, metadata) WITH ORDINALITY AS n (name, size, type, location, metadata, ordinal)
					ORDER BY n.ordinal
					ON CONFLICT (session_id, session_files._name_key(name)) DO NOTHING
					RETURNING file_ingestion_id, name, ingestion_status
			)
			SELECT array_agg(a.file_ingestion_id), array_agg(a.name), array_agg(a.ingestion_status)
				INTO ids, their_names, statuses FROM added AS a;
		ELSE
			WITH added AS (
				INSERT INTO session_files.files (session_id, name)
					SELECT _register_files.session_id, n.name
					FROM unnest(names) WITH ORDINALITY AS n (name, ordinal) ORDER BY n.ordinal
					ON CONFLICT (session_id, session_files._name_key(name)) DO NOTHING
					RETURNING file_ingestion_id, name, ingestion_status
			)
			SELECT array_agg(a.file_ingestion_id), array_agg(a.name), array_agg(a.ingestion_status)
				INTO ids, their_names, statuses FROM added AS a;
		END IF;
		IF coalesce(cardinality(ids), 0) < cardinality(names) THEN
			SELECT array_agg(f.file_ingestion_id ORDER BY p.ordinal), array_agg(f.name ORDER BY p.ordinal), array_agg(f.ingestion_status ORDER BY p.ordinal)
				INTO ids, their_names, statuses
				FROM unnest(session_files._locate_names(_register_files.session_id, names)) WITH ORDINALITY AS p (place, ordinal),
					-- OFFSET keeps it from becoming a join, with all of the table on one side.
					LATERAL (SELECT g.* FROM session_files.files AS g WHERE g.ctid = p.place OFFSET 0) AS f;
		END IF;
		IF coalesce(cardinality(ids), 0) = cardinality(names) THEN
			RETURN QUERY SELECT * FROM unnest(ids, their_names, statuses);
			RETURN;
		END IF;
		-- A name has become free: another transaction has deleted or renamed its file. The next attempt can insert it.
	END LOOP;
	RAISE EXCEPTION 'files of session "%" were deleted or renamed at the same time, 10 times over', session_id
		USING ERRCODE = 'serialization_failure';
END
$$;
CREATE FUNCTION session_files.register_files(
	session_id uuid,
	names text[],
	sizes bigint[] DEFAULT NULL,
	types text[] DEFAULT NULL,
	locations text[] DEFAULT NULL,
	metadata jsonb[] DEFAULT NULL
)
	RETURNS TABLE (file_ingestion_id uuid, name text, ingestion_status session_files.ingestion_status)
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'session_files_as_owner';
COMMENT ON FUNCTION session_files.register_files(uuid, text[], bigint[], text[], text[], jsonb[]) IS
	'Adds files to an OPEN session, in the order given. Returns id, name and status of each. A name that the session already has keeps '
	'its file, with the details that it had. A file whose name has more than 800 characters is FAILED. Details, for workers: each array has '
	'an element per name, which can be NULL, or is NULL. sizes are in bytes, types (media types) have 1 to 255 characters, locations (keys or '
	'URLs) 1 to 2048, and metadata are objects of at most 65536 bytes as text. Errors: 22004 (NULL), 22023 (a name is empty, or has more '
	'than 2600 bytes and 830 characters; a detail is out of range; an array is not as long as names; more than one dimension), P0002 (no such session), 55000 (session not OPEN, or expired), '
	'40001 (other transactions deleted or renamed such files ten times in a row), 42501 (no grant as uploader or keeper).';

CREATE FUNCTION session_files.finish_files(session_id uuid, file_ingestion_ids uuid[], lease_token uuid DEFAULT NULL)
	RETURNS TABLE (
		file_ingestion_id uuid,
		ingestion_status session_files.ingestion_status,
		ingestion_status_reason session_files.ingestion_status_reason,
		changed boolean
	)
	LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'session_files_finish_files';
COMMENT ON FUNCTION session_files.finish_files(uuid, uuid[], uuid) IS
	'Marks PENDING files FINISHED: with a lease_token those that the lease holds, of one session or, if session_id is NULL, of all; '
	'without one all. Returns a row per file: its status now, and whether this call changed it. A file that is not of the session has '
	'the status NULL with a lease_token, and is an error without one. Errors: 22004 (NULL), P0002 (no such session, or not a file '
	'of it; nothing changes), 42501 (no grant as worker or keeper).';

CREATE FUNCTION session_files.fail_files(
	session_id uuid,
	file_ingestion_ids uuid[],
	reason session_files.ingestion_status_reason,
	lease_token uuid DEFAULT NULL,
	error text DEFAULT NULL
)
	RETURNS TABLE (
		file_ingestion_id uuid,
		ingestion_status session_files.ingestion_status,
		ingestion_status_reason session_files.ingestion_status_reason,
		changed boolean,
		retry_at timestamptz
	)
	LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'session_files_fail_files';
COMMENT ON FUNCTION session_files.fail_files(uuid, uuid[], session_files.ingestion_status_reason, uuid, text) IS
	'Marks PENDING files FAILED with a reason, and the first 2000 characters of error: with a lease_token those that the lease holds, of one '
	'session or, if session_id is NULL, of all; without one all. With a lease_token, a file whose reason is in the setting '
	'session_files.retry_reasons and that has attempts left stays PENDING and can be claimed again at retry_at. Errors: 22004 (NULL), '
	'22P02 (unknown reason), P0002 (no such session, or not a file of it; nothing changes), 42501 (no grant as worker or keeper).';
