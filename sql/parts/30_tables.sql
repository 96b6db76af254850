CREATE TABLE session_files.workspaces (
	name text COLLATE "C" PRIMARY KEY,
	created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
	-- Stays when the workspace is renamed: for files.name_hash.
	workspace_id uuid NOT NULL DEFAULT pg_catalog.gen_random_uuid(),
	CONSTRAINT workspaces_name_length CHECK (char_length(name) BETWEEN 1 AND 600),
	CONSTRAINT workspaces_created_at CHECK (created_at >= '1970-01-01 00:00:00+00' AND created_at < '9999-12-31 00:00:00+00')
);
COMMENT ON TABLE session_files.workspaces IS 'Workspaces, which hold upload sessions.';

CREATE UNIQUE INDEX workspaces_id_idx ON session_files.workspaces (workspace_id);

CREATE TABLE session_files.upload_sessions (
	session_id uuid PRIMARY KEY DEFAULT session_files.uuid7(),
	workspace_name text COLLATE "C" NOT NULL REFERENCES session_files.workspaces (name) ON UPDATE CASCADE,
	status session_files.session_status NOT NULL DEFAULT 'OPEN',
	write_mode session_files.write_mode NOT NULL DEFAULT 'KEEP',
	created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
	expires_at timestamptz NOT NULL DEFAULT session_files._default_expiry(),
	priority smallint NOT NULL DEFAULT 0,
	-- The header Session-Expires-At has four digits for the year; infinite times cannot be subtracted; ids of version 7 begin in 1970.
	CONSTRAINT upload_sessions_expires_at CHECK (
		created_at >= '1970-01-01 00:00:00+00' AND expires_at > created_at AND expires_at < '9999-12-31 00:00:00+00'),
	CONSTRAINT upload_sessions_priority CHECK (priority BETWEEN -100 AND 100)
);
COMMENT ON TABLE session_files.upload_sessions IS 'Upload sessions: workspace, status, write mode, end and priority (-100 to 100).';

-- The foreign key asks for it when a workspace is renamed or deleted.
CREATE INDEX upload_sessions_workspace_idx ON session_files.upload_sessions (workspace_name, session_id);
-- Maintenance: sessions that have expired.
CREATE INDEX upload_sessions_expiry_idx ON session_files.upload_sessions (status, expires_at);

-- Totals, queue and leases have the id, and no foreign key.
CREATE FUNCTION session_files._keep_session_id() RETURNS trigger
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
	RAISE EXCEPTION 'the id of session "%" cannot be changed', OLD.session_id USING ERRCODE = 'object_not_in_prerequisite_state';
END
$$;
COMMENT ON FUNCTION session_files._keep_session_id() IS
	'Trigger on upload_sessions: refuses to change the id of a session. Errors: 55000.';

CREATE TRIGGER keep_session_id BEFORE UPDATE OF session_id ON session_files.upload_sessions
	FOR EACH ROW WHEN (NEW.session_id <> OLD.session_id) EXECUTE FUNCTION session_files._keep_session_id();

CREATE FUNCTION session_files._check_expired() RETURNS trigger
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'session_files_check_expired';
COMMENT ON FUNCTION session_files._check_expired() IS
	'Trigger on upload_sessions: a session that has PENDING files cannot be made EXPIRED. Errors: 55000.';

CREATE TRIGGER check_expired AFTER UPDATE OF status ON session_files.upload_sessions
	FOR EACH ROW WHEN (OLD.status <> 'EXPIRED' AND NEW.status = 'EXPIRED') EXECUTE FUNCTION session_files._check_expired();

