-- Size, type, location and metadata of files: who gives them, what is refused, and that a claim returns them.
\set VERBOSITY terse
\set SHOW_CONTEXT never
SELECT session_files.create_workspace('details');
SELECT session_files.create_session('details') AS s \gset

-- An array for each, with an element for each name, which may be NULL. Arrays that are not given, or are NULL, give NULL.
SELECT name, ingestion_status FROM session_files.register_files(:'s', '{all,some,none}', '{1024,NULL,NULL}', '{text/plain,NULL,NULL}',
	'{s3://bucket/all,bucket/some,NULL}', ARRAY['{"pages": 3}', NULL, NULL]::jsonb[]);
SELECT count(*) FROM session_files.register_files(:'s', '{bare}');
SELECT count(*) FROM session_files.register_files(:'s', '{typed}', NULL, types => '{application/pdf}');
SELECT count(*) FROM session_files.register_files(:'s', '{}', '{}', '{}', '{}', '{}');
SELECT name, size, type, location, metadata FROM session_files.files WHERE session_id = :'s' ORDER BY file_ingestion_id;
-- A name that is there keeps its file and its details: also one that the same call has given before. One that is too long has details, too.
SELECT name FROM session_files.register_files(:'s', '{new,all,bare,new}', '{1,2,3,4}', '{a,b,c,d}', '{e,f,g,h}', ARRAY['{"n": 1}', '{"n": 2}', '{"n": 3}', '{"n": 4}']::jsonb[]);
SELECT left(name, 3) AS name, ingestion_status FROM session_files.register_files(:'s', ARRAY[repeat('ü', 801)], '{5}', '{i}', '{j}', ARRAY['{"n": 5}']::jsonb[]);
SELECT left(name, 4) AS name, size, type, location, metadata FROM session_files.files WHERE session_id = :'s' ORDER BY file_ingestion_id;

-- A claim returns them, also one of files that came back.
SELECT name, size, type, location, metadata FROM session_files.claim_files('w', session_id => :'s') ORDER BY name;
SELECT count(*) FROM session_files.leases AS l, session_files.files AS f,
	session_files.release_files(:'s', ARRAY[f.file_ingestion_id], l.lease_token) AS r WHERE f.name IN ('all', 'bare') AND r.changed;
SELECT name, size, type, location, metadata FROM session_files.claim_files('w', session_id => :'s') ORDER BY name;
-- What a file says can be changed: the next claim returns it. It is PENDING all the while, and a worker that holds it keeps it.
UPDATE session_files.files SET size = 2048, metadata = metadata || '{"checked": true}' WHERE name = 'all' AND session_id = :'s';
SELECT count(*) FROM session_files.leases AS l, session_files.files AS f,
	session_files.release_files(:'s', ARRAY[f.file_ingestion_id], l.lease_token) AS r WHERE f.name = 'all' AND r.changed;
SELECT name, size, type, location, metadata FROM session_files.claim_files('w', session_id => :'s') ORDER BY name;

-- Arrays of another length, or of another shape.
SELECT session_files.register_files(:'s', '{x,y}', sizes => '{1}');
SELECT session_files.register_files(:'s', '{x,y}', types => '{a,b,c}');
SELECT session_files.register_files(:'s', '{x,y}', locations => '{}');
SELECT session_files.register_files(:'s', '{}', metadata => ARRAY['{}']::jsonb[]);
SELECT session_files.register_files(:'s', '{x,y}', sizes => '{{1},{2}}');
SELECT session_files.register_files(:'s', '{x,y}', metadata => ARRAY[ARRAY['{}'], ARRAY['{}']]::jsonb[]);
-- Each limit, at it and one over; characters, not bytes.
SELECT session_files.register_files(:'s', '{x,y,z}', sizes => '{0,-1,-2}');
SELECT session_files.register_files(:'s', '{x}', sizes => '{9223372036854775808}');
SELECT session_files.register_files(:'s', '{x,y}', types => ARRAY[repeat('ü', 255), repeat('ü', 256)]);
SELECT session_files.register_files(:'s', '{x}', types => ARRAY['']);
SELECT session_files.register_files(:'s', '{x,y}', locations => ARRAY[repeat('ü', 2048), repeat('ü', 2049)]);
SELECT session_files.register_files(:'s', '{x,y}', locations => ARRAY[NULL, '']);
SELECT session_files.register_files(:'s', '{x,y}', metadata => ARRAY['{}', '[]']::jsonb[]);
SELECT session_files.register_files(:'s', '{x}', metadata => ARRAY['null']::jsonb[]);
-- {"n": "…"} has 8 bytes beside its string.
CREATE FUNCTION pg_temp.metadata(bytes integer) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('n', left(string_agg(md5($1::text || n), ''), $1 - 9)) FROM generate_series(1, $1 / 32 + 1) AS n $$;
SELECT octet_length(pg_temp.metadata(65536)::text) AS bytes;
SELECT session_files.register_files(:'s', '{x,y}', metadata => ARRAY[pg_temp.metadata(65536), pg_temp.metadata(65537)]);
-- The first fault of the first file that has one.
SELECT session_files.register_files(:'s', '{x,y,z}', '{1,2,-3}', '{a,"",c}', ARRAY['', 'b', 'c']);
-- % in it is nothing special.
SELECT session_files.register_files(:'s', '{%s}', types => ARRAY[repeat('%s', 200)]);
SELECT count(*) AS none_of_the_refused FROM session_files.files WHERE session_id = :'s' AND name IN ('x', 'y', 'z', '%s');
SELECT count(*) FROM session_files.register_files(:'s', '{x,y}', '{0,9223372036854775807}', ARRAY['a', repeat('ü', 255)], ARRAY['a', repeat('ü', 2048)],
	ARRAY['{}', pg_temp.metadata(65536)]);
