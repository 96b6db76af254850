-- What a session's write mode says when a file is finished whose name the workspace has finished before.

CREATE FUNCTION session_files._name_hash(workspace_id uuid, name text) RETURNS bigint
	LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'session_files_name_hash';
COMMENT ON FUNCTION session_files._name_hash(uuid, text) IS 'Returns files.name_hash of a FINISHED file.';

CREATE FUNCTION session_files._apply_write_mode() RETURNS trigger
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'session_files_apply_write_mode';
COMMENT ON FUNCTION session_files._apply_write_mode() IS
	'Trigger on files: sets name_hash of a FINISHED file. If an UPDATE finishes a file whose name the workspace has finished before, the '
	'write mode of its session applies: KEEP keeps both, FAIL makes it FAILED with FILE_ALREADY_EXISTS, OVERWRITE supersedes the others.';

-- Not on INSERT: a dump has the files as they are.
CREATE TRIGGER hash_name BEFORE INSERT ON session_files.files
	FOR EACH ROW WHEN (NEW.ingestion_status = 'FINISHED') EXECUTE FUNCTION session_files._apply_write_mode();
CREATE TRIGGER apply_write_mode BEFORE UPDATE ON session_files.files
	FOR EACH ROW WHEN (
		NEW.ingestion_status = 'FINISHED'
		AND (OLD.ingestion_status <> 'FINISHED' OR NEW.session_id <> OLD.session_id OR NEW.name <> OLD.name
			OR NEW.name_hash IS DISTINCT FROM OLD.name_hash))
	EXECUTE FUNCTION session_files._apply_write_mode();
