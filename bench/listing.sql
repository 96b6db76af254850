-- Sessions and clocks for bench/listing.

CREATE SCHEMA bench;
SELECT session_files.create_workspace('bench');
CREATE TABLE bench.sessions (name text PRIMARY KEY, files bigint NOT NULL, session_id uuid NOT NULL);

-- One in ten files FAILED, one in three PENDING, the rest FINISHED, all mixed; names in no order.
CREATE FUNCTION bench.fill(name text, files bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	new_session uuid := session_files.create_session('bench');
BEGIN
	INSERT INTO bench.sessions VALUES (name, files, new_session);
	INSERT INTO session_files.files (session_id, ingestion_status, ingestion_status_reason, name)
		SELECT new_session,
			CASE WHEN n % 30 < 3 THEN 'FAILED' WHEN n % 30 < 13 THEN 'PENDING' ELSE 'FINISHED' END::session_files.ingestion_status,
			CASE WHEN n % 30 < 3 THEN (enum_range(NULL::session_files.ingestion_status_reason))[1 + n / 30 % 8] END,
			format('documents/%s-%s.pdf', left(md5(n::text), 12), n)
		FROM generate_series(0, files - 1) n;
END $$;

-- Ten files FAILED, evenly spread, among very many FINISHED.
CREATE FUNCTION bench.fill_rare(name text, files bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	new_session uuid := session_files.create_session('bench');
BEGIN
	INSERT INTO bench.sessions VALUES (name, files, new_session);
	INSERT INTO session_files.files (session_id, ingestion_status, ingestion_status_reason, name)
		SELECT new_session, CASE WHEN failed THEN 'FAILED' ELSE 'FINISHED' END::session_files.ingestion_status,
			CASE WHEN failed THEN 'EMPTY_FILE' END::session_files.ingestion_status_reason,
			-- The names of the FAILED are spread too.
			format('documents/%s-%s.pdf', CASE WHEN failed THEN n * 10 / files || 'f' ELSE left(md5(n::text), 12) END, n)
		FROM generate_series(0, files - 1) n, LATERAL (SELECT n % (files / 10) = files / 20 AS failed) f;
END $$;

-- The listing as it is often written: sort, skip, count and render in one query.
CREATE FUNCTION bench.naive_listing(
	workspace_name text, session_id uuid, ingestion_status text, "limit" bigint, page_number bigint, field text, "order" text
) RETURNS json LANGUAGE plpgsql STABLE AS $$
DECLARE
	answer json;
BEGIN
	PERFORM FROM session_files.upload_sessions s WHERE s.session_id = naive_listing.session_id AND s.workspace_name = naive_listing.workspace_name;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'no such session';
	END IF;
	EXECUTE format('
		SELECT json_build_object(''data'', (
				SELECT coalesce(json_agg(page), ''[]'') FROM (
					SELECT file_ingestion_id, ingestion_status, ingestion_status_reason, name FROM session_files.files
					WHERE session_id = $1 AND ($2 IS NULL OR ingestion_status = $2::session_files.ingestion_status)
					ORDER BY %1$I %2$s, file_ingestion_id %2$s LIMIT $3 OFFSET ($4 - 1) * $3) AS page),
			''has_more'', total > $4 * $3, ''total'', total)
		FROM (
			SELECT count(*) AS total FROM session_files.files
			WHERE session_id = $1 AND ($2 IS NULL OR ingestion_status = $2::session_files.ingestion_status)) AS counted',
		CASE field WHEN 'created_at' THEN 'file_ingestion_id' ELSE field END, "order")
		INTO answer USING session_id, ingestion_status, "limit", page_number;
	RETURN answer;
END $$;

-- Microseconds per call, over many calls inside this backend.
CREATE FUNCTION bench.time_listing(
	calls int, session_id uuid, ingestion_status text, "limit" bigint, after uuid, page_number bigint, field text, "order" text
) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
	answer json;
	start timestamptz := clock_timestamp();
BEGIN
	FOR i IN 1..calls LOOP
		answer := session_files.get_session_files('bench', session_id, ingestion_status, "limit", NULL, after, page_number, field, "order");
	END LOOP;
	RETURN extract(epoch FROM clock_timestamp() - start) * 1e6 / calls;
END $$;

CREATE FUNCTION bench.time_naive(
	calls int, session_id uuid, ingestion_status text, "limit" bigint, page_number bigint, field text, "order" text
) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
	answer json;
	start timestamptz := clock_timestamp();
BEGIN
	FOR i IN 1..calls LOOP
		answer := bench.naive_listing('bench', session_id, ingestion_status, "limit", page_number, field, "order");
	END LOOP;
	RETURN extract(epoch FROM clock_timestamp() - start) * 1e6 / calls;
END $$;

-- The floor: the rows of a page by the primary key, no more. Two functions, as a limit that is a parameter would be planned again.
CREATE FUNCTION bench.time_raw(calls int, session uuid, before_id uuid) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
	start timestamptz := clock_timestamp();
BEGIN
	FOR i IN 1..calls LOOP
		PERFORM file_ingestion_id, ingestion_status, ingestion_status_reason, name FROM session_files.files
			WHERE session_id = session AND file_ingestion_id < before_id ORDER BY file_ingestion_id DESC LIMIT 10;
	END LOOP;
	RETURN extract(epoch FROM clock_timestamp() - start) * 1e6 / calls;
END $$;

CREATE FUNCTION bench.time_raw_100(calls int, session uuid, before_id uuid) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
	start timestamptz := clock_timestamp();
BEGIN
	FOR i IN 1..calls LOOP
		PERFORM file_ingestion_id, ingestion_status, ingestion_status_reason, name FROM session_files.files
			WHERE session_id = session AND file_ingestion_id < before_id ORDER BY file_ingestion_id DESC LIMIT 100;
	END LOOP;
	RETURN extract(epoch FROM clock_timestamp() - start) * 1e6 / calls;
END $$;

-- Rows in the order of names lie on other pages of the table each.
CREATE FUNCTION bench.time_raw_100_by_name(calls int, session uuid) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
	start timestamptz := clock_timestamp();
BEGIN
	FOR i IN 1..calls LOOP
		PERFORM file_ingestion_id, ingestion_status, ingestion_status_reason, name FROM session_files.files
			WHERE session_id = session ORDER BY session_files._name_key(name) DESC LIMIT 100;
	END LOOP;
	RETURN extract(epoch FROM clock_timestamp() - start) * 1e6 / calls;
END $$;