SELECT name, size, char_length(type) AS type, char_length(location) AS location, octet_length(metadata::text) AS metadata
	FROM session_files.claim_files('w', session_id => :'s') ORDER BY name;

-- The rules are the table's, for plain SQL as well.
INSERT INTO session_files.files (session_id, name, size, type, location, metadata) VALUES (:'s', 'plain', 1, 'a', 'b', '{"plain": true}');
SELECT name, size, type, location, metadata FROM session_files.claim_files('w', session_id => :'s') ORDER BY name;
CREATE FUNCTION pg_temp.refused(assignment text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	rule text;
BEGIN
	EXECUTE 'UPDATE session_files.files SET ' || assignment || ' WHERE name = ''plain''';
	RETURN 'nothing';
EXCEPTION WHEN check_violation THEN
	GET STACKED DIAGNOSTICS rule = CONSTRAINT_NAME;
	RETURN rule;
END $$;
SELECT assignment, pg_temp.refused(assignment) FROM unnest(ARRAY['size = -1', 'size = 0', 'type = ''''', 'type = repeat(''ü'', 256)', 'type = repeat(''ü'', 255)',
	'location = ''''', 'location = repeat(''ü'', 2049)', 'location = repeat(''ü'', 2048)', 'metadata = ''[]''', 'metadata = ''null''', 'metadata = pg_temp.metadata(65537)',
	'metadata = pg_temp.metadata(65536)', '(size, type, location, metadata) = (NULL, NULL, NULL, NULL)']) AS assignment;

-- Large ones are kept elsewhere (TOAST). A claim returns what they are, even if the file goes before its result is read.
CREATE TEMPORARY TABLE large AS
	SELECT 'large ' || n AS name, (pg_temp.metadata(2000 + n) ->> 'n')::text AS location,
		CASE n WHEN 3 THEN jsonb_build_object('n', repeat('n', 60000)) ELSE pg_temp.metadata(60000 + n) END AS metadata
	FROM generate_series(1, 3) AS n;
SELECT count(r) FROM (SELECT array_agg(name) AS names, array_agg(location) AS locations, array_agg(metadata) AS metadata FROM large) AS l,
	session_files.register_files(:'s', l.names, locations => l.locations, metadata => l.metadata) AS r;
SELECT pg_relation_size(reltoastrelid) > 100000 AS is_elsewhere FROM pg_class WHERE oid = 'session_files.files'::regclass;
BEGIN;
DECLARE claimed CURSOR FOR SELECT c.name, octet_length(c.metadata::text) AS bytes, c.metadata = l.metadata AND c.location = l.location AS is_the_same
	FROM session_files.claim_files('w', session_id => :'s') AS c JOIN large AS l ON l.name = c.name;
FETCH 1 FROM claimed;
TRUNCATE session_files.files;
FETCH 2 FROM claimed;
ROLLBACK;
-- Who finishes such a file writes nothing of them again.
SELECT sum(changed::int) AS finished FROM session_files.claim_files('w', session_id => :'s') AS c,
	session_files.finish_files(c.session_id, ARRAY[c.file_ingestion_id], c.lease_token);
SELECT f.name, f.ingestion_status, f.metadata = l.metadata AND f.location = l.location AS is_the_same
	FROM session_files.files AS f JOIN large AS l ON l.name = f.name ORDER BY f.name;

-- check() knows the rules of the domains, too.
SELECT invariant, checked > 0 AS has_rows, broken FROM session_files.check() WHERE broken > 0 OR invariant = 'rules';
BEGIN;
ALTER DOMAIN session_files.file_size DROP CONSTRAINT files_size;
ALTER DOMAIN session_files.file_type DROP CONSTRAINT files_type;
UPDATE session_files.files SET type = '' WHERE name = 'plain';
ALTER DOMAIN session_files.file_type ADD CONSTRAINT files_type CHECK (char_length(VALUE) BETWEEN 1 AND 255) NOT VALID;
SELECT invariant, checked > 0 AS has_rows, broken, regexp_replace(example, '\(\d+,\d+\)', '(…)') AS example FROM session_files.check() WHERE broken > 0;
ROLLBACK;
SELECT session_files.delete_session(:'s');
DELETE FROM session_files.workspaces WHERE name = 'details';
