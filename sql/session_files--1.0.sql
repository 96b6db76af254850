\echo Use "CREATE EXTENSION session_files" to load this file. \quit

-- Names are sorted by UTF-8 bytes and listed as UTF-8, so no other encoding will do.
DO $$
BEGIN
	IF pg_catalog.getdatabaseencoding() <> 'UTF8' THEN
		RAISE EXCEPTION 'session_files needs a database with the encoding UTF8, and this one has %',
			pg_catalog.getdatabaseencoding()
			USING ERRCODE = 'feature_not_supported',
				HINT = 'Create the database with: CREATE DATABASE name ENCODING ''UTF8'' TEMPLATE template0.';
	END IF;
END
$$;
-- Labels stand in the order of their bytes, so that enum order is the order of the listing.

CREATE TYPE session_files.ingestion_status AS ENUM ('FAILED', 'FINISHED', 'PENDING');
COMMENT ON TYPE session_files.ingestion_status IS 'What became of a file: PENDING until a worker marks it FINISHED or FAILED.';

CREATE TYPE session_files.ingestion_status_reason AS ENUM (
	'EMPTY_FILE',
	'FAILED_TO_PARSE_META',
	'FILE NAME TOO LONG. MAX LENGTH IS 800',
	'FILE_ALREADY_EXISTS',
	'FILE_NOT_FOUND',
	'INGESTING_FILE_FAILED',
	'SLOWDOWN',
	'UNKNOWN_ERROR'
);
COMMENT ON TYPE session_files.ingestion_status_reason IS 'Why a file FAILED.';

CREATE TYPE session_files.session_status AS ENUM ('CLOSED', 'EXPIRED', 'OPEN');
COMMENT ON TYPE session_files.session_status IS 'Whether an upload session takes new files (OPEN).';

CREATE TYPE session_files.write_mode AS ENUM ('FAIL', 'KEEP', 'OVERWRITE');
COMMENT ON TYPE session_files.write_mode IS 'What ingestion does with a file whose name the workspace has already.';

CREATE TYPE session_files.http_response AS (status integer, headers json, body text);
COMMENT ON TYPE session_files.http_response IS 'An HTTP answer: status code, headers as an array of objects of one key each, body.';
CREATE FUNCTION session_files.uuid7() RETURNS uuid
	LANGUAGE c VOLATILE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'session_files_uuid7';
COMMENT ON FUNCTION session_files.uuid7() IS
	'A new UUID of version 7 (RFC 9562, method 3: milliseconds, then 12 bits of their fraction); strictly increasing within a backend.';

CREATE FUNCTION session_files.uuid7_time(id uuid) RETURNS timestamptz
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'session_files_uuid7_time';
COMMENT ON FUNCTION session_files.uuid7_time(uuid) IS
	'When a version 7 UUID was made, to the millisecond: a file''s created_at. NULL for a UUID of another version.';

CREATE FUNCTION session_files.name_key(name text) RETURNS bytea
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'session_files_name_key';
COMMENT ON FUNCTION session_files.name_key(text) IS
	'What the indexes hold of a file name: at most 2,545 bytes, different for different names, in the order of the UTF-8 bytes for names of up to 800 characters.';

-- What follows from the settings (src/settings.c); to call a function loads the library, and with it the settings.
CREATE FUNCTION session_files.default_expiry() RETURNS timestamptz
	LANGUAGE c STABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'session_files_default_expiry';
COMMENT ON FUNCTION session_files.default_expiry() IS
	'When a session that is opened now expires, unless its creator says otherwise: by the setting session_files.session_lifetime.';

CREATE FUNCTION session_files.retained_since() RETURNS timestamptz
	LANGUAGE c VOLATILE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'session_files_retained_since';
COMMENT ON FUNCTION session_files.retained_since() IS
	'A session that expired before this is to be deleted: by the setting session_files.session_retention; NULL if none is.';

CREATE FUNCTION session_files.retry_at(reason session_files.ingestion_status_reason, attempt integer) RETURNS timestamptz
	LANGUAGE c VOLATILE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'session_files_retry_at';
COMMENT ON FUNCTION session_files.retry_at(session_files.ingestion_status_reason, integer) IS
	'When a file whose so many-th attempt just failed for a reason can be tried again, by the settings session_files.retry_reasons, '
	'retry_delay, retry_delay_limit and max_attempts; NULL if it is not tried again.';
CREATE TABLE session_files.workspaces (
	name text COLLATE "C" PRIMARY KEY,
	created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
	CONSTRAINT workspaces_name_length CHECK (char_length(name) BETWEEN 1 AND 600)
);
COMMENT ON TABLE session_files.workspaces IS 'What upload sessions belong to.';

CREATE TABLE session_files.upload_sessions (
	session_id uuid PRIMARY KEY DEFAULT session_files.uuid7(),
	workspace_name text COLLATE "C" NOT NULL REFERENCES session_files.workspaces (name) ON UPDATE CASCADE,
	status session_files.session_status NOT NULL DEFAULT 'OPEN',
	write_mode session_files.write_mode NOT NULL DEFAULT 'KEEP',
	created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
	expires_at timestamptz NOT NULL DEFAULT session_files.default_expiry(),
	-- The header Session-Expires-At has four digits for the year.
	CONSTRAINT upload_sessions_expires_at CHECK (expires_at > created_at AND expires_at < '9999-12-31 00:00:00+00')
);
COMMENT ON TABLE session_files.upload_sessions IS 'Upload sessions: who may add files, how, and until when.';

-- The foreign key asks for it when a workspace is renamed or deleted.
CREATE INDEX upload_sessions_workspace_idx ON session_files.upload_sessions (workspace_name, session_id);
-- Maintenance: sessions that have expired.
CREATE INDEX upload_sessions_expiry_idx ON session_files.upload_sessions (status, expires_at);

