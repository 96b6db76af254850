-- The life of a session: opened, extended, closed, canceled, opened again, deleted; its files tried again, and deleted. What time does to
-- sessions is in 75_maintenance.sql.

CREATE FUNCTION session_files._session_end(expires_in interval) RETURNS timestamptz
	LANGUAGE plpgsql STABLE
AS $$
DECLARE
	in_range boolean;
BEGIN
	-- Intervals are compared by months of 30 days of 24 hours, and added by the calendar: parts with different signs, which outweigh each
	-- other in a comparison, can lead anywhere. So the parts have limits, which keep the sum in range, and the sum is looked at too.
	in_range := expires_in > interval '0' AND expires_in <= interval '1000 years'
		AND extract(year FROM expires_in) BETWEEN -1000 AND 1000 AND extract(day FROM expires_in) BETWEEN -1000000 AND 1000000;
	IF in_range THEN
		in_range := now() + expires_in > now();
	END IF;
	IF NOT in_range THEN
		RAISE EXCEPTION 'expires_in is "%", and it must be more than 0 and at most 1000 years', expires_in
			USING ERRCODE = 'invalid_parameter_value';
	END IF;
	RETURN coalesce(now() + expires_in, session_files._default_expiry());
END
$$;
COMMENT ON FUNCTION session_files._session_end(interval) IS
	'Returns the end of a session that lasts so long from now. NULL: for the setting session_files.session_lifetime. Errors: 22023 '
	'(not between 0 and 1000 years).';

CREATE FUNCTION session_files._lock_session(session_id uuid, shared boolean DEFAULT false) RETURNS session_files.upload_sessions
	LANGUAGE plpgsql
AS $$
#variable_conflict use_column
DECLARE
	session session_files.upload_sessions;
BEGIN
	IF session_id IS NULL THEN
		RAISE EXCEPTION 'session_id must not be null' USING ERRCODE = 'null_value_not_allowed';
	END IF;
	IF shared THEN
		SELECT s.* INTO session FROM session_files.upload_sessions AS s WHERE s.session_id = _lock_session.session_id FOR SHARE;
	ELSE
		SELECT s.* INTO session FROM session_files.upload_sessions AS s WHERE s.session_id = _lock_session.session_id FOR NO KEY UPDATE;
	END IF;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'there is no session "%"', session_id
			USING ERRCODE = 'no_data_found',
				HINT = 'Either it is not there, or its workspace was not granted to the role, which session_files.grant_workspace() does.';
	END IF;
	RETURN session;
END
$$;
COMMENT ON FUNCTION session_files._lock_session(uuid, boolean) IS
	'Locks a session until the end of the transaction, so that its status stays (shared), or can be changed; returns it. Errors: 22004 '
	'(NULL), P0002 (no such session).';

CREATE FUNCTION session_files._create_session(
	workspace_name text,
	write_mode session_files.write_mode,
	expires_in interval
) RETURNS uuid
	LANGUAGE plpgsql
AS $$
#variable_conflict use_column
DECLARE
	new_id uuid;
BEGIN
	IF workspace_name IS NULL OR write_mode IS NULL THEN
		RAISE EXCEPTION 'workspace_name and write_mode must not be null'
			USING ERRCODE = 'null_value_not_allowed';
	END IF;
	PERFORM FROM session_files.workspaces AS w WHERE w.name = _create_session.workspace_name;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'there is no workspace "%"', workspace_name
			USING ERRCODE = 'no_data_found',
				HINT = 'Create it with session_files.create_workspace(). If it is there, it was not granted to the role, which session_files.grant_workspace() does.';
	END IF;
	INSERT INTO session_files.upload_sessions (workspace_name, write_mode, expires_at)
		VALUES (_create_session.workspace_name, _create_session.write_mode, session_files._session_end(expires_in))
		RETURNING session_id INTO new_id;
	RETURN new_id;
END
$$;
CREATE FUNCTION session_files.create_session(
	workspace_name text,
	write_mode session_files.write_mode DEFAULT 'KEEP',
	expires_in interval DEFAULT NULL
) RETURNS uuid
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'session_files_as_owner';
COMMENT ON FUNCTION session_files.create_session(text, session_files.write_mode, interval) IS
	'Opens an upload session and returns its id. It takes files for expires_in, by default the setting session_files.session_lifetime. '
	'Errors: 22004 (NULL), 22023 (expires_in is not between 0 and 1000 years), P0002 (no such workspace), '
	'42501 (no grant as uploader or keeper).';

CREATE FUNCTION session_files._extend_session(session_id uuid, expires_in interval) RETURNS timestamptz
	LANGUAGE plpgsql
AS $$
#variable_conflict use_column
DECLARE
	session constant session_files.upload_sessions := session_files._lock_session(session_id);
	new_end timestamptz;
