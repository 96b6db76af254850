-- The ETag of a listing changes when, and only when, what the listing may show does: after each step, whether a session's files
-- and expiry are the same as before, those of an earlier step again, or new; and what its ETag is.
\set VERBOSITY terse
INSERT INTO session_files.workspaces VALUES ('versions');
INSERT INTO session_files.upload_sessions (session_id, workspace_name, created_at, expires_at)
	SELECT ('00000000-0000-7000-8000-00000000000' || n)::uuid, 'versions', '2026-01-01 00:00+00', '2100-01-01 00:00+00' FROM generate_series(1, 2) n;
CREATE FUNCTION pg_temp.s(n int) RETURNS uuid RETURN ('00000000-0000-7000-8000-00000000000' || n)::uuid;
CREATE FUNCTION pg_temp.f(n int) RETURNS uuid RETURN ('01980000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid;
CREATE FUNCTION pg_temp.header(answer session_files.http_response, name text) RETURNS text
	RETURN (SELECT h ->> name FROM json_array_elements(answer.headers) h WHERE h ->> name IS NOT NULL);
CREATE VIEW pg_temp.now AS
	SELECT right(s.session_id::text, 1)::int AS session,
		s.expires_at::text || coalesce((SELECT json_agg(json_build_array(file_ingestion_id, ingestion_status, ingestion_status_reason, name) ORDER BY file_ingestion_id)
			FROM session_files.files f WHERE f.session_id = s.session_id)::text, '') AS content,
		pg_temp.header(session_files.handle_request('GET', '/api/v1/workspaces/versions/upload_sessions/' || s.session_id || '/files?limit=1'), 'ETag') AS etag
	FROM session_files.upload_sessions s WHERE workspace_name = 'versions';
CREATE TEMP TABLE history (step int, session int, content text, etag text);
CREATE FUNCTION pg_temp.step() RETURNS TABLE (session int, content text, etag text) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
	number int := coalesce((SELECT max(step) FROM history), 0) + 1;
BEGIN
	INSERT INTO history SELECT number, session, content, etag FROM pg_temp.now;
	RETURN QUERY SELECT h.session,
		CASE WHEN h.content = last.content THEN 'same' WHEN EXISTS (SELECT FROM history o WHERE o.session = h.session AND o.step < number AND o.content = h.content)
			THEN 'again' ELSE 'new' END,
		CASE WHEN h.etag = last.etag THEN 'same' WHEN EXISTS (SELECT FROM history o WHERE o.session = h.session AND o.step < number AND o.etag = h.etag)
			THEN 'again' ELSE 'new' END
	FROM history h LEFT JOIN history last ON last.session = h.session AND last.step = number - 1
	WHERE h.step = number ORDER BY 1;
END $$;
SELECT * FROM pg_temp.step();

-- INSERT into several sessions; COPY; ON CONFLICT.
INSERT INTO session_files.files (session_id, file_ingestion_id, name) SELECT pg_temp.s(1 + n % 2), pg_temp.f(n), 'f' || n FROM generate_series(1, 10) n;
SELECT * FROM pg_temp.step();
COPY session_files.files (session_id, file_ingestion_id, name, ingestion_status) FROM stdin;
00000000-0000-7000-8000-000000000001	01980000-0000-7000-8000-000000000011	copied	FINISHED
\.
SELECT * FROM pg_temp.step();
INSERT INTO session_files.files (session_id, name) VALUES (pg_temp.s(1), 'copied') ON CONFLICT DO NOTHING;
SELECT * FROM pg_temp.step();
INSERT INTO session_files.files (session_id, name) VALUES (pg_temp.s(1), 'copied')
	ON CONFLICT (session_id, session_files._name_key(name)) DO UPDATE SET ingestion_status = 'PENDING';
SELECT * FROM pg_temp.step();

-- What changes no count: another name and back, another id, a status exchanged between two files, another reason.
UPDATE session_files.files SET name = 'g2' WHERE name = 'f2';
SELECT * FROM pg_temp.step();
UPDATE session_files.files SET name = 'f2' WHERE name = 'g2';
SELECT * FROM pg_temp.step();
UPDATE session_files.files SET file_ingestion_id = pg_temp.f(12) WHERE name = 'f2';
SELECT * FROM pg_temp.step();
UPDATE session_files.files SET ingestion_status = 'FINISHED' WHERE name = 'f4';
SELECT * FROM pg_temp.step();
UPDATE session_files.files SET ingestion_status = CASE name WHEN 'f4' THEN 'PENDING' ELSE 'FINISHED' END::session_files.ingestion_status WHERE name IN ('f4', 'f6');
SELECT * FROM pg_temp.step();
UPDATE session_files.files SET ingestion_status = 'FAILED', ingestion_status_reason = 'SLOWDOWN' WHERE name = 'f4';
SELECT * FROM pg_temp.step();
UPDATE session_files.files SET ingestion_status_reason = 'EMPTY_FILE' WHERE name = 'f4';
SELECT * FROM pg_temp.step();

-- What changes nothing that is shown.
UPDATE session_files.files SET name = name, ingestion_status = ingestion_status;
UPDATE session_files.files SET generation = DEFAULT;
UPDATE session_files.upload_sessions SET status = 'CLOSED' WHERE session_id = pg_temp.s(2);
UPDATE session_files.files SET name = 'x' WHERE false;
SELECT * FROM pg_temp.step();

-- The same row goes and comes again; a file moves and comes back.
WITH gone AS (DELETE FROM session_files.files WHERE name = 'f8' RETURNING *)
	INSERT INTO session_files.files SELECT session_id, pg_temp.f(13), ingestion_status, ingestion_status_reason, 'instead' FROM gone;
SELECT * FROM pg_temp.step();
DELETE FROM session_files.files WHERE name = 'instead';
SELECT * FROM pg_temp.step();
INSERT INTO session_files.files (session_id, file_ingestion_id, name) VALUES (pg_temp.s(1), pg_temp.f(8), 'f8');
SELECT * FROM pg_temp.step();
UPDATE session_files.files SET session_id = pg_temp.s(2) WHERE name = 'f8';
SELECT * FROM pg_temp.step();
UPDATE session_files.files SET session_id = pg_temp.s(1) WHERE name = 'f8';
SELECT * FROM pg_temp.step();

-- When the session expires is shown in a header.
UPDATE session_files.upload_sessions SET expires_at = expires_at + '1 microsecond' WHERE session_id = pg_temp.s(1);
SELECT * FROM pg_temp.step();
UPDATE session_files.upload_sessions SET expires_at = expires_at - '1 microsecond'::interval WHERE session_id = pg_temp.s(1);
SELECT * FROM pg_temp.step();

-- Long names, stored out of line; they differ in the last character.
INSERT INTO session_files.files (session_id, file_ingestion_id, name)
	SELECT pg_temp.s(2), pg_temp.f(14), string_agg(chr(19968 + n * 7919 % 20000), '') || 'a' FROM generate_series(1, 829) n;
SELECT * FROM pg_temp.step();
UPDATE session_files.files SET name = rtrim(name, 'a') || 'b' WHERE file_ingestion_id = pg_temp.f(14);
SELECT * FROM pg_temp.step();
UPDATE session_files.files SET generation = DEFAULT WHERE file_ingestion_id = pg_temp.f(14);
SELECT * FROM pg_temp.step();
UPDATE session_files.files SET name = rtrim(name, 'b') || 'a' WHERE file_ingestion_id = pg_temp.f(14);
SELECT * FROM pg_temp.step();
DELETE FROM session_files.files WHERE file_ingestion_id = pg_temp.f(14);
SELECT * FROM pg_temp.step();

-- The functions. A finished file that is finished again is no change.
SELECT count(*) FROM session_files.register_files(pg_temp.s(1), ARRAY['registered', 'f2']);
SELECT * FROM pg_temp.step();
SELECT count(*) FROM session_files.register_files(pg_temp.s(1), ARRAY['registered', 'f2']);
SELECT * FROM pg_temp.step();
SELECT changed FROM session_files.finish_files(pg_temp.s(1), ARRAY[pg_temp.f(12)]);
SELECT * FROM pg_temp.step();
SELECT changed FROM session_files.finish_files(pg_temp.s(1), ARRAY[pg_temp.f(12)]);
SELECT count(*) FROM session_files.claim_files('w', 2, session_id => pg_temp.s(1));
SELECT * FROM pg_temp.step();
SELECT session_files.retry_failed(pg_temp.s(1));
SELECT * FROM pg_temp.step();

-- Savepoints and rollbacks, with their own uncommitted changes shown.
BEGIN;
UPDATE session_files.files SET name = 'g9' WHERE name = 'f9';
SELECT * FROM pg_temp.step();
SAVEPOINT one;
DELETE FROM session_files.files WHERE name = 'g9';
SELECT * FROM pg_temp.step();
ROLLBACK TO one;
SELECT * FROM pg_temp.step();
ROLLBACK;
SELECT * FROM pg_temp.step();

-- Many slots, as many transactions at a time leave; then merged.
CREATE VIEW pg_temp.is_that_of_a_copy AS
	SELECT (SELECT bit_xor(digest) FROM session_files.file_counts WHERE session_id = pg_temp.s(2)) =
		(SELECT bit_xor(digest) FROM session_files.file_counts WHERE session_id = pg_temp.s(3)) AS is_that_of_a_copy,
		(SELECT count(*) > 32 FROM session_files.file_counts WHERE session_id = pg_temp.s(2)) AS many_slots;
DO $$ BEGIN
	FOR n IN 1..40 LOOP
		COMMIT;
		SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;
		INSERT INTO session_files.files (session_id, name) VALUES ('00000000-0000-7000-8000-000000000002', 'slot ' || n);
		UPDATE session_files.files SET name = 'renamed ' || n WHERE name = 'slot ' || n;
	END LOOP;
END $$;
INSERT INTO session_files.file_counts (session_id, slot, failed, finished, pending, digest)
	SELECT pg_temp.s(2), n, 0, 0, 0, hashint8extended(n / 2, 0) FROM generate_series(2, 41) AS n;
SELECT * FROM pg_temp.step();
INSERT INTO session_files.upload_sessions (session_id, workspace_name) VALUES (pg_temp.s(3), 'versions');
BEGIN;
INSERT INTO session_files.files SELECT pg_temp.s(3), file_ingestion_id, ingestion_status, ingestion_status_reason, name FROM session_files.files WHERE session_id = pg_temp.s(2);
SELECT * FROM pg_temp.is_that_of_a_copy;
ROLLBACK;
DO $$ BEGIN
	FOR n IN 1..16 LOOP
		UPDATE session_files.files SET name = name || '!' WHERE session_id = '00000000-0000-7000-8000-000000000002' AND name LIKE 'renamed 7%';
	END LOOP;
END $$;
INSERT INTO session_files.files SELECT pg_temp.s(3), file_ingestion_id, ingestion_status, ingestion_status_reason, name FROM session_files.files WHERE session_id = pg_temp.s(2);
SELECT * FROM pg_temp.is_that_of_a_copy;

-- Nothing is left of what is deleted with its session, or truncated.
DELETE FROM session_files.upload_sessions WHERE session_id = pg_temp.s(3);
SELECT * FROM pg_temp.step();
DELETE FROM session_files.files WHERE session_id = pg_temp.s(2);
SELECT * FROM pg_temp.step();
DELETE FROM session_files.upload_sessions WHERE session_id = pg_temp.s(2);
INSERT INTO session_files.upload_sessions (session_id, workspace_name, created_at, expires_at) VALUES (pg_temp.s(2), 'versions', '2026-01-01 00:00+00', '2100-01-01 00:00+00');
SELECT * FROM pg_temp.step();
TRUNCATE session_files.files;
SELECT * FROM pg_temp.step();

-- Over all of it: equal content, equal ETag; other content, another ETag.
SELECT count(*) > 40 AS many, count(DISTINCT content) > 20 AS differ,
	count(DISTINCT content) = count(DISTINCT etag) AND count(DISTINCT etag) = count(DISTINCT (content, etag)) AS one_to_one FROM history;

-- If-None-Match: what names the version, and what does not. "own" stands for the ETag.
SELECT etag AS own FROM pg_temp.now WHERE session = 1 \gset
\set path '/api/v1/workspaces/versions/upload_sessions/00000000-0000-7000-8000-000000000001/files'
SELECT sent, r.status, r.body = '' AS empty FROM unnest(ARRAY['own', 'W/own', ' own', E'\town\t', '"a", own', 'own,"a"', '"a" , W/own ,', ',,own', '*', ' * ',
	'own,*', '"a,b", own', '"', 'W/', 'x, own', '', ' ', '"a"', 'W/"a"', '*, "a"', '"*"', 'W/*', 'w/own', 'W/W/own', 'W/ own', 'ownown', 'own own', 'own;', '"own"', '"', ',']) WITH ORDINALITY AS t (sent, n),
	session_files.handle_request('GET', :'path', json_build_object('if-none-match', replace(sent, 'own', :'own'))) r ORDER BY n;
SELECT r.status FROM unnest(ARRAY[trim('"' FROM :'own'), upper(:'own'), left(:'own', 17), '"0' || substr(:'own', 2)]) sent,
	session_files.handle_request('GET', :'path', json_build_object('if-none-match', sent)) r;
SELECT r.status FROM session_files.handle_request('GET', :'path', json_build_object('if-none-match', repeat('"a", ', 200000) || :'own')) r;

-- It has the headers of the 200, but for what describes a body and its neighbours; and comes after all checks.
SELECT method, r.status, h.key, h.value = CASE h.key WHEN 'ETag' THEN :'own' WHEN 'Session-Expires-At' THEN '2100-01-01T00:00:00.000000Z' WHEN 'Vary' THEN 'Authorization' ELSE 'private, no-cache' END AS expected
	FROM unnest(ARRAY['GET', 'HEAD']) method, session_files.handle_request(method, :'path', json_build_object('if-none-match', :'own')) r,
		json_array_elements(r.headers) item, json_each_text(item) h;
SELECT r.status, r.headers FROM unnest(ARRAY[:'path' || '?limit=x', :'path' || '?after=01980000-0000-7000-8000-000000000999', replace(:'path', 'versions', 'other'), :'path' || '/x']) target,
	session_files.handle_request('GET', target, '{"if-none-match": "*"}') r;
SELECT r.status FROM session_files.handle_request('POST', :'path', '{"if-none-match": "*"}') r;
DELETE FROM session_files.upload_sessions WHERE workspace_name = 'versions';
DELETE FROM session_files.workspaces WHERE name = 'versions';
