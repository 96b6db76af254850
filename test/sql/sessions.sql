-- The life of a session by functions: extended, closed, canceled, opened again, deleted; single files tried again, and deleted.
\set VERBOSITY terse
\set SHOW_CONTEXT never
SELECT session_files.create_workspace('sessions');
SELECT session_files.create_session('sessions') AS s \gset
SELECT session_files.create_session('sessions') AS other \gset
SELECT set_config('test.session', :'s', false) IS NOT NULL AS set;
CREATE FUNCTION pg_temp.ids(variadic names text[]) RETURNS uuid[] RETURN ARRAY(
	SELECT f.file_ingestion_id FROM session_files.files f WHERE f.session_id = current_setting('test.session')::uuid AND f.name = ANY (names));
CREATE VIEW pg_temp.seen AS
	SELECT s.status AS session, f.name, f.ingestion_status AS file, f.ingestion_status_reason AS reason
	FROM session_files.upload_sessions s LEFT JOIN session_files.files f USING (session_id)
	WHERE s.session_id = current_setting('test.session')::uuid ORDER BY f.name COLLATE "C";
CREATE FUNCTION pg_temp.age(by interval) RETURNS void BEGIN ATOMIC
	UPDATE session_files.upload_sessions SET created_at = created_at - by, expires_at = expires_at - by
		WHERE session_id = current_setting('test.session')::uuid;
