-- What the peers of bench/http read: the session and its files once more, in plain tables with the indexes that their queries want,
-- and without triggers or counters. Run by psql as a superuser, in the database that has the session.

\set ON_ERROR_STOP on
BEGIN;
CREATE ROLE peer LOGIN;
CREATE SCHEMA peer;

CREATE TABLE peer.upload_sessions (LIKE session_files.upload_sessions INCLUDING INDEXES);
INSERT INTO peer.upload_sessions SELECT * FROM session_files.upload_sessions;

CREATE TABLE peer.files (LIKE session_files.files);
INSERT INTO peer.files SELECT * FROM session_files.files ORDER BY file_ingestion_id;
ALTER TABLE peer.files ADD PRIMARY KEY (session_id, file_ingestion_id);
CREATE INDEX ON peer.files (session_id, ingestion_status, file_ingestion_id);
CREATE UNIQUE INDEX ON peer.files (session_id, name);
CREATE INDEX ON peer.files (session_id, ingestion_status, name);

GRANT USAGE ON SCHEMA peer TO peer;
GRANT SELECT ON ALL TABLES IN SCHEMA peer TO peer;
COMMIT;
