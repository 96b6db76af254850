-- What cases.json and test_http.py ask for: loaded by psql into a database that has the extension and none of these workspaces.
-- With --set=role=NAME the role of the front end is granted the workspaces that it shall show, which is all but the one named hidden.
-- The labels in the comments are those of cases.json. Ids are of version 7 with chosen times.

BEGIN;
SET LOCAL client_encoding = 'UTF8';

INSERT INTO session_files.workspaces (name) VALUES
	('main'),
	('other'),
	('team a/b ü+1'),
	('日本😀'),
	('a%2Fb'),
	(E'x\uFFFD'),
	('hidden');

INSERT INTO session_files.upload_sessions (session_id, workspace_name, status, created_at, expires_at) VALUES
	('0197fabc-def0-7abc-9def-0123456789ab', 'main', 'OPEN', '2025-06-01 00:00:00+00', '2026-01-02 03:04:05+00'),                   -- S
	('0197fabc-def0-7abc-9def-0123456789ac', 'main', 'EXPIRED', '2025-06-01 00:00:00+00', '2025-12-31 23:59:59.999999+00'),         -- empty
	('0197fabc-def0-7abc-9def-0123456789ad', 'main', 'OPEN', '2025-06-01 00:00:00+00', '2030-06-15 12:00:00.5+05:30'),              -- long_names
	('0197fabc-def0-7abc-9def-0123456789ae', 'team a/b ü+1', 'OPEN', '2025-06-01 00:00:00+00', '2028-02-29 00:00:00.000001+00'),    -- team
	('0197fabc-def0-7abc-9def-0123456789af', 'other', 'CLOSED', '2025-06-01 00:00:00+00', '2026-12-31 23:59:59-01'),                -- other
	('0197fabc-def0-7abc-9def-0123456789b0', 'main', 'OPEN', '2025-06-01 00:00:00+00', '2999-12-31 00:00:00.123456+00'),            -- many
	('0197fabc-def0-7abc-9def-0123456789b1', '日本😀', 'OPEN', '2025-06-01 00:00:00+00', '2026-01-02 03:04:05+00'),
	('0197fabc-def0-7abc-9def-0123456789b2', 'a%2Fb', 'OPEN', '2025-06-01 00:00:00+00', '2026-01-02 03:04:05+00'),
	('0197fabc-def0-7abc-9def-0123456789b3', E'x\uFFFD', 'OPEN', '2025-06-01 00:00:00+00', '2026-01-02 03:04:05+00'),
	('0197fabc-def0-7abc-9def-0123456789b4', 'hidden', 'OPEN', '2025-06-01 00:00:00+00', '2026-01-02 03:04:05+00');

-- S: all statuses and reasons, with ties; names that are hard to sort or to render. The rows go in shuffled, so that no order
-- of the listing is that of the table.
INSERT INTO session_files.files (session_id, file_ingestion_id, ingestion_status, ingestion_status_reason, name)
SELECT '0197fabc-def0-7abc-9def-0123456789ab', id::uuid, status::session_files.ingestion_status, reason::session_files.ingestion_status_reason, name
FROM (VALUES
	('01980000-0001-7000-8000-000000000001', 'FINISHED', NULL, 'a.txt'),                            -- f01
	('01980000-0002-7000-8000-000000000001', 'FAILED', 'EMPTY_FILE', 'A.txt'),                      -- f02
	('01980000-0003-7000-8000-000000000001', 'PENDING', NULL, 'a'),                                 -- f03
	('01980000-0004-7000-8000-000000000001', 'FAILED', 'SLOWDOWN', 'a b'),                          -- f04
	-- f05 to f08 were made in the same millisecond.
	('01980000-0005-7000-8000-00000000000a', 'PENDING', NULL, 'a/b'),                               -- f05
	('01980000-0005-7000-8000-00000000000b', 'FAILED', 'UNKNOWN_ERROR', 'a%2Fb'),                   -- f06
	('01980000-0005-7000-bfff-ffffffffffff', 'FINISHED', NULL, 'quote".txt'),                       -- f07
	('01980000-0005-7fff-8000-000000000000', 'PENDING', NULL, 'back\slash'),                        -- f08
	-- A comparison of signed bytes puts f10 before f09.
	('01980000-007f-7000-8000-000000000001', 'FAILED', 'FILE_NOT_FOUND', E'\u00C9.txt'),            -- f09
	('01980000-0080-7000-8000-000000000001', 'FINISHED', NULL, E'\u00E9.txt'),                      -- f10
	('01980000-0081-7000-8000-000000000001', 'PENDING', NULL, E'e\u0301.txt'),                      -- f11
	('01980000-0082-7000-8000-000000000001', 'FAILED', 'FAILED_TO_PARSE_META', '日本'),             -- f12
	-- By UTF-16 units, as some languages compare, f13 comes before f14 and f15.
	('01980000-0083-7000-8000-000000000001', 'PENDING', NULL, '😀'),                                -- f13
	('01980000-0084-7000-8000-000000000001', 'FAILED', 'FILE_ALREADY_EXISTS', E'\uFFFD'),           -- f14
	('01980000-0085-7000-8000-000000000001', 'FINISHED', NULL, E'\uE000'),                          -- f15
	('01980000-0086-7000-8000-000000000001', 'PENDING', NULL, repeat('😀', 800)),                   -- f16
	-- Recorded as FAILED, 'FILE NAME TOO LONG. MAX LENGTH IS 800'.
	('01980000-0087-7000-8000-000000000001', 'PENDING', NULL, repeat('x', 801)),                    -- f17
	('01980000-0088-7000-8000-000000000001', 'FAILED', 'INGESTING_FILE_FAILED',
		(SELECT string_agg(chr(code), '' ORDER BY code) FROM generate_series(1, 31) AS code)),      -- f18
	('01980000-0089-7000-8000-000000000001', 'PENDING', NULL, E'\u007F\u0080\u2028\u2029\uFEFF'),   -- f19
	('01980000-008a-7000-8000-000000000001', 'FINISHED', NULL, 'Z'),                                -- f20
	('01980000-008b-7000-8000-000000000001', 'FAILED', 'EMPTY_FILE', ' lead'),                      -- f21
	('01980000-008c-7000-8000-000000000001', 'PENDING', NULL, '</script>'),                         -- f22
	('01980000-008d-7000-8000-000000000001', 'FAILED', 'SLOWDOWN', '10'),                           -- f23
	('01980000-008e-7000-8000-000000000001', 'FINISHED', NULL, '9'),                                -- f24
	('01980000-008f-7000-8000-000000000001', 'PENDING', NULL, 'null'),                              -- f25
	('01980000-0090-7000-8000-000000000001', 'FAILED', 'EMPTY_FILE', '0'),                          -- f26
	('01980000-0091-7000-8000-000000000001', 'PENDING', NULL, 'b.txt'),                             -- f27
	('01980000-0092-7000-8000-000000000001', 'FINISHED', NULL, '{"a":1}'),                          -- f28
	('01980000-ffff-7000-8000-000000000001', 'PENDING', NULL, '-'),                                 -- f29
	('01980001-0000-7000-8000-000000000001', 'FAILED', 'UNKNOWN_ERROR', 'it''s')                    -- f30
) AS f (id, status, reason, name)
ORDER BY md5(id);