-- The columns are known to the C code by their position (src/catalog.h).
CREATE TABLE session_files.files (
	session_id uuid NOT NULL REFERENCES session_files.upload_sessions (session_id) ON DELETE CASCADE,
	file_ingestion_id uuid NOT NULL DEFAULT session_files.uuid7(),
	ingestion_status session_files.ingestion_status NOT NULL DEFAULT 'PENDING',
	ingestion_status_reason session_files.ingestion_status_reason,
	name text COLLATE "C" NOT NULL,
	-- Made PENDING again, so many times: what was queued or claimed before is void.
	retries integer NOT NULL DEFAULT 0,
	-- Listings by created_at; cursors; status transitions. Half full, as files_name_idx: when a file is finished, the entry of its new
	-- version goes beside the first, and the page need not be searched for what can go, nor split.
	CONSTRAINT files_pkey PRIMARY KEY (session_id, file_ingestion_id) WITH (fillfactor = 50),
	CONSTRAINT files_id_is_uuid7 CHECK ((get_byte(uuid_send(file_ingestion_id), 6) >> 4) = 7),
	CONSTRAINT files_reason_when_failed CHECK ((ingestion_status = 'FAILED') = (ingestion_status_reason IS NOT NULL)),
	CONSTRAINT files_name_not_empty CHECK (name <> ''),
	CONSTRAINT files_long_name_failed CHECK (
		char_length(name) <= 800
		OR ingestion_status_reason IS NOT DISTINCT FROM 'FILE NAME TOO LONG. MAX LENGTH IS 800')
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.05);
COMMENT ON TABLE session_files.files IS 'The files of upload sessions. The time of creation is in file_ingestion_id: session_files.uuid7_time().';

-- Listings by ingestion_status; by created_at with a filter; the files without a reason, by ingestion_status_reason.
CREATE INDEX files_status_idx ON session_files.files (session_id, ingestion_status, file_ingestion_id);
-- Listings by ingestion_status_reason: the files that have one.
CREATE INDEX files_reason_idx ON session_files.files (session_id, ingestion_status_reason, file_ingestion_id)
	WHERE ingestion_status_reason IS NOT NULL;
-- Names are unique in a session; listings by name.
CREATE UNIQUE INDEX files_name_idx ON session_files.files (session_id, session_files.name_key(name)) WITH (fillfactor = 50);
-- Listings by name with a filter.
CREATE INDEX files_status_name_idx ON session_files.files (session_id, ingestion_status, session_files.name_key(name));

-- A name that is too long is a fact to report, not an error: the file is recorded as FAILED.
CREATE FUNCTION session_files.fail_long_name() RETURNS trigger
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	NEW.ingestion_status := 'FAILED';
	NEW.ingestion_status_reason := 'FILE NAME TOO LONG. MAX LENGTH IS 800';
	RETURN NEW;
END
$$;
COMMENT ON FUNCTION session_files.fail_long_name() IS 'Trigger on files: records a file whose name is over 800 characters as FAILED.';

CREATE TRIGGER fail_long_name BEFORE INSERT ON session_files.files
	FOR EACH ROW WHEN (char_length(NEW.name) > 800)
	EXECUTE FUNCTION session_files.fail_long_name();

