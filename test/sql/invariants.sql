-- What the tables themselves refuse, whatever role writes.
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

-- Times, of whatever table: finite, and not before the ids of version 7 begin.
INSERT INTO session_files.upload_sessions (workspace_name, created_at) VALUES ('invariants', '-infinity');
INSERT INTO session_files.upload_sessions (workspace_name, created_at) VALUES ('invariants', 'infinity');
INSERT INTO session_files.upload_sessions (workspace_name, created_at, expires_at) VALUES ('invariants', '0044-03-15 BC', '2030-01-01');
INSERT INTO session_files.upload_sessions (workspace_name, created_at, expires_at) VALUES ('invariants', '0044-03-15 BC', '0044-03-16 BC');
INSERT INTO session_files.upload_sessions (workspace_name, created_at, expires_at) VALUES ('invariants', '1970-01-01+00', '1970-01-02+00');
UPDATE session_files.workspaces SET created_at = '-infinity' WHERE name = 'invariants';
UPDATE session_files.workspaces SET created_at = 'infinity' WHERE name = 'invariants';
UPDATE session_files.workspaces SET created_at = '1969-12-31' WHERE name = 'invariants';
SELECT c.relname, a.attname AS without_rule FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
	WHERE c.relnamespace = 'session_files'::regnamespace AND c.relkind = 'r' AND a.atttypid = 'timestamptz'::regtype
		AND NOT EXISTS (SELECT FROM pg_constraint AS k WHERE k.conrelid = c.oid AND k.contype = 'c' AND a.attnum = ANY (k.conkey));

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
-- Names have a maximum, 2,600 bytes or 830 characters, whatever role writes: the largest of each kind of character that is taken, the smallest
-- that is not. What nothing compresses fits into an index entry.
CREATE FUNCTION pg_temp.name(first int, characters int) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(chr(first + ('x' || left(md5(n::text), 6))::bit(24)::int % (CASE first WHEN 33 THEN 94 WHEN 200 THEN 1800 ELSE 12000 END)), '' ORDER BY n)
	FROM generate_series(1, characters) n $$;
INSERT INTO session_files.files (session_id, name) SELECT :session, pg_temp.name(first, characters)
	FROM (VALUES (33, 2600), (200, 1300), (20000, 866), (131072, 830)) AS n (first, characters);
SELECT length(name), octet_length(name), octet_length(session_files._name_key(name)) AS key_bytes, ingestion_status, ingestion_status_reason
	FROM session_files.files WHERE session_id = :session AND length(name) > 820 ORDER BY name COLLATE "C";
INSERT INTO session_files.files (session_id, name) VALUES (:session, pg_temp.name(33, 2601));
INSERT INTO session_files.files (session_id, name) VALUES (:session, pg_temp.name(200, 1301));
INSERT INTO session_files.files (session_id, name) VALUES (:session, pg_temp.name(20000, 867));
INSERT INTO session_files.files (session_id, name) VALUES (:session, pg_temp.name(131072, 831));
UPDATE session_files.files SET name = name || 'x' WHERE session_id = :session AND octet_length(name) = 2600 AND length(name) = 1300;
COPY session_files.files (session_id, name) FROM PROGRAM 'printf "00000000-0000-7000-8000-000000000001\t%02601d\n" 0';
SELECT * FROM session_files.register_files(:session, ARRAY['a', 'b', repeat('x', 2601), repeat('x', 2602)]);
SELECT * FROM session_files.register_files(:session, ARRAY[repeat('𝄞', 831)]);
\set VERBOSITY default
\set SHOW_CONTEXT never
-- The message has no more of a name than a beginning.
DO $$ DECLARE message text; detail text; BEGIN
	INSERT INTO session_files.files (session_id, name) VALUES ('00000000-0000-7000-8000-000000000001', repeat('x', 10000000));
EXCEPTION WHEN check_violation THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
	RAISE NOTICE '%: %, and up to % characters of detail', SQLSTATE, message, ceil(length(detail) / 100.0) * 100;
END $$;
\set VERBOSITY terse
-- Nothing else that a role can write is without a limit: texts and arrays, by the constraint or the key that limits them. The queue has a copy of
-- the workspace's name.
SELECT c.relname, a.attname, k.conname FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
	LEFT JOIN pg_constraint AS k ON (k.conrelid = c.oid AND a.attnum = ANY (k.conkey) OR k.contypid = a.atttypid)
		AND (k.contype = 'f' OR k.contype = 'c' AND pg_get_constraintdef(k.oid) ~ '_length|cardinality')
	WHERE c.relnamespace = 'session_files'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND a.attlen < 0 ORDER BY 1, 2, 3;
