-- What the tables themselves refuse, whoever writes.
\set VERBOSITY terse
INSERT INTO session_files.workspaces VALUES ('invariants');
INSERT INTO session_files.upload_sessions (session_id, workspace_name) VALUES ('00000000-0000-7000-8000-000000000001', 'invariants');
SELECT expires_at - created_at AS lasts, status, write_mode FROM session_files.upload_sessions WHERE workspace_name = 'invariants';

-- Workspaces: 1 to 600 characters.
INSERT INTO session_files.workspaces VALUES ('');
INSERT INTO session_files.workspaces VALUES (repeat('x', 601));
INSERT INTO session_files.workspaces VALUES (repeat('𝄞', 600));
INSERT INTO session_files.workspaces VALUES ('invariants');

-- Sessions: a workspace that is there; expiry after creation, with a year of four digits.
INSERT INTO session_files.upload_sessions (workspace_name) VALUES ('nowhere');
INSERT INTO session_files.upload_sessions (workspace_name, created_at, expires_at) VALUES ('invariants', '2026-01-02', '2026-01-02');
INSERT INTO session_files.upload_sessions (workspace_name, expires_at) VALUES ('invariants', 'infinity');
INSERT INTO session_files.upload_sessions (workspace_name, expires_at) VALUES ('invariants', '10000-01-01');
DELETE FROM session_files.workspaces WHERE name = 'invariants';

-- Files: a session that is there, an id of version 7, a name, a reason exactly when FAILED.
\set session '\'00000000-0000-7000-8000-000000000001\''
INSERT INTO session_files.files (session_id, name) VALUES ('00000000-0000-7000-8000-00000000000f', 'a');
INSERT INTO session_files.files (session_id, file_ingestion_id, name) VALUES (:session, '6f9619ff-8b86-4011-b42d-00c04fc964ff', 'a');
INSERT INTO session_files.files (session_id, name) VALUES (:session, '');
INSERT INTO session_files.files (session_id, name) VALUES (:session, NULL);
INSERT INTO session_files.files (session_id, name, ingestion_status) VALUES (:session, 'a', 'FAILED');
INSERT INTO session_files.files (session_id, name, ingestion_status_reason) VALUES (:session, 'a', 'EMPTY_FILE');
INSERT INTO session_files.files (session_id, name, ingestion_status) VALUES (:session, 'a', 'pending');
INSERT INTO session_files.files (session_id, name, ingestion_status, ingestion_status_reason) VALUES (:session, 'a', 'FAILED', 'NO_REASON');
INSERT INTO session_files.files (session_id, name, ingestion_status, ingestion_status_reason) VALUES (:session, 'a', 'FAILED', 'EMPTY_FILE');
UPDATE session_files.files SET ingestion_status = 'FINISHED';
UPDATE session_files.files SET ingestion_status_reason = NULL;

-- Names are unique in a session, also those of 800 characters and more that differ at the end only.
INSERT INTO session_files.files (session_id, name) VALUES (:session, 'a');
INSERT INTO session_files.files (session_id, name) VALUES (:session, repeat('𝄞', 799) || 'a'), (:session, repeat('𝄞', 799) || 'b');
INSERT INTO session_files.files (session_id, name) VALUES (:session, repeat('𝄞', 799) || 'b');
INSERT INTO session_files.files (session_id, name) VALUES (:session, repeat('x', 2000) || 'a'), (:session, repeat('x', 2000) || 'b');
INSERT INTO session_files.files (session_id, name) VALUES (:session, repeat('x', 2000) || 'b');

-- A name of 801 characters is recorded as FAILED, whatever it is said to be, and stays so.
INSERT INTO session_files.files (session_id, name) VALUES (:session, repeat('y', 800)), (:session, repeat('y', 801));
INSERT INTO session_files.files (session_id, name, ingestion_status) VALUES (:session, repeat('y', 802), 'FINISHED');
SELECT length(name), ingestion_status, ingestion_status_reason FROM session_files.files WHERE name ~ 'y' ORDER BY 1;
UPDATE session_files.files SET ingestion_status = 'FINISHED', ingestion_status_reason = NULL WHERE length(name) = 801;
UPDATE session_files.files SET name = repeat('z', 801) WHERE length(name) = 800 AND name ~ 'y';
-- A name that nothing compresses: 800 characters of 4 bytes, no two alike.
INSERT INTO session_files.files (session_id, name)
	SELECT :session, string_agg(chr(65536 + (n * 7919 + 104729 * (n % 13)) % 900000), '' ORDER BY n) FROM generate_series(1, 800) n;
SELECT length(name), octet_length(name), ingestion_status FROM session_files.files WHERE session_id = :session ORDER BY name COLLATE "C" DESC LIMIT 1;
DELETE FROM session_files.upload_sessions WHERE workspace_name = 'invariants';
SELECT count(*) FROM session_files.files;
SELECT count(*) FROM session_files.file_counts;
