-- A schema that is in the way: what pg_catalog and session_files have, under the same names and for the same types, each as a trap. Run by
-- the intruder, who owns the schema hostile_traps.

CREATE FUNCTION hostile_traps.spring(what pg_catalog.text) RETURNS pg_catalog.bool LANGUAGE plpgsql AS $$
BEGIN
	RAISE WARNING 'sprung: %', what;
	RAISE EXCEPTION 'sprung: %', what USING ERRCODE = 'TRAP0';
END
$$;

-- The types for which polymorphic functions and operators get a trap that fits better than they do.
CREATE TABLE hostile_traps.bases AS SELECT pg_catalog.unnest('{uuid,text,tid,bigint,integer,timestamp with time zone,interval,numeric,
	session_files.ingestion_status,session_files.ingestion_status_reason,session_files.session_status,session_files.write_mode}'::pg_catalog.text[]) AS base;

-- A type's name, with a polymorphic one replaced; NULL for what only C functions take.
CREATE FUNCTION hostile_traps.type_for(type pg_catalog.oid, base pg_catalog.text) RETURNS pg_catalog.text LANGUAGE sql AS $$
	SELECT CASE
		WHEN t.typname IN ('anyarray', 'anycompatiblearray') THEN base || '[]'
		WHEN t.typname IN ('anyelement', 'anynonarray', 'anyenum', 'anycompatible', 'anycompatiblenonarray') THEN base
		WHEN t.typname = 'any' THEN 'text'
		WHEN t.typtype <> 'p' THEN pg_catalog.format_type(t.oid, NULL)
	END FROM pg_catalog.pg_type AS t WHERE t.oid = type
$$;

-- Functions, and what stands for an aggregate: it is found by its name in the same way. They return what the true ones do.
DO $do$
DECLARE
	trap record;
BEGIN
	FOR trap IN
		SELECT DISTINCT ON (p.proname, a.arguments) p.proname, a.arguments,
				CASE WHEN p.proretset THEN 'SETOF ' ELSE '' END || coalesce(hostile_traps.type_for(p.prorettype, b.base), 'bool') AS result,
				CASE WHEN p.proretset THEN 'RETURN' ELSE 'RETURN NULL' END AS return
			FROM pg_catalog.pg_proc AS p, hostile_traps.bases AS b, LATERAL (
				SELECT coalesce(string_agg(hostile_traps.type_for(t, b.base), ', ' ORDER BY i), '') AS arguments,
					coalesce(bool_and(hostile_traps.type_for(t, b.base) IS NOT NULL), true) AS fits
				FROM unnest(p.proargtypes) WITH ORDINALITY AS u (t, i)) AS a
			WHERE p.pronamespace = 'pg_catalog'::regnamespace AND a.fits AND p.proname NOT LIKE 'pg\_%'
	LOOP
		EXECUTE format('CREATE FUNCTION hostile_traps.%I(%s) RETURNS %s LANGUAGE plpgsql COST 0.0001 AS %L', trap.proname, trap.arguments,
			trap.result, format('BEGIN PERFORM hostile_traps.spring(%L); %s; END', trap.proname, trap.return));
	END LOOP;
END
$do$;

DO $do$
DECLARE
	trap record;
	number integer := 0;
BEGIN
	FOR trap IN
		SELECT DISTINCT ON (1, 2, 3) o.oprname, hostile_traps.type_for(o.oprleft, b.base) AS l, hostile_traps.type_for(o.oprright, b.base) AS r,
				hostile_traps.type_for(o.oprresult, b.base) AS result
			FROM pg_catalog.pg_operator AS o, hostile_traps.bases AS b
			WHERE o.oprkind = 'b' AND o.oprcode <> 0 AND hostile_traps.type_for(o.oprleft, b.base) IS NOT NULL AND hostile_traps.type_for(o.oprright, b.base) IS NOT NULL
		UNION ALL SELECT o, 'regrole', 'regrole', 'boolean' FROM unnest('{=,<>}'::text[]) AS o
	LOOP
		number := number + 1;
		EXECUTE format('CREATE FUNCTION hostile_traps.operator_%s(%s, %s) RETURNS %s LANGUAGE plpgsql COST 0.0001 AS %L', number, trap.l, trap.r,
			trap.result, format('BEGIN PERFORM hostile_traps.spring(%L); RETURN NULL; END', trap.l || trap.oprname || trap.r));
		EXECUTE format('CREATE OPERATOR hostile_traps.%s (FUNCTION = hostile_traps.operator_%s, LEFTARG = %s, RIGHTARG = %s)',
			trap.oprname, number, trap.l, trap.r);
	END LOOP;
END
$do$;

-- Tables and views, and last, as nothing works any more with them in the way, types.
DO $do$
DECLARE
	trap record;
BEGIN
	FOR trap IN
		SELECT c.relname, string_agg(format('CASE WHEN hostile_traps.spring(%L) THEN NULL::%s END AS %I', c.relname,
				hostile_traps.type_for(a.atttypid, 'text'), a.attname), ', ') AS columns
			FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
				AND a.atttypid <> 'pg_statistic[]'::regtype
			WHERE c.relnamespace IN ('session_files'::regnamespace, 'pg_catalog'::regnamespace) AND c.relkind IN ('r', 'v') GROUP BY 1
	LOOP
		EXECUTE format('CREATE VIEW hostile_traps.%I AS SELECT %s', trap.relname, trap.columns);
	END LOOP;
	FOR trap IN
		SELECT t.typname FROM pg_catalog.pg_type AS t
			WHERE (t.typnamespace = 'session_files'::regnamespace AND t.typtype = 'e' OR t.typnamespace = 'pg_catalog'::regnamespace AND t.typtype = 'b')
				AND t.typname NOT LIKE '\_%' AND NOT EXISTS (SELECT FROM pg_catalog.pg_type AS o
					WHERE o.typname = t.typname AND o.typnamespace = 'hostile_traps'::regnamespace)
	LOOP
		EXECUTE format('CREATE DOMAIN hostile_traps.%I AS pg_catalog.text CHECK (hostile_traps.spring(%L))', trap.typname, trap.typname);
	END LOOP;
END
$do$;
