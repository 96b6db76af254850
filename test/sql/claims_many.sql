-- A hundred thousand files in an array: registered, claimed, held for longer, finished.
SELECT session_files.create_workspace('many');
SELECT session_files.create_session('many') AS s \gset
SELECT count(*) FROM session_files.register_files(:'s', ARRAY(SELECT n::text FROM generate_series(1, 100000) n));
SELECT count(*), lease_token AS t FROM session_files.claim_files('w', 100000, session_id => :'s') GROUP BY lease_token \gset
SELECT :count AS claimed;
SELECT count(*), count(lease_expires_at) AS held
	FROM session_files.extend_lease(:'s', ARRAY(SELECT file_ingestion_id FROM session_files.files WHERE session_id = :'s'), :'t');
SELECT count(*), count(*) FILTER (WHERE changed) AS changed
	FROM session_files.finish_files(:'s', ARRAY(SELECT file_ingestion_id FROM session_files.files WHERE session_id = :'s'), :'t');
SELECT count(*) AS left_in_the_queue FROM session_files.file_queue;
DELETE FROM session_files.upload_sessions;
DELETE FROM session_files.workspaces;
