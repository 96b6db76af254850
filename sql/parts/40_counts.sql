-- Several rows per session, so that no writer waits for another: a writer takes one that is not locked or adds one
-- (src/ingestion/count_changes.c), a reader sums them up (src/ingestion/counts.c). A row with a negative slot has no files: it marks a
-- session whose end may have been missed (src/ingestion/notify.c). Not dumped: restoring the files counts them again. The C code knows the
-- columns by their position (src/catalog.h).
CREATE TABLE session_files.file_counts (
	session_id uuid NOT NULL,
	slot bigint NOT NULL,
	failed bigint NOT NULL,
	finished bigint NOT NULL,
	pending bigint NOT NULL,
	-- What the files are, in 64 bits: the slots' digests XORed (src/ingestion/digest.c). Equal files give an equal one.
	digest bigint NOT NULL,
	CONSTRAINT file_counts_pkey PRIMARY KEY (session_id, slot)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
COMMENT ON TABLE session_files.file_counts IS
	'Totals per session and status, and a digest of the files: the sum, or the XOR, of the session''s slots. Triggers on files keep it '
	'in the transaction that changes the files.';

-- The marked sessions.
CREATE INDEX file_counts_marks_idx ON session_files.file_counts (session_id) WHERE slot < 0;

CREATE FUNCTION session_files._count_changes() RETURNS trigger
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'session_files_count_changes';
COMMENT ON FUNCTION session_files._count_changes() IS 'Trigger on files: adds the changes of a statement to file_counts.';

CREATE FUNCTION session_files._session_cleanup() RETURNS trigger
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'session_files_session_cleanup';
COMMENT ON FUNCTION session_files._session_cleanup() IS
	'Trigger: removes the counts and queue rows of sessions that a statement deleted, or all of them when files is '
	'truncated.';

CREATE TRIGGER count_inserts AFTER INSERT ON session_files.files
	REFERENCING NEW TABLE AS added
	FOR EACH STATEMENT EXECUTE FUNCTION session_files._count_changes();
CREATE TRIGGER count_updates AFTER UPDATE ON session_files.files
	REFERENCING OLD TABLE AS removed NEW TABLE AS added
	FOR EACH STATEMENT EXECUTE FUNCTION session_files._count_changes();
CREATE TRIGGER count_deletes AFTER DELETE ON session_files.files
	REFERENCING OLD TABLE AS removed
	FOR EACH STATEMENT EXECUTE FUNCTION session_files._count_changes();
CREATE TRIGGER session_cleanup AFTER TRUNCATE ON session_files.files
	FOR EACH STATEMENT EXECUTE FUNCTION session_files._session_cleanup();
CREATE TRIGGER session_cleanup AFTER DELETE ON session_files.upload_sessions
	REFERENCING OLD TABLE AS removed
	FOR EACH STATEMENT EXECUTE FUNCTION session_files._session_cleanup();