UPDATE session_files.file_queue SET file_ingestion_ids = array_fill(file_ingestion_ids[1], ARRAY[101]);
UPDATE session_files.file_queue SET file_ingestion_ids = '{}';
UPDATE session_files.file_queue SET file_ingestion_ids = file_ingestion_ids || NULL::uuid;
UPDATE session_files.file_queue SET file_ingestion_ids = ARRAY[file_ingestion_ids::uuid[]];
UPDATE session_files.file_queue SET file_ingestion_ids = array_fill(file_ingestion_ids[1], ARRAY[1], ARRAY[0]);
UPDATE session_files.file_queue SET lease_token = session_files.uuid7(), claimed_at = now(), company = 1, worker = repeat('w', 201);
UPDATE session_files.file_queue SET lease_token = session_files.uuid7(), claimed_at = now(), company = 1, worker = '';

-- The queue: times as above; a file whose id is of the last moment that an id can have is queued all the same.
INSERT INTO session_files.files (session_id, file_ingestion_id, name) VALUES (:session, 'ffffffff-ffff-7fff-bfff-ffffffffffff', 'last');
SELECT due_at AT TIME ZONE 'UTC' AS due_at FROM session_files.file_queue WHERE 'ffffffff-ffff-7fff-bfff-ffffffffffff' = ANY (file_ingestion_ids);
UPDATE session_files.file_queue SET due_at = 'infinity';
UPDATE session_files.file_queue SET due_at = '-infinity';
UPDATE session_files.file_queue SET claimed_at = 'infinity';
UPDATE session_files.file_queue SET claimed_at = '-infinity';

-- NULL where none is allowed, alone and beside each change that a row trigger looks at: triggers see it before the constraint does.
CREATE FUNCTION pg_temp.try(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
	RETURN 'ok';
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE;
END $$;
WITH columns AS (
	SELECT a.attrelid, a.attrelid::regclass AS of_table, a.attname AS name
	FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
	WHERE c.relnamespace = 'session_files'::regnamespace AND c.relname IN ('workspaces', 'upload_sessions', 'files') AND a.attnum > 0 AND a.attnotnull
		AND a.attidentity = ''),
changes AS (
	SELECT * FROM (VALUES ('files', 'ingestion_status = ''FINISHED'''), ('files', 'ingestion_status = ''PENDING'''), ('files', 'file_ingestion_id = session_files.uuid7()'),
		('files', 'session_id = session_files.uuid7()'), ('files', 'name = ''other'''), ('upload_sessions', 'status = ''EXPIRED'''),
		('upload_sessions', 'workspace_name = ''other'''), ('upload_sessions', 'priority = 7'), ('workspaces', 'name = ''other''')) AS c (of_table, change)
	UNION ALL SELECT DISTINCT relname, NULL FROM pg_class WHERE relname IN ('workspaces', 'upload_sessions', 'files') AND relnamespace = 'session_files'::regnamespace)
SELECT c.of_table::text, t.kind, pg_temp.try(t.statement) AS outcome, count(*)
FROM columns c JOIN changes ch ON ch.of_table = (SELECT relname FROM pg_class WHERE oid = c.attrelid) AND coalesce(split_part(ch.change, ' ', 1) <> c.name, true),
	LATERAL (VALUES ('UPDATE', format('UPDATE %s SET %s', c.of_table, concat_ws(', ', c.name || ' = NULL', ch.change))),
		('INSERT', format('INSERT INTO %s (%s) VALUES (%s)', c.of_table, concat_ws(', ', c.name, split_part(ch.change, ' ', 1)),
			concat_ws(', ', 'NULL', split_part(ch.change, ' = ', 2))))) AS t (kind, statement)
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;

-- The views are there for all sessions even where one has such times, from before there were these rules.
BEGIN;
ALTER TABLE session_files.upload_sessions DROP CONSTRAINT upload_sessions_expires_at;
ALTER DOMAIN session_files.queue_time DROP CONSTRAINT file_queue_time;
UPDATE session_files.upload_sessions SET created_at = '-infinity', expires_at = 'infinity' WHERE session_id = :session;
SELECT count(*) FROM session_files.claim_files('late', 1);
UPDATE session_files.file_queue SET due_at = 'infinity', claimed_at = '-infinity' WHERE worker = 'late';
SELECT claimed, created_at, expires_at FROM session_files.session_progress WHERE session_id = :session;
SELECT worker, files, claimed_at, expires_at, remaining FROM session_files.leases;
SELECT * FROM session_files.workers;
UPDATE session_files.upload_sessions SET created_at = 'infinity', expires_at = '294276-12-31' WHERE session_id = :session;
UPDATE session_files.file_queue SET due_at = '-infinity', claimed_at = 'infinity' WHERE worker = 'late';
SELECT claimed, created_at, expires_at FROM session_files.session_progress WHERE session_id = :session;
SELECT worker, files, claimed_at, expires_at, remaining FROM session_files.leases;
SELECT * FROM session_files.workers;
ROLLBACK;

DELETE FROM session_files.upload_sessions WHERE workspace_name = 'invariants';
SELECT count(*) FROM session_files.files;
SELECT count(*) FROM session_files.file_counts;
