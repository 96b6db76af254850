-- handle_request: routes, headers and hostile input. What each parameter takes is tested over HTTP
-- (test/http), over which every case comes through this function.
\set VERBOSITY terse
\pset format unaligned
\pset tuples_only on
INSERT INTO session_files.workspaces VALUES ('a/b ü+');
INSERT INTO session_files.upload_sessions (session_id, workspace_name, created_at, expires_at)
	VALUES ('6f9619ff-8b86-7011-b42d-00c04fc964ff', 'a/b ü+', '2026-01-01 12:00+01', '2026-01-02 12:00:00.5+01');
INSERT INTO session_files.files (session_id, file_ingestion_id, name)
	VALUES ('6f9619ff-8b86-7011-b42d-00c04fc964ff', '00000000-0000-7000-8000-000000000001', E'quote " back \\ tab \t bell \x07 del \x7f 𝄞');
\set path '/api/v1/workspaces/a%2Fb%20%C3%BC+/upload_sessions/6F9619FF8B867011B42D00C04FC964FF/files'

SET timezone = 'America/New_York';
-- The hash in an ETag is another one on another kind of processor.
SELECT r.status, regexp_replace(r.headers::text, '[0-9a-f]{16}', '...'), r.body FROM session_files.handle_request('GET', :'path') r;
SELECT r.status, regexp_replace(r.headers::text, '[0-9a-f]{16}', '...'), r.body FROM session_files.handle_request('HEAD', 'http://example.com:8080' || :'path' || '?') r;
SELECT r.* FROM session_files.handle_request('POST', :'path', '{"content-type": "text/plain"}', 'body') r;
SELECT r.status FROM session_files.handle_request('get', :'path') r;
SELECT r.status FROM session_files.handle_request('', :'path') r;
SELECT r.* FROM session_files.handle_request('GET', '/api/v1/workspaces/a%2Fb%20%C3%BC+/upload_sessions/6f9619ff-8b86-7011-b42d-00c04fc964fe/files') r;

-- No such path comes before wrong method and wrong parameters.
SELECT target, r.status, r.headers, r.body FROM unnest(ARRAY['', '/', '*', '?', 'api/v1', 'http://', 'https://example.com', :'path' || '/', '/' || :'path',
	:'path' || '/x', '/api/v1/workspaces//upload_sessions/x/files', '/api/v1/workspaces/w/upload_sessions//files', '/API/v1/workspaces/w/upload_sessions/x/files',
	'/api/v1/workspaces/w/upload_sessions/x', '/api/v1/./workspaces/w/upload_sessions/x/files', 'ftp://example.com' || :'path', repeat('/', 20)]) AS target,
	session_files.handle_request('DELETE', target) r;
-- Segments may be written with escapes.
SELECT r.status FROM session_files.handle_request('GET', '/%61pi/v1/workspaces/a%2fb+%C3%BC%2B/upload_sessions/6f9619ff-8b86-7011-b42d-00c04fc964ff/file%73') r;
SELECT r.status FROM session_files.handle_request('GET', '/%61pi/v1/workspaces/a%2fb%20%C3%BC%2B/upload_sessions/%36f9619ff-8b86-7011-b42d-00c04fc964ff/file%73') r;

-- Truncated and bad escapes, NUL, invalid UTF-8, odd separators.
SELECT q, r.status, r.body FROM unnest(ARRAY['limit=%', 'limit=%3', 'limit=%3g', 'limit=%00', 'limit=1%00', 'limit=%FF%C0%80%ED%A0%80%E2%82', 'limit=%f0%9f%98%80',
	'limit=0&limit=', '&&=&limit=0&=1', 'limit=0;order=x', 'limit=0&limit', '%6Cimit=0', 'limit%00=x&limit=0', 'limit=+0+', '?limit=x&limit=0', 'limit=0#x', 'session_id=x&workspace_name=y&limit=0']) AS q,
	session_files.handle_request('GET', :'path' || '?' || q) r;

-- Link has what was sent, in ASCII, and leads to the same: what cannot stand in a link is escaped, a cursor or a page replaced.
INSERT INTO session_files.files (session_id, file_ingestion_id, name)
	VALUES ('6f9619ff-8b86-7011-b42d-00c04fc964ff', '00000000-0000-7000-8000-000000000002', 'second');
SELECT q, link, f.body = o.body AS followed FROM unnest(ARRAY['', 'x', 'x=>"\<', 'x=a#b', E'x=\r\nX: y', E'\u00e9=\U0001F600', 'x=%&%4', '&&x&&', '=',
	'page_number=1&p%61ge_number=1', 'after=&before', 'session_id=x', 'limit=', 'field=name&field=', E'x\u007f=', 'x=+%20%2B%00']) AS q,
	session_files.handle_request('GET', :'path' || '?order=ASC&limit=1&' || q) r,
	LATERAL (SELECT value ->> 'Link' AS link FROM json_array_elements(r.headers) WHERE value ->> 'Link' IS NOT NULL) h,
	session_files.handle_request('GET', :'path' || '?order=ASC&limit=1&after=00000000-0000-7000-8000-000000000001') o,
	LATERAL session_files.handle_request('GET', :'path' || substring(link from '<(.*)>; rel="next"$')) f;
