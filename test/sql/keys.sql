-- UUIDs of version 7, and what the indexes hold of names.
SELECT count(DISTINCT id) AS ids, bool_and(id > previous) AS increasing, bool_and(substr(id::text, 15, 1) = '7') AS version_7,
	bool_and(substr(id::text, 20, 1) IN ('8', '9', 'a', 'b')) AS variant
	FROM (SELECT id, lag(id) OVER (ORDER BY n) AS previous
		FROM (SELECT n, session_files.uuid7() AS id FROM generate_series(1, 10000) n) made) pairs;
SELECT abs(extract(epoch FROM clock_timestamp() - session_files.uuid7_time(session_files.uuid7()))) < 60 AS is_now;
SET timezone = 'UTC';
SELECT session_files.uuid7_time('017f22e2-79b0-7cc3-98c4-dc0c0c07398f') AS rfc_9562_example,
	session_files.uuid7_time('6f9619ff-8b86-4011-b42d-00c04fc964ff') AS of_version_4,
	session_files.uuid7_time(NULL) AS of_null;

-- A short name is its own key, as is any of ASCII; no key of a name that the table takes is larger than an index entry may be.
SELECT convert_from(session_files._name_key(n), 'UTF8') FROM (VALUES ('a.txt'), ('grüße 𝄞')) AS names (n);
SELECT length(n) AS characters, octet_length(n) AS bytes, octet_length(session_files._name_key(n)) AS key_bytes
	FROM (VALUES (repeat('a', 300)), (repeat('a', 301)), (repeat('é', 301)), (repeat('€', 301)), (repeat('𝄞', 301)), (repeat('𝄞', 800)), (repeat('𝄞', 830)),
		(repeat('a', 2600)), (repeat('é', 1300)), (repeat('€', 866)), (repeat('a', 1000000))) AS names (n);

-- Keys have the order of names, and are as different as they are: characters of 1 to 4 bytes on both
-- sides of the 300th, and prefixes of one another.
CREATE TEMP TABLE names AS
	SELECT repeat('b', 298) || a || b || c || d AS name
	FROM unnest(ARRAY['', U&'\0001', 'a', U&'\007f', U&'\0080', U&'\07ff', U&'\0800', U&'\ffff', U&'\+010000', U&'\+10ffff']) AS a,
		unnest(ARRAY['', 'a', 'é', '€', '𝄞']) AS b, unnest(ARRAY['', U&'\0001', 'é', '𝄞']) AS c,
		unnest(ARRAY['', 'a', U&'\ffff', repeat('x', 520)]) AS d;
SELECT count(DISTINCT name) = count(DISTINCT session_files._name_key(name)) AS as_different FROM names;
SELECT count(*) AS out_of_order FROM (SELECT DISTINCT name COLLATE "C" AS name FROM names) a, (SELECT DISTINCT name COLLATE "C" AS name FROM names) b
	WHERE (a.name < b.name) <> (session_files._name_key(a.name) < session_files._name_key(b.name));
