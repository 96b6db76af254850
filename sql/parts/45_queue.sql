-- What workers claim: batches of PENDING files. A row has up to a hundred, so that they are claimed and finished at the price of a row;
-- where there are few files, a row has fewer, so that many workers can have some. A trigger on files fills it. A row is only a hint: the
-- table files decides. A row is void for a file that is not PENDING any more, or that has a greater generation. Only the extension writes
-- it (src/ingestion/queue.c). Not dumped: restoring the files fills it again. The C code knows the columns by their position
-- (src/catalog.h).
CREATE TABLE session_files.file_queue (
	row_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	session_id uuid NOT NULL,
	workspace_name text COLLATE "C" NOT NULL,
	priority smallint NOT NULL DEFAULT 0,
	due_at session_files.queue_time NOT NULL,
	file_ingestion_ids session_files.queue_files NOT NULL,
	generation bigint NOT NULL,
	attempt integer NOT NULL DEFAULT 0,
	claimed_at session_files.queue_time,
	last_reason session_files.ingestion_status_reason,
	lease_token uuid,
	worker session_files.worker_name,
	company integer,
	CONSTRAINT file_queue_lease CHECK (
		(lease_token IS NULL) = (worker IS NULL) AND (lease_token IS NULL) = (company IS NULL)
		AND (lease_token IS NULL OR claimed_at IS NOT NULL))
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
COMMENT ON TABLE session_files.file_queue IS
	'Batches of PENDING files that can be claimed, or are claimed. A trigger on files fills it.';
COMMENT ON COLUMN session_files.file_queue.workspace_name IS 'Workspace of the session.';
COMMENT ON COLUMN session_files.file_queue.priority IS 'Priority of the session.';
COMMENT ON COLUMN session_files.file_queue.due_at IS
	'When the batch can be claimed: the creation of its first file if it was never claimed, the end of its lease, or the end of the '
	'wait for a retry.';
COMMENT ON COLUMN session_files.file_queue.file_ingestion_ids IS 'Files of the batch, in the order of creation.';
COMMENT ON COLUMN session_files.file_queue.generation IS
	'Greatest generation of the files. The queue row is void for a file that has a greater one.';
COMMENT ON COLUMN session_files.file_queue.attempt IS
	'Number of claims so far, without those that were released, or lost together with other files.';
COMMENT ON COLUMN session_files.file_queue.claimed_at IS 'Time of the last claim. NULL if there was none.';
COMMENT ON COLUMN session_files.file_queue.last_reason IS 'Reason why the last attempt failed.';
COMMENT ON COLUMN session_files.file_queue.lease_token IS
	'Token of the lease, which proves that a worker holds the files. NULL without a lease.';
COMMENT ON COLUMN session_files.file_queue.company IS
	'How many files were claimed together. If the lease ends without a report, half as many are claimed together the next time.';

-- Claims of a session; what belongs to a session.
CREATE INDEX file_queue_due_idx ON session_files.file_queue (session_id, (claimed_at IS NOT NULL), due_at, (file_ingestion_ids[1]));
-- Claims: sessions with files that were never claimed.
CREATE INDEX file_queue_new_idx ON session_files.file_queue (workspace_name, priority DESC, session_id) WHERE claimed_at IS NULL;
-- Claims: files that came back, of all workspaces and of one.
CREATE INDEX file_queue_returned_idx ON session_files.file_queue (due_at) WHERE claimed_at IS NOT NULL;
CREATE INDEX file_queue_workspace_returned_idx ON session_files.file_queue (workspace_name, due_at) WHERE claimed_at IS NOT NULL;
-- Finishing, and the like, by lease.
CREATE INDEX file_queue_lease_idx ON session_files.file_queue (lease_token) WHERE lease_token IS NOT NULL;

CREATE FUNCTION session_files._queue_files() RETURNS trigger
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'session_files_queue_files';
COMMENT ON FUNCTION session_files._queue_files() IS
	'Trigger on files: queues the files that a statement made PENDING, and sends the notification session_files_work with the session '
	'id when the transaction commits.';

CREATE TRIGGER queue_inserts AFTER INSERT ON session_files.files
	REFERENCING NEW TABLE AS added
	FOR EACH STATEMENT EXECUTE FUNCTION session_files._queue_files();
CREATE TRIGGER queue_updates AFTER UPDATE ON session_files.files
	REFERENCING OLD TABLE AS removed NEW TABLE AS added
	FOR EACH STATEMENT EXECUTE FUNCTION session_files._queue_files();

CREATE FUNCTION session_files._follow_session() RETURNS trigger
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'session_files_follow_session';
COMMENT ON FUNCTION session_files._follow_session() IS
	'Trigger on upload_sessions: gives the queue rows of a session its new workspace and priority.';

CREATE TRIGGER follow_session AFTER UPDATE OF workspace_name, priority ON session_files.upload_sessions
	FOR EACH ROW WHEN (OLD.workspace_name <> NEW.workspace_name OR OLD.priority <> NEW.priority)
	EXECUTE FUNCTION session_files._follow_session();

CREATE FUNCTION session_files._notify_work(session_id uuid) RETURNS void
	LANGUAGE c VOLATILE STRICT
	AS 'MODULE_PATHNAME', 'session_files_notify_work';
COMMENT ON FUNCTION session_files._notify_work(uuid) IS
	'Sends the notification session_files_work with the session id when the transaction commits, once per transaction and session.';

CREATE FUNCTION session_files._notify_settled(session_id uuid) RETURNS void
	LANGUAGE c VOLATILE STRICT
	AS 'MODULE_PATHNAME', 'session_files_notify_settled';
COMMENT ON FUNCTION session_files._notify_settled(uuid) IS
	'Has the transaction look, when it commits, whether the session is done: then it sends the notification session_files_done with the '
	'session id.';

CREATE FUNCTION session_files._notify_end() RETURNS trigger
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'session_files_notify_end';
COMMENT ON FUNCTION session_files._notify_end() IS
	'Trigger on upload_sessions: sends the notification session_files_done with the session id when a transaction closes a session '
	'without PENDING files.';

CREATE TRIGGER notify_end AFTER UPDATE OF status ON session_files.upload_sessions
	FOR EACH ROW WHEN (OLD.status = 'OPEN' AND NEW.status <> 'OPEN') EXECUTE FUNCTION session_files._notify_end();