SELECT r.status, r.headers::text LIKE '%Link%' AS link FROM session_files.handle_request('GET', :'path' || '?limit=1&x=' || repeat('>', 338)) r;
SELECT r.status, r.headers::text LIKE '%Link%' AS link FROM session_files.handle_request('GET', :'path' || '?limit=1&x=' || repeat('>', 337)) r;
DELETE FROM session_files.files WHERE name = 'second';

-- Headers: a text, or an array of texts, which is one list; of several keys of one name the last counts.
SELECT etag AS e FROM session_files.handle_request('GET', :'path') r,
	LATERAL (SELECT value ->> 'ETag' AS etag FROM json_array_elements(r.headers) WHERE value ->> 'ETag' IS NOT NULL) h \gset
SELECT regexp_replace(sent, '[0-9a-f]{16}', '...') AS sent, r.status FROM unnest(ARRAY[NULL, '{}', '{"if-none-match": null}', '{"if-none-match": ""}',
	json_build_object('if-none-match', :'e')::text, json_build_object('if-none-match', json_build_array(:'e'))::text,
	json_build_object('if-none-match', json_build_array('"a"', :'e'))::text, json_build_object('if-none-match', json_build_array('"a"', '"b", W/' || :'e', '"c"'))::text,
	'{"if-none-match": ["*"]}', '{"if-none-match": ["*", "\"a\""]}', '{"if-none-match": []}', '{"if-none-match": [null, 1, {"a": "*"}, ["*"]]}', '{"if-none-match": {"a": "*"}}',
	'{"if-none-match": 5}', '{"if-none-match": true}', '{"If-None-Match": "*"}', '{"if-none-match": "\"a\"", "if-none-match": "*"}', '["if-none-match"]', '"x"', 'null']) WITH ORDINALITY AS t (sent, n),
	session_files.handle_request('GET', :'path', sent::json) r ORDER BY n;
SELECT session_files.handle_request('GET', :'path', '{"if-none-match": "\u0000"}');
SELECT session_files.handle_request('GET', :'path', '{"if-none-match": ["\ud800"]}');
SELECT r.status FROM session_files.handle_request('GET', :'path', json_build_object('if-none-match', (SELECT json_agg('"' || n || '"') FROM generate_series(1, 100000) n))) r;

-- Pages of other origins: off, as long as no origin is allowed.
SHOW session_files.http_allow_origin;
SELECT r.* FROM session_files.handle_request('OPTIONS', :'path', '{"origin": "https://app.example.org", "access-control-request-method": "GET"}') r;
SELECT r.status, r.headers FROM session_files.handle_request('GET', '/healthz', '{"origin": "https://app.example.org"}') r;
-- Large input: answered, in time that grows with its length alone.
SELECT r.status, length(r.body) FROM session_files.handle_request('GET', :'path' || '?x=' || repeat('a', 1000000)) r;
SELECT r.status, length(r.body) FROM session_files.handle_request('GET', :'path' || '?limit=' || repeat('%FF', 350000)) r;
SELECT r.status, length(r.body) FROM session_files.handle_request('GET', :'path' || '?limit=' || repeat('9', 1000000)) r;
SELECT r.status, length(r.body) FROM session_files.handle_request('GET', :'path' || '?page_number=' || repeat('0', 1000000) || '1') r;
SELECT r.status, length(r.body) FROM session_files.handle_request('GET', :'path' || '?' || repeat('limit=1&', 125000)) r;
SELECT r.status, length(r.body) FROM session_files.handle_request('GET', :'path' || '?before=' || repeat('-', 1000000)) r;
SELECT r.status, length(r.body) FROM session_files.handle_request('GET', repeat('/api', 250000)) r;
SELECT r.status, length(r.body) FROM session_files.handle_request('GET', replace(:'path', 'a%2F', repeat('%2f', 333333))) r;

-- The other paths.
SELECT target, method, r.status, regexp_replace(r.headers::text, '[0-9a-f]{16}', '...') AS headers, replace(left(r.body, 22), E'\n', '') AS body FROM unnest(ARRAY['/openapi.json', '/openapi.json?x', '/openapi%2Ejson', '/openapi.json/', '/openapi', '/healthz', '/healthz?x', 'http://example.com/healthz',
	'/healthz/', '/healthz/x', '/Healthz', '/metrics', '/files', '/api']) WITH ORDINALITY AS t (target, n), unnest(ARRAY['GET', 'HEAD', 'POST']) WITH ORDINALITY AS m (method, o),
	session_files.handle_request(method, target) r ORDER BY n, o;
BEGIN;
ALTER TABLE session_files.file_counts RENAME TO elsewhere;
SELECT r.* FROM session_files.handle_request('GET', '/healthz') r;
SELECT r.status FROM session_files.handle_request('GET', '/openapi.json') r;
ROLLBACK;
SELECT r.* FROM session_files.handle_request('GET', '/healthz') r;

SELECT session_files.handle_request(NULL, '/');
SELECT session_files.handle_request('GET', NULL);
DELETE FROM session_files.upload_sessions;
DELETE FROM session_files.workspaces;