SELECT pg_catalog.pg_extension_config_dump('session_files.workspaces', '');
SELECT pg_catalog.pg_extension_config_dump('session_files.upload_sessions', '');
SELECT pg_catalog.pg_extension_config_dump('session_files.files', '');
-- Several rows per session, so that no writer waits for another: a writer takes one that is not
-- locked or adds one, a reader sums them up (src/counts.c). Not dumped: restoring the files counts
-- them anew. The columns are known to the C code by their position (src/catalog.h).
CREATE TABLE session_files.file_counts (
	session_id uuid NOT NULL,
	slot bigint NOT NULL,
	failed bigint NOT NULL,
	finished bigint NOT NULL,
	pending bigint NOT NULL,
	-- What the files are, in 64 bits: the slots' digests XORed (src/digest.c). Equal files give an equal one.
	digest bigint NOT NULL,
	-- Not PENDING any more: how many in the minute (since 2000-01-01 UTC) of the last change, and in the one before.
	minute bigint NOT NULL,
	settled bigint NOT NULL DEFAULT 0,
	settled_before bigint NOT NULL DEFAULT 0,
	CONSTRAINT file_counts_pkey PRIMARY KEY (session_id, slot)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
COMMENT ON TABLE session_files.file_counts IS
	'How many files a session has of each status, and a digest of what they are: the sum, or the XOR, over its slots. Kept by triggers on files, in the transaction that changes the files.';

CREATE FUNCTION session_files.count_changes() RETURNS trigger
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'session_files_count_changes';
COMMENT ON FUNCTION session_files.count_changes() IS 'Trigger on files: adds what a statement changed to file_counts.';

CREATE FUNCTION session_files.forget_counts() RETURNS trigger
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'session_files_forget_counts';
COMMENT ON FUNCTION session_files.forget_counts() IS
	'Trigger: removes the counts and the queue of the sessions that a statement deleted, or all of them when files is truncated.';

CREATE TRIGGER count_inserts AFTER INSERT ON session_files.files
	REFERENCING NEW TABLE AS added
	FOR EACH STATEMENT EXECUTE FUNCTION session_files.count_changes();
CREATE TRIGGER count_updates AFTER UPDATE ON session_files.files
	REFERENCING OLD TABLE AS removed NEW TABLE AS added
	FOR EACH STATEMENT EXECUTE FUNCTION session_files.count_changes();
CREATE TRIGGER count_deletes AFTER DELETE ON session_files.files
	REFERENCING OLD TABLE AS removed
	FOR EACH STATEMENT EXECUTE FUNCTION session_files.count_changes();
CREATE TRIGGER forget_counts AFTER TRUNCATE ON session_files.files
	FOR EACH STATEMENT EXECUTE FUNCTION session_files.forget_counts();
CREATE TRIGGER forget_counts AFTER DELETE ON session_files.upload_sessions
	REFERENCING OLD TABLE AS removed
	FOR EACH STATEMENT EXECUTE FUNCTION session_files.forget_counts();
-- What workers claim: batches of PENDING files, each in one row, so that a hundred files are claimed and finished at the price of a
-- row; a row with fewer where there are few, so that many workers can have some. Filled by a trigger on files, whoever writes them.
-- A row is a hint where to look: what counts is files, and a file that is not PENDING any more, or PENDING anew (retries), is left out by
-- whoever finds it. Not dumped: restoring the files fills it anew. The first columns are known to the C code by their position (src/catalog.h).
CREATE TABLE session_files.file_queue (
	session_id uuid NOT NULL,
	due_at timestamptz NOT NULL,
	file_ingestion_ids uuid[] NOT NULL,
	retries integer NOT NULL,
	attempt integer NOT NULL DEFAULT 0,
	claimed_at timestamptz,
	last_reason session_files.ingestion_status_reason,
	lease_token uuid,
	worker text,
	CONSTRAINT file_queue_has_files CHECK (cardinality(file_ingestion_ids) > 0),
	CONSTRAINT file_queue_lease CHECK ((lease_token IS NULL) = (worker IS NULL) AND (lease_token IS NULL OR claimed_at IS NOT NULL))
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
COMMENT ON TABLE session_files.file_queue IS 'Batches of PENDING files: waiting to be claimed, under a lease, or put off for another attempt.';
COMMENT ON COLUMN session_files.file_queue.due_at IS
	'When the batch can be claimed: its first file''s creation if it never was, the end of its lease, or the end of the wait for another attempt.';
COMMENT ON COLUMN session_files.file_queue.file_ingestion_ids IS 'Its files, in the order of creation.';
COMMENT ON COLUMN session_files.file_queue.retries IS 'What files has there for them; with another value there, the entry is void.';
COMMENT ON COLUMN session_files.file_queue.attempt IS 'How often the files were claimed, without what was released.';
COMMENT ON COLUMN session_files.file_queue.claimed_at IS 'When they were claimed last; NULL if never.';
COMMENT ON COLUMN session_files.file_queue.last_reason IS 'Why their last attempt failed.';
COMMENT ON COLUMN session_files.file_queue.lease_token IS 'What the worker shows that has claimed them.';

-- Claims: files that came back, then those never claimed, the oldest first; the next session that has some (src/claim.c).
CREATE INDEX file_queue_due_idx ON session_files.file_queue (session_id, (claimed_at IS NOT NULL), due_at, (file_ingestion_ids[1]));
-- Finishing, and the like, by lease.
CREATE INDEX file_queue_lease_idx ON session_files.file_queue (lease_token) WHERE lease_token IS NOT NULL;

CREATE FUNCTION session_files.queue_files() RETURNS trigger
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'session_files_queue_files';
COMMENT ON FUNCTION session_files.queue_files() IS
	'Trigger on files: queues what a statement made PENDING, counting retries of what was there before, and has the transaction notify session_files_work with the session''s id.';

CREATE TRIGGER queue_inserts AFTER INSERT ON session_files.files
	REFERENCING NEW TABLE AS added
	FOR EACH STATEMENT EXECUTE FUNCTION session_files.queue_files();
CREATE TRIGGER queue_updates AFTER UPDATE ON session_files.files
	REFERENCING OLD TABLE AS removed NEW TABLE AS added
	FOR EACH STATEMENT EXECUTE FUNCTION session_files.queue_files();

CREATE FUNCTION session_files.pick_ids(ids uuid[], given uuid[], present boolean) RETURNS uuid[]
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'session_files_pick_ids';
COMMENT ON FUNCTION session_files.pick_ids(uuid[], uuid[], boolean) IS
	'Those of ids that are in given (present), or those that are not, in their order. given is sorted. Errors: 22004 (a NULL among them).';

CREATE FUNCTION session_files.sort_ids(session_id uuid, file_ingestion_ids uuid[]) RETURNS uuid[]
	LANGUAGE c IMMUTABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'session_files_sort_ids';
COMMENT ON FUNCTION session_files.sort_ids(uuid, uuid[]) IS
	'The ids sorted, each once, for functions that take a session and some of its files. Errors: 22004 (a NULL among the arguments or ids).';

CREATE FUNCTION session_files.notify_work(session_id uuid) RETURNS void
	LANGUAGE c VOLATILE STRICT
	AS 'MODULE_PATHNAME', 'session_files_notify_work';
COMMENT ON FUNCTION session_files.notify_work(uuid) IS
	'Has the transaction, when it commits, notify session_files_work with the session''s id, once: that it has files to be claimed.';

CREATE FUNCTION session_files.note_end() RETURNS trigger
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'session_files_note_end';
COMMENT ON FUNCTION session_files.note_end() IS
	'Trigger on upload_sessions: has the transaction that closes a session in which no file is PENDING notify session_files_done with its id.';

CREATE TRIGGER note_end AFTER UPDATE OF status ON session_files.upload_sessions
	FOR EACH ROW WHEN (OLD.status = 'OPEN' AND NEW.status <> 'OPEN') EXECUTE FUNCTION session_files.note_end();
CREATE FUNCTION session_files.get_session_files(
	workspace_name text,
	session_id uuid,
	ingestion_status text DEFAULT NULL,
	"limit" bigint DEFAULT NULL,
	before uuid DEFAULT NULL,
	after uuid DEFAULT NULL,
	page_number bigint DEFAULT NULL,
	field text DEFAULT NULL,
	"order" text DEFAULT NULL
) RETURNS json
	LANGUAGE c STABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'session_files_get_session_files';
COMMENT ON FUNCTION session_files.get_session_files(text, uuid, text, bigint, uuid, uuid, bigint, text, text) IS
	'The listing of a session''s files: {"data":[...],"has_more":...,"total":...}. NULL means "not given": limit 10 (0 to 100), '
	'field created_at, order DESC, no filter, the first page. Errors: 22023 with the 422 body as DETAIL, P0002 with the 404 body '
	'as DETAIL, 22004 when session_id is NULL, 42501 without SELECT on upload_sessions and files.';

CREATE FUNCTION session_files.handle_request(
	method text,
	target text,
	headers json DEFAULT '{}',
	body bytea DEFAULT NULL
) RETURNS session_files.http_response
	LANGUAGE c STABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'session_files_handle_request';
COMMENT ON FUNCTION session_files.handle_request(text, text, json, bytea) IS
	'Answers an HTTP request. target is the raw request target (path?query, percent-encoded). Statuses: 200, 304 (the header '
	'If-None-Match, its name in lower case, has the ETag), 403 (no SELECT on upload_sessions and files), 404, 405, 422, 503 '
	'(/healthz, when a table is not found). The body for HEAD is that for GET, for the caller to leave out. No request raises an '
	'error: only a NULL method or target does (22004).';
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
	expires_in interval DEFAULT NULL
) RETURNS uuid
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	new_id uuid;
BEGIN
	IF workspace_name IS NULL OR write_mode IS NULL THEN
		RAISE EXCEPTION 'workspace_name and write_mode must not be null'
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
		VALUES (create_session.workspace_name, create_session.write_mode, coalesce(now() + expires_in, session_files.default_expiry()))
		RETURNING session_id INTO new_id;
	RETURN new_id;
END
$$;
COMMENT ON FUNCTION session_files.create_session(text, session_files.write_mode, interval) IS
	'Opens an upload session in a workspace and returns its id. It lasts as long as expires_in says, or, if that is NULL, the setting '
	'session_files.session_lifetime. Errors: 22004 (NULL), 22023 (expires_in not within 0 and 1000 years), P0002 (no such workspace).';

CREATE FUNCTION session_files.locate_ids(session_id uuid, file_ingestion_ids uuid[]) RETURNS tid[]
	LANGUAGE c STABLE STRICT PARALLEL SAFE COST 1000000
	AS 'MODULE_PATHNAME', 'session_files_locate_ids';
COMMENT ON FUNCTION session_files.locate_ids(uuid, uuid[]) IS
	'The places (ctid) of a session''s files with these ids, as far as there are any, in the order given: for the statement that calls '
	'it, and under its snapshot. Errors: 42501 without SELECT on files.';

CREATE FUNCTION session_files.locate_names(session_id uuid, names text[]) RETURNS tid[]
	LANGUAGE c STABLE STRICT PARALLEL SAFE COST 1000000
	AS 'MODULE_PATHNAME', 'session_files_locate_names';
COMMENT ON FUNCTION session_files.locate_names(uuid, text[]) IS
	'The places (ctid) of a session''s files with these names, as far as there are any, in the order given: for the statement that calls '
	'it, and under its snapshot. Errors: 42501 without SELECT on files.';

-- The next functions find files by their places: left to the planner, which knows nothing of a session that is newer than its
-- statistics, a batch can cost as much as all of the session, or its square. The plans are cached while a table grows from nothing to
-- millions of rows; the settings, and the cost of the two functions above, which no plan will have for each row, keep them to places.
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
	session record;
	added_ids uuid[];
	added_names text[];
	added_statuses session_files.ingestion_status[];
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
	WITH added AS (
		INSERT INTO session_files.files (session_id, name)
			SELECT register_files.session_id, n.name
			FROM unnest(names) WITH ORDINALITY AS n (name, ordinal) ORDER BY n.ordinal
			ON CONFLICT (session_id, session_files.name_key(name)) DO NOTHING
			RETURNING file_ingestion_id, name, ingestion_status
	)
	SELECT array_agg(a.file_ingestion_id), array_agg(a.name), array_agg(a.ingestion_status)
		INTO added_ids, added_names, added_statuses FROM added AS a;
	IF cardinality(added_ids) = cardinality(names) THEN
		RETURN QUERY SELECT * FROM unnest(added_ids, added_names, added_statuses);
	ELSE
		RETURN QUERY
			SELECT f.file_ingestion_id, f.name, f.ingestion_status
			FROM unnest(session_files.locate_names(register_files.session_id, names)) WITH ORDINALITY AS p (place, ordinal),
				-- OFFSET keeps it from becoming a join, with all of the table on one side.
				LATERAL (SELECT g.* FROM session_files.files AS g WHERE g.ctid = p.place OFFSET 0) AS f
			ORDER BY p.ordinal;
	END IF;
END
$$;
COMMENT ON FUNCTION session_files.register_files(uuid, text[]) IS
	'Adds files to an OPEN session, in the order given. One row per name: its id, which is the one it had if the session has the name '
	'already, and its status: FAILED when the name is over 800 characters. Errors: 22004 (NULL), 22023 (empty name, more than one '
	'dimension), P0002 (no such session), 55000 (session not OPEN, or expired).';

-- What finish_files and fail_files have in common: changes the files given, if they have so many retries (NULL: any number), and tells of
-- them and of others, which it leaves as they are. others is NULL for a call without a lease: only that raises an error for what is no
-- file of the session; a worker's other files are not to wait for one that was deleted.
CREATE FUNCTION session_files.settle_files(
	session_id uuid,
	file_ingestion_ids uuid[],
	others uuid[],
	given_retries integer,
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
AS $$
#variable_conflict use_column
DECLARE
	given constant uuid[] := session_files.sort_ids(session_id, file_ingestion_ids);
	changed_ids uuid[] := '{}';
	unchanged_ids uuid[] := given;
	missing uuid[];
	found_files bigint;
BEGIN
	FOR attempt IN 1..10 LOOP
		EXIT WHEN cardinality(unchanged_ids) = 0;
		WITH settled AS (
			UPDATE session_files.files AS f
				SET ingestion_status = new_status, ingestion_status_reason = new_reason
				WHERE f.ctid = ANY (session_files.locate_ids(settle_files.session_id, unchanged_ids)) AND f.ingestion_status = 'PENDING'
					AND (given_retries IS NULL OR f.retries = given_retries)
				RETURNING f.file_ingestion_id
		)
		SELECT changed_ids || array_agg(s.file_ingestion_id) INTO changed_ids FROM settled AS s;
		IF cardinality(changed_ids) = cardinality(given) AND coalesce(cardinality(others), 0) = 0 THEN
			RETURN QUERY SELECT g.id, new_status, new_reason, true FROM unnest(given) AS g (id);
			RETURN;
		END IF;
		unchanged_ids := ARRAY(SELECT g.id FROM unnest(given) AS g (id) EXCEPT SELECT c.id FROM unnest(changed_ids) AS c (id) ORDER BY id);
		-- A file that another changed while the update waited, and that is PENDING still, has another place now.
		PERFORM FROM session_files.files AS f
			WHERE f.ctid = ANY (session_files.locate_ids(settle_files.session_id, unchanged_ids)) AND f.ingestion_status = 'PENDING'
				AND (given_retries IS NULL OR f.retries = given_retries);
		EXIT WHEN NOT FOUND;
	END LOOP;
	unchanged_ids := unchanged_ids || others;
	RETURN QUERY
		SELECT c.id, new_status, new_reason, true FROM unnest(changed_ids) AS c (id)
		UNION ALL
		SELECT f.file_ingestion_id, f.ingestion_status, f.ingestion_status_reason, false FROM session_files.files AS f
			WHERE f.ctid = ANY (session_files.locate_ids(settle_files.session_id, unchanged_ids))
		ORDER BY 1;
	GET DIAGNOSTICS found_files = ROW_COUNT;
	IF found_files = cardinality(given) + coalesce(cardinality(others), 0) THEN
		RETURN;
	END IF;
	missing := ARRAY(SELECT u.id FROM unnest(unchanged_ids) AS u (id)
		WHERE session_files.locate_ids(settle_files.session_id, ARRAY[u.id]) = '{}');
	IF others IS NULL THEN
		RAISE EXCEPTION 'session "%" has no file "%"', session_id, missing[1] USING ERRCODE = 'no_data_found';
	END IF;
	RETURN QUERY SELECT m.id, NULL::session_files.ingestion_status, NULL::session_files.ingestion_status_reason, false
		FROM unnest(missing) AS m (id);
END
$$;
COMMENT ON FUNCTION session_files.settle_files(uuid, uuid[], uuid[], integer, session_files.ingestion_status, session_files.ingestion_status_reason) IS
	'What finish_files and fail_files have in common; call those.';

CREATE FUNCTION session_files.finish_files(session_id uuid, file_ingestion_ids uuid[], lease_token uuid DEFAULT NULL)
	RETURNS TABLE (
		file_ingestion_id uuid,
		ingestion_status session_files.ingestion_status,
		ingestion_status_reason session_files.ingestion_status_reason,
		changed boolean
	)
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
	batch record;
	held uuid[] := '{}';
	held_retries integer;
	others uuid[] := '{}';
BEGIN
	IF lease_token IS NULL THEN
		RETURN QUERY SELECT * FROM session_files.settle_files(session_id, file_ingestion_ids, NULL, NULL, 'FINISHED', NULL);
		RETURN;
	END IF;
	FOR batch IN
		SELECT * FROM session_files.leave_lease(session_id, session_files.sort_ids(session_id, file_ingestion_ids), lease_token) AS l
			ORDER BY l.retries
	LOOP
		IF NOT batch.is_held THEN
			others := batch.ids;
			CONTINUE;
		END IF;
		IF batch.retries <> held_retries THEN
			RETURN QUERY SELECT * FROM session_files.settle_files(session_id, held, '{}', held_retries, 'FINISHED', NULL);
			held := '{}';
		END IF;
		held := held || batch.ids;
		held_retries := batch.retries;
	END LOOP;
	RETURN QUERY SELECT * FROM session_files.settle_files(session_id, held, others, held_retries, 'FINISHED', NULL);
END
$$;
COMMENT ON FUNCTION session_files.finish_files(uuid, uuid[], uuid) IS
	'Marks PENDING files FINISHED: those that the lease holds, or, without a lease_token, all of them, whoever holds them. One row per file: '
	'the status that it has now, and whether this call changed it; a file that was FINISHED or FAILED stays so, and one that the lease does not '
	'hold any more stays as it is. What is no file of the session: with a lease_token no status (NULL), without one an error. Errors, and then '
	'nothing changes: 22004 (NULL), P0002 (not a file of the session).';

CREATE FUNCTION session_files.fail_files(
	session_id uuid,
	file_ingestion_ids uuid[],
	reason session_files.ingestion_status_reason,
	lease_token uuid DEFAULT NULL
)
	RETURNS TABLE (
		file_ingestion_id uuid,
		ingestion_status session_files.ingestion_status,
		ingestion_status_reason session_files.ingestion_status_reason,
		changed boolean,
		retry_at timestamptz
	)
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
	batch record;
	next_attempt timestamptz;
	held uuid[] := '{}';
	held_retries integer;
	others uuid[] := '{}';
	put_off uuid[] := '{}';
	put_off_to timestamptz[] := '{}';
BEGIN
	IF reason IS NULL THEN
		RAISE EXCEPTION 'reason must not be null' USING ERRCODE = 'null_value_not_allowed';
	END IF;
	IF lease_token IS NULL THEN
		RETURN QUERY SELECT *, NULL::timestamptz FROM session_files.settle_files(session_id, file_ingestion_ids, NULL, NULL, 'FAILED', reason);
		RETURN;
	END IF;
	FOR batch IN
		SELECT * FROM session_files.leave_lease(session_id, session_files.sort_ids(session_id, file_ingestion_ids), lease_token) AS l
			ORDER BY l.retries
	LOOP
		IF NOT batch.is_held THEN
			others := others || batch.ids;
			CONTINUE;
		END IF;
		next_attempt := session_files.retry_at(reason, batch.attempt);
		IF next_attempt IS NOT NULL THEN
			INSERT INTO session_files.file_queue (session_id, due_at, file_ingestion_ids, retries, attempt, claimed_at, last_reason)
				VALUES (fail_files.session_id, next_attempt, batch.ids, batch.retries, batch.attempt, batch.claimed_at, reason);
			put_off := put_off || batch.ids;
			put_off_to := put_off_to || array_fill(next_attempt, ARRAY[cardinality(batch.ids)]);
			others := others || batch.ids;
			CONTINUE;
		END IF;
		IF batch.retries <> held_retries THEN
			RETURN QUERY SELECT *, NULL::timestamptz FROM session_files.settle_files(session_id, held, '{}', held_retries, 'FAILED', reason);
			held := '{}';
		END IF;
		held := held || batch.ids;
		held_retries := batch.retries;
	END LOOP;
	RETURN QUERY
		SELECT s.file_ingestion_id, s.ingestion_status, s.ingestion_status_reason,
			s.changed OR (p.until IS NOT NULL AND s.ingestion_status = 'PENDING'),
			CASE WHEN s.ingestion_status = 'PENDING' THEN p.until END
		FROM session_files.settle_files(session_id, held, others, held_retries, 'FAILED', reason) AS s
			LEFT JOIN unnest(put_off, put_off_to) AS p (id, until) ON p.id = s.file_ingestion_id
		ORDER BY s.file_ingestion_id;
END
$$;
COMMENT ON FUNCTION session_files.fail_files(uuid, uuid[], session_files.ingestion_status_reason, uuid) IS
	'Marks PENDING files FAILED with a reason. With a lease_token, only those that the lease holds; and where the setting '
	'session_files.retry_reasons has the reason and the file has attempts left, it stays PENDING, changed, and cannot be claimed before '
	'retry_at. Rows and errors are else those of finish_files; also 22004 (no reason) and 22P02 (unknown reason).';

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
-- What workers in the database do: claim PENDING files for a time (a lease), and finish, fail, extend or release them by the lease's
-- token. A worker whose lease ran out goes on as long as nobody else has claimed the file; after that its token holds it no more.

CREATE FUNCTION session_files.take_batches(
	session uuid,
	workspace text,
	files integer,
	OUT session_id uuid,
	OUT retries integer,
	OUT attempt integer,
	OUT last_reason session_files.ingestion_status_reason,
	OUT exhausted boolean,
	OUT file_ingestion_ids uuid[],
	OUT names text[],
	OUT rest uuid[],
	OUT due_at timestamptz,
	OUT claimed_at timestamptz,
	OUT lease_token uuid,
	OUT worker text
) RETURNS SETOF record
	LANGUAGE c VOLATILE
	AS 'MODULE_PATHNAME', 'session_files_take_batches';
COMMENT ON FUNCTION session_files.take_batches(uuid, text, integer) IS
	'What claim_files begins with: deletes rows of file_queue that hold so many files, as far as there are, passing over those that are locked. '
	'One row per lease to be: the files that are PENDING, their history, and what is left of the last row, for the caller to insert. Errors: '
	'42501 without SELECT on files and upload_sessions, and DELETE on file_queue; P0002 (no such session); 25006 (read-only transaction).';

-- Whether a lease can last so long; raises if not.
CREATE FUNCTION session_files.check_lease(lease interval) RETURNS void
	LANGUAGE plpgsql IMMUTABLE
	SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	IF lease IS NULL THEN
		RAISE EXCEPTION 'lease must not be null' USING ERRCODE = 'null_value_not_allowed';
	END IF;
	IF lease <= interval '0' OR lease > interval '1 year' THEN
		RAISE EXCEPTION 'lease is "%", and it must be more than 0 and at most 1 year', lease
			USING ERRCODE = 'invalid_parameter_value';
	END IF;
END
$$;
COMMENT ON FUNCTION session_files.check_lease(interval) IS 'Raises 22004 or 22023 for what is no duration of a lease: more than 0, at most 1 year.';

CREATE FUNCTION session_files.claim_files(
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
			UPDATE session_files.files AS f
				SET ingestion_status = 'FAILED',
					ingestion_status_reason = coalesce(batch.last_reason, 'INGESTING_FILE_FAILED')
				WHERE f.ctid = ANY (session_files.locate_ids(batch.session_id, batch.file_ingestion_ids)) AND f.ingestion_status = 'PENDING' AND f.retries = batch.retries;
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
COMMENT ON FUNCTION session_files.claim_files(text, integer, interval, text, uuid) IS
	'Gives a worker up to max PENDING files (default 100, 1 to 100000) that nobody holds, for as long as the lease says (default 5 minutes, '
	'at most 1 year): of a session if it is given, or of any session of a workspace, or of any at all, in turn. First those that came back, '
	'then the oldest. Files that somebody else is claiming are passed over, and so are expired sessions. attempt counts from 1; a file whose '
	'last allowed attempt was not ended by its worker becomes FAILED instead. Errors: 22004 (NULL), 22023 (out of range), P0002 (no such workspace or session).';

-- What the functions that end a lease, or change it, have in common.
CREATE FUNCTION session_files.leave_lease(session_id uuid, file_ingestion_ids uuid[], lease_token uuid)
	RETURNS TABLE (
		is_held boolean,
		ids uuid[],
		retries integer,
		attempt integer,
		claimed_at timestamptz,
		last_reason session_files.ingestion_status_reason,
		worker text
	)
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
	SET enable_seqscan = off
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
		SELECT q.ctid AS place, q.file_ingestion_ids, q.retries, q.attempt, q.claimed_at, q.last_reason, q.worker
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
		retries := lease.retries;
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
	'Takes files, sorted by id, out of a lease, as far as it holds them. One row for those with the same history, and last one for those that '
	'it does not hold, if there are any. For finish_files and the like; call those.';

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
	expires_at constant timestamptz := clock_timestamp() + lease;
	batch record;
	kept uuid[] := '{}';
BEGIN
	PERFORM session_files.check_lease(lease);
	IF lease_token IS NULL THEN
		RAISE EXCEPTION 'lease_token must not be null' USING ERRCODE = 'null_value_not_allowed';
	END IF;
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
COMMENT ON FUNCTION session_files.extend_lease(uuid, uuid[], uuid, interval) IS
	'Lets a lease last longer for these files: from now, for as long as is said (default 5 minutes, more than 0 and at most 1 year). One row '
	'per file, by id: until when, or NULL when the lease does not hold it any more, or never did. Errors: 22004 (NULL), 22023 (duration).';

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
		INSERT INTO session_files.file_queue (session_id, due_at, file_ingestion_ids, retries, attempt, claimed_at, last_reason)
			VALUES (release_files.session_id, clock_timestamp(), batch.ids, batch.retries, batch.attempt - 1, batch.claimed_at, batch.last_reason);
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
	'Gives files back that a lease holds: others can claim them at once, and the attempt does not count. One row per file, by id: whether it '
	'was given back, or is not the lease''s any more, or never was. Errors: 22004 (NULL).';

CREATE FUNCTION session_files.retry_failed(
	session_id uuid,
	reasons session_files.ingestion_status_reason[] DEFAULT NULL
) RETURNS bigint
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
	SET enable_seqscan = off
	SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
DECLARE
	session record;
	changed bigint;
BEGIN
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
	'default) but those whose name is too long. Returns how many. Errors: 22004 (NULL), 22023 (the reason of a name too long), 22P02 '
	'(unknown reason), P0002 (no such session), 55000 (session expired).';
-- What time does to sessions: they expire, and long after that they go. maintain() does it in small steps, for any scheduler. It may run
-- in one backend for years: a plan is made for each statement, by what the tables are then.

-- Fails what nobody holds of a session that has expired, some files at most; returns how many rows of the queue it looked at. Files that
-- somebody has locked wait for the next call.
CREATE FUNCTION session_files.expire_files(session_id uuid, max_files bigint, OUT seen bigint, OUT failed bigint)
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
	SET enable_seqscan = off
	SET plan_cache_mode = force_custom_plan
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
		SELECT q.ctid AS place, q.file_ingestion_ids AS ids, q.retries, q.last_reason FROM session_files.file_queue AS q
			WHERE q.session_id = expire_files.session_id AND (q.lease_token IS NULL OR q.due_at <= clock_timestamp())
			LIMIT max_files FOR UPDATE SKIP LOCKED
	LOOP
		EXIT WHEN failed >= max_files;
		seen := seen + 1;
		SELECT count(*) INTO pending FROM session_files.files AS f
			WHERE f.ctid = ANY (session_files.locate_ids(expire_files.session_id, batch.ids))
				AND f.ingestion_status = 'PENDING' AND f.retries = batch.retries;
		UPDATE session_files.files AS f
			SET ingestion_status = 'FAILED', ingestion_status_reason = coalesce(batch.last_reason, 'FILE_NOT_FOUND')
			WHERE f.ctid = ANY (ARRAY(
				SELECT g.ctid FROM session_files.files AS g
					WHERE g.ctid = ANY (session_files.locate_ids(expire_files.session_id, batch.ids))
						AND g.ingestion_status = 'PENDING' AND g.retries = batch.retries
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
	'What maintain does with a session that has expired: files that nobody holds become FAILED, with the reason of their last attempt, or FILE_NOT_FOUND.';

CREATE FUNCTION session_files.maintain(
	max_files integer DEFAULT 10000,
	OUT sessions_expired bigint,
	OUT files_failed bigint,
	OUT sessions_deleted bigint,
	OUT files_deleted bigint,
	OUT more boolean
)
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
	SET enable_seqscan = off
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
	-- A session that another call has locked, or somebody who adds files to it, is left for the next time.
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
COMMENT ON FUNCTION session_files.maintain(integer) IS
	'Does what is due, for up to max_files files (default 10000, 1 to 1000000), and tells how much; more: there may be more to do now. Sessions '
	'past expires_at: their PENDING files that nobody holds become FAILED, and when none is left the session is EXPIRED. Sessions that '
	'expired longer ago than the setting session_files.session_retention says: deleted, files first. Waits for nobody, so several calls at '
	'the same time share the work. Errors: 22004 (NULL), 22023 (max_files out of range).';
-- Who may see which workspace, and all that is in it: row level security on every table, by one table of grants (src/access.c).

CREATE TABLE session_files.workspace_grants (
	role regrole NOT NULL,
	workspace_name text COLLATE "C" REFERENCES session_files.workspaces (name) ON UPDATE CASCADE ON DELETE CASCADE
);
COMMENT ON TABLE session_files.workspace_grants IS
	'Which roles, and their members, may see which workspaces. Those to whom row level security does not apply see all of them.';
COMMENT ON COLUMN session_files.workspace_grants.workspace_name IS 'NULL: every workspace.';

-- The look-up, also of NULL, which the second one makes unique. The columns and the name are known to the C code (src/catalog.h).
CREATE UNIQUE INDEX workspace_grants_key ON session_files.workspace_grants (workspace_name, role);
CREATE UNIQUE INDEX workspace_grants_every_key ON session_files.workspace_grants (role) WHERE workspace_name IS NULL;

-- A role that was dropped is a number, which can be another role's elsewhere.
SELECT pg_catalog.pg_extension_config_dump('session_files.workspace_grants', 'WHERE role IN (SELECT oid FROM pg_catalog.pg_roles)');

CREATE FUNCTION session_files.may_see_workspace(workspace_name text) RETURNS boolean
	LANGUAGE c STABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'session_files_may_see_workspace';
COMMENT ON FUNCTION session_files.may_see_workspace(text) IS
	'Whether the current user may see a workspace: by workspace_grants, or because row level security does not apply to him. NULL stands for '
	'every workspace. One that is not there is like one that may not be seen.';

CREATE FUNCTION session_files.may_see_session(session_id uuid) RETURNS boolean
	LANGUAGE c STABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'session_files_may_see_session';
COMMENT ON FUNCTION session_files.may_see_session(uuid) IS
	'Whether the current user may see a session, and so its files: if he may see its workspace or, where upload_sessions has other policies '
	'than the extension''s own, if they let him see its row. One that is not there is like one that may not be seen.';

CREATE FUNCTION session_files.report_grants() RETURNS trigger
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'session_files_report_grants';
COMMENT ON FUNCTION session_files.report_grants() IS 'Trigger on workspace_grants: has every backend look its grants up anew.';

-- By rows, and always: so they fire for what logical replication applies, too.
CREATE TRIGGER report_changes AFTER INSERT OR UPDATE OR DELETE ON session_files.workspace_grants
	FOR EACH ROW EXECUTE FUNCTION session_files.report_grants();
CREATE TRIGGER report_truncate AFTER TRUNCATE ON session_files.workspace_grants
	FOR EACH STATEMENT EXECUTE FUNCTION session_files.report_grants();
ALTER TABLE session_files.workspace_grants ENABLE ALWAYS TRIGGER report_changes;
ALTER TABLE session_files.workspace_grants ENABLE ALWAYS TRIGGER report_truncate;

CREATE FUNCTION session_files.grant_creator() RETURNS trigger
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'session_files_grant_creator';
COMMENT ON FUNCTION session_files.grant_creator() IS
	'Trigger on workspaces: grants a new workspace to the role that has created it, unless it may see the workspace anyway.';

CREATE TRIGGER grant_creator AFTER INSERT ON session_files.workspaces
	FOR EACH ROW EXECUTE FUNCTION session_files.grant_creator();

CREATE FUNCTION session_files.grant_workspace(role regrole, workspace_name text DEFAULT NULL) RETURNS void
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
	IF role IS NULL THEN
		RAISE EXCEPTION 'role must not be null' USING ERRCODE = 'null_value_not_allowed';
	END IF;
	PERFORM FROM pg_roles AS r WHERE r.oid = grant_workspace.role;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'there is no role "%"', role USING ERRCODE = 'undefined_object';
	END IF;
	IF workspace_name IS NOT NULL THEN
		PERFORM FROM session_files.workspaces AS w WHERE w.name = grant_workspace.workspace_name;
		IF NOT FOUND THEN
			RAISE EXCEPTION 'there is no workspace "%"', workspace_name USING ERRCODE = 'no_data_found';
		END IF;
	END IF;
	INSERT INTO session_files.workspace_grants (role, workspace_name)
		VALUES (grant_workspace.role, grant_workspace.workspace_name) ON CONFLICT DO NOTHING;
END
$$;
COMMENT ON FUNCTION session_files.grant_workspace(regrole, text) IS
	'Lets a role, and who inherits from it, see a workspace and what is in it, or, without a name (NULL, the default), every workspace. What '
	'was granted already stays. Errors: 22004 (no role), 42704 (no such role), P0002 (no such workspace).';

CREATE FUNCTION session_files.revoke_workspace(role regrole, workspace_name text DEFAULT NULL) RETURNS void
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
	IF role IS NULL THEN
		RAISE EXCEPTION 'role must not be null' USING ERRCODE = 'null_value_not_allowed';
	END IF;
	IF workspace_name IS NULL THEN
		DELETE FROM session_files.workspace_grants AS g WHERE g.role = revoke_workspace.role AND g.workspace_name IS NULL;
		RETURN;
	END IF;
	PERFORM FROM session_files.workspaces AS w WHERE w.name = revoke_workspace.workspace_name;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'there is no workspace "%"', workspace_name USING ERRCODE = 'no_data_found';
	END IF;
	DELETE FROM session_files.workspace_grants AS g
		WHERE g.role = revoke_workspace.role AND g.workspace_name = revoke_workspace.workspace_name;
END
$$;
COMMENT ON FUNCTION session_files.revoke_workspace(regrole, text) IS
	'Takes back what grant_workspace granted: a workspace or, without a name (NULL, the default), every workspace as such; what was granted '
	'by name stays then. What was not granted is no error. Errors: 22004 (no role), P0002 (no such workspace).';

ALTER TABLE session_files.workspaces ENABLE ROW LEVEL SECURITY;
ALTER TABLE session_files.workspace_grants ENABLE ROW LEVEL SECURITY;
ALTER TABLE session_files.upload_sessions ENABLE ROW LEVEL SECURITY;
ALTER TABLE session_files.files ENABLE ROW LEVEL SECURITY;
ALTER TABLE session_files.file_counts ENABLE ROW LEVEL SECURITY;
ALTER TABLE session_files.file_queue ENABLE ROW LEVEL SECURITY;

-- For all commands and all roles; is_own_policy in src/access.c knows them by what they call. pg_dump leaves out policies on an extension's
-- tables since the releases of November 2024: before that, restoring a dump says that these are there already.
CREATE POLICY visible_workspaces ON session_files.workspaces USING (session_files.may_see_workspace(name));
CREATE POLICY new_workspaces ON session_files.workspaces FOR INSERT WITH CHECK (true);
CREATE POLICY visible_workspaces ON session_files.workspace_grants USING (session_files.may_see_workspace(workspace_name));
CREATE POLICY visible_workspaces ON session_files.upload_sessions USING (session_files.may_see_workspace(workspace_name));
CREATE POLICY visible_sessions ON session_files.files USING (session_files.may_see_session(session_id));
CREATE POLICY visible_sessions ON session_files.file_counts USING (session_files.may_see_session(session_id));
CREATE POLICY visible_sessions ON session_files.file_queue USING (session_files.may_see_session(session_id));
-- What is going on. Views with the rights of their owner, to whom row level security does not apply: they say themselves what the reader
-- may see. The functions in them run as the reader.

CREATE VIEW session_files.session_progress WITH (security_barrier) AS
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
				/ greatest(least(extract(epoch FROM clock_timestamp() - s.created_at), 60), 1) AS settled_per_second
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
COMMENT ON VIEW session_files.session_progress IS
	'How far each session is: files by status, and of the PENDING ones those that a worker holds and those put off for another attempt; '
	'failed files by reason (counted each time: leave the column out where millions failed); when the oldest PENDING file was created; '
	'files finished or failed per second over the last minute, and when, at that rate, the last one will be.';

CREATE VIEW session_files.leases WITH (security_barrier) AS
	SELECT q.worker, q.lease_token, q.session_id, sum(cardinality(q.file_ingestion_ids)) AS files, max(q.attempt) AS attempt,
		min(q.claimed_at) AS claimed_at, min(q.due_at) AS expires_at, min(q.due_at) - clock_timestamp() AS remaining
	FROM session_files.file_queue AS q
	WHERE q.lease_token IS NOT NULL AND session_files.may_see_session(q.session_id)
	GROUP BY q.worker, q.lease_token, q.session_id;
COMMENT ON VIEW session_files.leases IS
	'What workers hold: a row per claim and session. A negative remaining: the lease has run out, and nobody has claimed the files since.';

CREATE VIEW session_files.workers WITH (security_barrier) AS
	SELECT l.worker, count(DISTINCT l.session_id) AS sessions, count(DISTINCT l.lease_token) AS leases, sum(l.files) AS files,
		coalesce(sum(l.files) FILTER (WHERE l.remaining <= interval '0'), 0) AS overdue_files,
		min(l.claimed_at) AS oldest_claim, max(l.claimed_at) AS newest_claim, min(l.expires_at) AS next_expiry
	FROM session_files.leases AS l
	GROUP BY l.worker;
COMMENT ON VIEW session_files.workers IS 'What each worker that holds files holds; overdue_files are those whose lease has run out.';
-- PUBLIC gets nothing: the administrator grants what each role needs (README, "Privileges").
REVOKE ALL ON ALL TABLES IN SCHEMA session_files FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA session_files FROM PUBLIC;

-- Policies and views call them as whoever reads. They tell a role nothing but what it was granted.
GRANT EXECUTE ON FUNCTION session_files.may_see_workspace, session_files.may_see_session TO PUBLIC;