BEGIN
	IF expires_in IS NULL THEN
		RAISE EXCEPTION 'expires_in must not be null' USING ERRCODE = 'null_value_not_allowed';
	END IF;
	new_end := session_files._session_end(expires_in);
	IF session.status = 'EXPIRED' OR session.expires_at <= clock_timestamp() THEN
		RAISE EXCEPTION 'session "%" expired at %, and cannot be extended', session_id, session.expires_at
			USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Open it again with session_files.reopen_session().';
	END IF;
	UPDATE session_files.upload_sessions AS s SET expires_at = new_end WHERE s.session_id = _extend_session.session_id;
	RETURN new_end;
END
$$;
CREATE FUNCTION session_files.extend_session(session_id uuid, expires_in interval) RETURNS timestamptz
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'session_files_as_owner';
COMMENT ON FUNCTION session_files.extend_session(uuid, interval) IS
	'Lets a session that has not expired last for expires_in from now (more than 0, at most 1000 years), which may be shorter than '
	'before, and returns its new end. A CLOSED one stays CLOSED, and workers have the time. Errors: 22004 (NULL), 22023 (expires_in), '
	'P0002 (no such session), 55000 (the session has expired), '
	'42501 (no grant as uploader or keeper).';

CREATE FUNCTION session_files._close_session(session_id uuid) RETURNS void
	LANGUAGE plpgsql
AS $$
#variable_conflict use_column
BEGIN
	PERFORM session_files._lock_session(session_id);
	UPDATE session_files.upload_sessions AS s SET status = 'CLOSED'
		WHERE s.session_id = _close_session.session_id AND s.status = 'OPEN';
END
$$;
CREATE FUNCTION session_files.close_session(session_id uuid) RETURNS void
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'session_files_as_owner';
COMMENT ON FUNCTION session_files.close_session(uuid) IS
	'Closes an OPEN session: it takes no more files, and its PENDING files can still be finished. Does nothing if the session is not '
	'OPEN. Errors: 22004 (NULL), P0002 (no such session), '
	'42501 (no grant as uploader or keeper).';

CREATE FUNCTION session_files._reopen_session(session_id uuid, expires_in interval) RETURNS timestamptz
	LANGUAGE plpgsql
AS $$
#variable_conflict use_column
DECLARE
	session constant session_files.upload_sessions := session_files._lock_session(session_id);
	new_end timestamptz := session_files._session_end(expires_in);
BEGIN
	IF expires_in IS NULL THEN
		new_end := greatest(session.expires_at, new_end);
	END IF;
	UPDATE session_files.upload_sessions AS s SET status = 'OPEN', expires_at = new_end WHERE s.session_id = _reopen_session.session_id;
	RETURN new_end;
END
$$;
CREATE FUNCTION session_files.reopen_session(session_id uuid, expires_in interval DEFAULT NULL) RETURNS timestamptz
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'session_files_as_owner';
COMMENT ON FUNCTION session_files.reopen_session(uuid, interval) IS
	'Makes a CLOSED or EXPIRED session OPEN, and returns its new end: expires_in from now (more than 0, at most 1000 years); by default '
	'the setting session_files.session_lifetime from now, or its end so far if that is later. Its files stay as they are. An OPEN '
	'session gets the new end. Errors: 22004 (NULL), 22023 (expires_in), P0002 (no such session), '
	'42501 (no grant as keeper).';

-- One statement, whatever the number of files: a session that is canceled in part could not be told from one that is not.
CREATE FUNCTION session_files._cancel_session(session_id uuid) RETURNS bigint
	LANGUAGE plpgsql
	SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
DECLARE
	canceled bigint;
BEGIN
	PERFORM session_files._close_session(session_id);
	UPDATE session_files.files AS f
		SET ingestion_status = 'FAILED', ingestion_status_reason = 'INGESTING_FILE_FAILED', error = 'the session was canceled'
		WHERE f.session_id = _cancel_session.session_id AND f.ingestion_status = 'PENDING';
	GET DIAGNOSTICS canceled = ROW_COUNT;
	RETURN canceled;
END
$$;
CREATE FUNCTION session_files.cancel_session(session_id uuid) RETURNS bigint
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'session_files_as_owner';
COMMENT ON FUNCTION session_files.cancel_session(uuid) IS
	'Closes a session, and makes its PENDING files FAILED with INGESTING_FILE_FAILED, in one statement. Leases on them are void. '
	'Returns their number: 0 if it was canceled before. Errors: 22004 (NULL), P0002 (no such session), '
	'42501 (no grant as uploader or keeper).';

CREATE FUNCTION session_files._delete_session(session_id uuid) RETURNS bigint
	LANGUAGE plpgsql
	SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
DECLARE
	deleted bigint;
BEGIN
	PERFORM session_files._lock_session(session_id);
	DELETE FROM session_files.files AS f WHERE f.session_id = _delete_session.session_id;
	GET DIAGNOSTICS deleted = ROW_COUNT;
	DELETE FROM session_files.upload_sessions AS s WHERE s.session_id = _delete_session.session_id;
	RETURN deleted;