-- The columns are known to the C code by their position (src/catalog.h).
CREATE TABLE session_files.files (
	session_id uuid NOT NULL REFERENCES session_files.upload_sessions (session_id) ON DELETE CASCADE,
	file_ingestion_id uuid NOT NULL DEFAULT session_files.uuid7(),
	ingestion_status session_files.ingestion_status NOT NULL DEFAULT 'PENDING',
	ingestion_status_reason session_files.ingestion_status_reason,
	name session_files.file_name NOT NULL,
	-- Queue rows of a smaller one are void (src/ingestion/README.md).
	generation bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
	-- Of a FINISHED file that is not superseded: the hash of its name and workspace (src/ingestion/write_mode.c).
	name_hash bigint,
	superseded_by uuid,
	-- What went wrong, for people.
	error session_files.file_error,
	-- What the uploader says of the file, for workers.
	size session_files.file_size,
	type session_files.file_type,
	location session_files.file_location,
	metadata session_files.file_metadata,
	-- Listings by created_at; cursors; status transitions. Half full, as files_name_idx: when a file is finished, the index tuple of its new
	-- version goes beside the first, and the page need not be searched for what can go, nor split.
	CONSTRAINT files_pkey PRIMARY KEY (session_id, file_ingestion_id) WITH (fillfactor = 50),
	CONSTRAINT files_id_is_uuid7 CHECK (session_files.uuid7_time(file_ingestion_id) IS NOT NULL),
	CONSTRAINT files_reason_when_failed CHECK ((ingestion_status = 'FAILED') = (ingestion_status_reason IS NOT NULL)),
	CONSTRAINT files_error_when_failed CHECK (error IS NULL OR ingestion_status = 'FAILED'),
	CONSTRAINT files_long_name_failed CHECK (
		char_length(name) <= 800
		OR ingestion_status_reason IS NOT DISTINCT FROM 'FILE NAME TOO LONG. MAX LENGTH IS 800')
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.05);
COMMENT ON TABLE session_files.files IS
	'Files of upload sessions. file_ingestion_id contains the creation time: session_files.uuid7_time().';
COMMENT ON COLUMN session_files.files.generation IS
	'Number from a sequence: a new one when the file is inserted, becomes PENDING again, or is PENDING and gets another key.';
COMMENT ON COLUMN session_files.files.superseded_by IS
	'Of a FINISHED file: the file of a session with the write mode OVERWRITE that has taken its place in the workspace.';

-- Listings by ingestion_status; by created_at with a filter; the files without a reason, by ingestion_status_reason.
CREATE INDEX files_status_idx ON session_files.files (session_id, ingestion_status, file_ingestion_id);
-- Listings by ingestion_status_reason: the files that have one.
CREATE INDEX files_reason_idx ON session_files.files (session_id, ingestion_status_reason, file_ingestion_id)
	WHERE ingestion_status_reason IS NOT NULL;
-- Names are unique in a session; listings by name.
CREATE UNIQUE INDEX files_name_idx ON session_files.files (session_id, session_files._name_key(name)) WITH (fillfactor = 50);
-- Listings by name with a filter.
CREATE INDEX files_status_name_idx ON session_files.files (session_id, ingestion_status, session_files._name_key(name));
-- Write modes: the files that a workspace has, by name.
CREATE INDEX files_name_hash_idx ON session_files.files (name_hash) WHERE name_hash IS NOT NULL;

CREATE FUNCTION session_files._derive_columns() RETURNS trigger
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'session_files_derive_columns';
COMMENT ON FUNCTION session_files._derive_columns() IS
	'Trigger on files. A new file whose name has more than 800 characters becomes FAILED. An UPDATE that makes a file PENDING, or moves a '
	'PENDING one to another key, gives it a new generation. A FINISHED file that is not superseded gets its name_hash. If an UPDATE '
	'finishes a file whose name the workspace has finished before, the write mode of its session applies: KEEP keeps both, FAIL makes it '
	'FAILED with FILE_ALREADY_EXISTS, OVERWRITE supersedes the others.';

-- Without WHEN: PostgreSQL would parse that again for each statement.
CREATE TRIGGER derive_columns BEFORE INSERT OR UPDATE ON session_files.files
	FOR EACH ROW EXECUTE FUNCTION session_files._derive_columns();

CREATE FUNCTION session_files._name_hash(workspace_id uuid, name text) RETURNS bigint
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'session_files_name_hash';
COMMENT ON FUNCTION session_files._name_hash(uuid, text) IS 'Returns files.name_hash of a file.';

SELECT pg_catalog.pg_extension_config_dump('session_files.workspaces', '');
SELECT pg_catalog.pg_extension_config_dump('session_files.upload_sessions', '');
SELECT pg_catalog.pg_extension_config_dump('session_files.files', '');
SELECT pg_catalog.pg_extension_config_dump('session_files.files_generation_seq', '');