END;
-- What a call raises, without the time in it.
CREATE FUNCTION pg_temp.outcome(call text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE call;
	RETURN 'done';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || regexp_replace(replace(SQLERRM, current_setting('test.session'), 'ID'), 'expired at .*, and', 'expired at TIME, and');
END
$$;

-- Extended: from now on, to a later or an earlier end; a closed one, too.
SELECT session_files.extend_session(:'s', '3 days') = now() + interval '3 days' AS later;
SELECT expires_at > now() + interval '2 days' AS later, status FROM session_files.upload_sessions WHERE session_id = :'s';
SELECT session_files.close_session(:'s');
SELECT session_files.extend_session(:'s', '1 hour') = now() + interval '1 hour' AS earlier;
SELECT expires_at < now() + interval '2 hours' AS earlier, status FROM session_files.upload_sessions WHERE session_id = :'s';
SELECT i, pg_temp.outcome(format('SELECT session_files.extend_session(%L, %L)', current_setting('test.session'), i))
	FROM unnest('{NULL,0,-1 hour,1000 years,1001 years,178000000 years,1 microsecond}'::text[]) AS i;

-- Opened again: with a new end, or with the later of its own and the setting's.
SELECT session_files.reopen_session(:'s', '3 days') = now() + interval '3 days' AS later;
SELECT expires_at > now() + interval '2 days' AS later, status FROM session_files.upload_sessions WHERE session_id = :'s';
SELECT session_files.close_session(:'s');
SELECT session_files.reopen_session(:'s') > now() + interval '2 days' AS its_own;
SELECT session_files.reopen_session(:'s') > now() + interval '2 days' AS its_own;
SET session_files.session_lifetime = '9d';
SELECT session_files.reopen_session(:'s') = now() + interval '9 days' AS by_the_setting;
RESET session_files.session_lifetime;
SELECT session_files.reopen_session(:'s', '1 hour') = now() + interval '1 hour' AS by_the_argument;
SELECT count(*) FROM session_files.register_files(:'s', '{a,b,c,d}');
-- One that has expired, before maintain() was there, and after.
SELECT pg_temp.age('1 day');
SELECT pg_temp.outcome(format('SELECT session_files.extend_session(%L, ''1 hour'')', current_setting('test.session')));
SELECT session_files.reopen_session(:'s', '1 hour') = now() + interval '1 hour' AS opened;
SELECT count(*) FROM session_files.register_files(:'s', '{e}');
SELECT pg_temp.age('1 day');
SELECT sessions_expired, files_failed FROM session_files.maintain();
SELECT pg_temp.outcome(format('SELECT session_files.extend_session(%L, ''1 hour'')', current_setting('test.session')));
SELECT pg_temp.outcome(format('SELECT session_files.retry_failed(%L)', current_setting('test.session')));
SELECT session_files.reopen_session(:'s') = now() + interval '1 day' AS opened;
SELECT * FROM pg_temp.seen;
SELECT pg_temp.outcome(format('SELECT session_files.reopen_session(%L, ''0'')', current_setting('test.session')));

-- Single files are tried again: those that are FAILED, for a reason if one is given. Another session's is none.
SELECT count(*) FROM session_files.fail_files(:'other', ARRAY(SELECT file_ingestion_id FROM session_files.register_files(:'other', '{a}')), 'EMPTY_FILE');
SELECT session_files.retry_failed(:'s', file_ingestion_ids => pg_temp.ids('a', 'c'));
SELECT session_files.retry_failed(:'s', file_ingestion_ids => pg_temp.ids('a', 'c'));
SELECT session_files.retry_failed(:'s', '{SLOWDOWN}', pg_temp.ids('b'));
SELECT session_files.retry_failed(:'s', '{SLOWDOWN,FILE_NOT_FOUND}', pg_temp.ids('b') || pg_temp.ids('b'));
SELECT session_files.retry_failed(:'s', file_ingestion_ids => '{}');
SELECT session_files.retry_failed(:'s', file_ingestion_ids => ARRAY(SELECT file_ingestion_id FROM session_files.files WHERE session_id = :'other'));
SELECT pg_temp.outcome(format('SELECT session_files.retry_failed(%L, file_ingestion_ids => ''{NULL}'')', current_setting('test.session')));
SELECT * FROM pg_temp.seen;

-- Canceled: no file is PENDING any more; a lease holds nothing, now and when its files are tried again.
SELECT changed FROM session_files.finish_files(:'s', pg_temp.ids('c'));
SELECT count(*) AS claimed, min(lease_token::text) AS token FROM session_files.claim_files('w', session_id => :'s') \gset
\echo :claimed
SELECT session_files.cancel_session(:'s');
SELECT * FROM pg_temp.seen;
SELECT session_files.cancel_session(:'s');
SELECT status, changed FROM session_files.finish_files(:'s', pg_temp.ids('a'), :'token') AS f (id, status, reason, changed);
SELECT count(*) FROM session_files.leases;
SELECT session_files.retry_failed(:'s', '{INGESTING_FILE_FAILED}');
SELECT status, changed FROM session_files.finish_files(:'s', pg_temp.ids('a'), :'token') AS f (id, status, reason, changed);
SELECT name, attempt FROM session_files.claim_files('w', session_id => :'s') ORDER BY name;
-- One that has expired stays so.
SELECT pg_temp.age('2 days');
UPDATE session_files.file_queue SET due_at = now();
SELECT sessions_expired FROM session_files.maintain();
SELECT session_files.cancel_session(:'s');
SELECT DISTINCT session FROM pg_temp.seen;

-- Files are deleted, each once; one that is not there is no error.
SELECT session_files.delete_files(:'s', pg_temp.ids('a', 'c'));
SELECT session_files.delete_files(:'s', pg_temp.ids('a', 'c'));
SELECT session_files.delete_files(:'s', pg_temp.ids('b') || pg_temp.ids('b') || ARRAY(SELECT file_ingestion_id FROM session_files.files WHERE session_id = :'other'));
SELECT session_files.delete_files(:'s', '{}');
SELECT pg_temp.outcome(format('SELECT session_files.delete_files(%L, %L)', current_setting('test.session'), ids))
	FROM unnest('{NULL,"{NULL}"}'::text[]) AS ids;
SELECT * FROM pg_temp.seen;
SELECT total FROM session_files.session_counts(:'s');

-- Sessions are deleted, with their files.
SELECT session_files.delete_session(:'s');
SELECT session_files.delete_session(:'other');
SELECT count(*) FROM session_files.files;
SELECT count(*) FROM session_files.file_counts;
SELECT count(*) FROM session_files.file_queue;

-- None of them knows a session that is not there, or NULL.
SELECT c, pg_temp.outcome(format('SELECT session_files.%s', format(c, quote_literal(current_setting('test.session'))))) AS not_there,
	pg_temp.outcome(format('SELECT session_files.%s', format(c, 'NULL'))) AS without
FROM unnest(ARRAY['extend_session(%s, ''1 hour'')', 'close_session(%s)', 'reopen_session(%s)', 'cancel_session(%s)', 'delete_session(%s)',
	'delete_files(%s, ''{}'')', 'retry_failed(%s)', 'retry_failed(%s, file_ingestion_ids => ''{}'')']) AS c;

-- The id of a session does not change, and its priority has limits.
SELECT session_files.create_session('sessions') AS s \gset
SELECT set_config('test.session', :'s', false) IS NOT NULL AS set;
SELECT pg_temp.outcome('UPDATE session_files.upload_sessions SET session_id = session_files.uuid7()');
UPDATE session_files.upload_sessions SET session_id = session_id, priority = -100;
SELECT count(*) FROM session_files.register_files(:'s', '{a}');
SELECT pg_temp.outcome('UPDATE session_files.upload_sessions SET session_id = session_files.uuid7()');
UPDATE session_files.upload_sessions SET priority = 101;
UPDATE session_files.upload_sessions SET priority = -101;
SELECT invariant FROM session_files.check() WHERE broken > 0 AND invariant <> 'grants';
DELETE FROM session_files.upload_sessions;
DELETE FROM session_files.workspaces;