END
$$;
CREATE FUNCTION session_files.delete_session(session_id uuid) RETURNS bigint
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'session_files_as_owner';
COMMENT ON FUNCTION session_files.delete_session(uuid) IS
	'Deletes a session with its files, whatever its status. Leases on them are void. Returns the number of files. Errors: 22004 (NULL), '
	'P0002 (no such session), 23503 (a table of an application has a foreign key to it), '
	'42501 (no grant as keeper).';

CREATE FUNCTION session_files._delete_files(session_id uuid, file_ingestion_ids uuid[]) RETURNS bigint
	LANGUAGE plpgsql
	SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
DECLARE
	given constant uuid[] := ARRAY(SELECT DISTINCT i.id FROM unnest(file_ingestion_ids) AS i (id));
	changed bigint;
	deleted bigint := 0;
BEGIN
	IF file_ingestion_ids IS NULL THEN
		RAISE EXCEPTION 'file_ingestion_ids must not be null' USING ERRCODE = 'null_value_not_allowed';
	END IF;
	PERFORM session_files._lock_session(session_id, shared => true);
	-- A file that another transaction changed while the deletion waited for it has another place now.
	FOR attempt IN 1..10 LOOP
		DELETE FROM session_files.files AS f WHERE f.ctid = ANY (session_files._locate_ids(_delete_files.session_id, given));
		GET DIAGNOSTICS changed = ROW_COUNT;
		deleted := deleted + changed;
		EXIT WHEN deleted = cardinality(given) OR session_files._locate_ids(session_id, given) = '{}';
	END LOOP;
	RETURN deleted;
END
$$;
CREATE FUNCTION session_files.delete_files(session_id uuid, file_ingestion_ids uuid[]) RETURNS bigint
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'session_files_as_owner';
COMMENT ON FUNCTION session_files.delete_files(uuid, uuid[]) IS
	'Deletes files of a session, whatever their status. Leases on them are void. Returns their number: an id that is no file of the '
	'session is no error. Errors: 22004 (NULL), P0002 (no such session), 23503 (a table of an application has a foreign key to a '
	'file), '
	'42501 (no grant as keeper).';

CREATE FUNCTION session_files._retry_failed(
	session_id uuid,
	reasons session_files.ingestion_status_reason[],
	file_ingestion_ids uuid[]
) RETURNS bigint
	LANGUAGE plpgsql
	SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
DECLARE
	session session_files.upload_sessions;
	given uuid[];
	given_reasons session_files.ingestion_status_reason[];
	changed bigint;
	retried bigint := 0;
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
	given_reasons := array_remove(coalesce(reasons, enum_range(NULL::session_files.ingestion_status_reason)),
		'FILE NAME TOO LONG. MAX LENGTH IS 800');
	IF file_ingestion_ids IS NOT NULL THEN
		given := ARRAY(SELECT DISTINCT i.id FROM unnest(file_ingestion_ids) AS i (id));
	END IF;
	session := session_files._lock_session(session_id, shared => true);
	IF session.status = 'EXPIRED' OR session.expires_at <= clock_timestamp() THEN
		RAISE EXCEPTION 'session "%" expired at %, and its files cannot be retried', session_id, session.expires_at
			USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Open it again with session_files.reopen_session().';
	END IF;
	FOR attempt IN 1..10 LOOP
		UPDATE session_files.files AS f
			SET ingestion_status = 'PENDING', ingestion_status_reason = NULL, error = NULL
			WHERE f.session_id = _retry_failed.session_id AND f.ingestion_status_reason = ANY (given_reasons)
				-- The plan is made for each call, so that one without ids does not have this condition.
				AND (given IS NULL OR f.ctid = ANY (session_files._locate_ids(_retry_failed.session_id, given)));
		GET DIAGNOSTICS changed = ROW_COUNT;
		retried := retried + changed;
		EXIT WHEN given IS NULL;
		-- As in delete_files.
		PERFORM FROM session_files.files AS f
			WHERE f.ctid = ANY (session_files._locate_ids(_retry_failed.session_id, given)) AND f.ingestion_status_reason = ANY (given_reasons);
		EXIT WHEN NOT FOUND;
	END LOOP;
	RETURN retried;
END
$$;
CREATE FUNCTION session_files.retry_failed(
	session_id uuid,
	reasons session_files.ingestion_status_reason[] DEFAULT NULL,
	file_ingestion_ids uuid[] DEFAULT NULL
) RETURNS bigint
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'session_files_as_owner';
COMMENT ON FUNCTION session_files.retry_failed(uuid, session_files.ingestion_status_reason[], uuid[]) IS
	'Makes FAILED files PENDING again, with all their attempts: those with one of the reasons (NULL, the default: all except those whose '
	'name is too long), of the given ids (NULL, the default: of all). Returns their number: an id that is no such file is no error. '
	'Errors: 22004 (NULL), 22023 (the reason of a name that is too long, more than one dimension), 22P02 (unknown reason), P0002 (no '
	'such session), 55000 (session expired), '
	'42501 (no grant as keeper).';