-- long_names: hardly compressible names of 4-byte characters that differ after the first 400, 799 and 800 characters, or at the
-- very end, in an order that is not that of creation. test_http.py makes the same names.
INSERT INTO session_files.files (session_id, file_ingestion_id, name)
SELECT '0197fabc-def0-7abc-9def-0123456789ad', ('01980000-0200-7000-8000-' || lpad(number::text, 12, '0'))::uuid, name
FROM (SELECT string_agg(chr((131072 + k * k * 7919 % 42720)::int), '' ORDER BY k) FROM generate_series(1, 800::bigint) AS k) AS b (base),
LATERAL (VALUES
	(1, base),
	(2, left(base, 799) || '!'),
	(3, left(base, 799) || chr(1114111)),
	(4, base || 'b'),
	(5, base || 'a'),
	(6, base || repeat('z', 30)),
	(7, base || repeat('z', 29) || 'y'),
	(8, left(base, 400)),
	(9, 'x'),
	(10, chr(1114111))
) AS f (number, name);

-- many: more files than a page can hold.
INSERT INTO session_files.files (session_id, file_ingestion_id, ingestion_status, name)
SELECT '0197fabc-def0-7abc-9def-0123456789b0', ('01980000-0300-7000-8000-' || lpad(number::text, 12, '0'))::uuid, 'FINISHED', 'file ' || number
FROM generate_series(1, 101) AS number;

INSERT INTO session_files.files (session_id, file_ingestion_id, ingestion_status, ingestion_status_reason, name) VALUES
	('0197fabc-def0-7abc-9def-0123456789ae', '01980000-0400-7000-8000-000000000001', 'PENDING', NULL, 'only.txt'),                          -- team1
	-- An id may be used again in another session: this is the id of f13.
	('0197fabc-def0-7abc-9def-0123456789af', '01980000-0083-7000-8000-000000000001', 'FAILED', 'UNKNOWN_ERROR', 'same id as f13'),          -- other1
	('0197fabc-def0-7abc-9def-0123456789af', '01980000-0500-7000-8000-000000000001', 'FINISHED', NULL, 'a.txt'),                            -- other2
	('0197fabc-def0-7abc-9def-0123456789af', '01980000-0500-7000-8000-000000000002', 'PENDING', NULL, 'other.txt');                         -- other3

INSERT INTO session_files.files (session_id, file_ingestion_id, ingestion_status, name) VALUES
	('0197fabc-def0-7abc-9def-0123456789b4', '01980000-0600-7000-8000-000000000001', 'PENDING', 'hidden.txt');

\if :{?role}
SELECT session_files.grant_workspace(:'role', name) FROM session_files.workspaces WHERE name <> 'hidden';
\endif
COMMIT;
