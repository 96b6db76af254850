-- Prints docs/reference.md from the catalog of a database that has the extension: psql -XqAt --file=dev/reference.sql

SET search_path = session_files, pg_catalog;

SELECT $$# Reference

Everything in the schema `session_files`, from its comments in the catalog: `dev/reference` writes this page. Errors are SQLSTATEs; 22004 is a NULL
where none may be. [Privileges](privileges.md) has the grant that a role needs for each.
$$;

-- Names that begin with _ are the extension's own.
SELECT E'## Functions\n';
SELECT format(E'`%s(%s)%s`\n\n%s\n', p.proname, regexp_replace(pg_get_function_arguments(p.oid), '::[\w ]+(\[\])?(?=,|$)', '', 'g'),
		CASE WHEN p.prorettype <> 'void'::regtype AND pg_get_function_result(p.oid) !~ 'record$' THEN ' → ' || pg_get_function_result(p.oid) ELSE '' END,
		obj_description(p.oid, 'pg_proc'))
	FROM pg_proc AS p
	WHERE p.pronamespace = 'session_files'::regnamespace AND p.prorettype <> 'trigger'::regtype AND p.proname NOT LIKE '\_%' ORDER BY p.proname COLLATE "C";

SELECT E'## Types\n';
SELECT format(E'`%s`: %s\n\n%s\n', t.typname,
		CASE t.typtype
			WHEN 'd' THEN format('`%s`', format_type(t.typbasetype, t.typtypmod))
			WHEN 'e' THEN (SELECT string_agg(format('`%s`', e.enumlabel), ', ' ORDER BY e.enumsortorder) FROM pg_enum AS e WHERE e.enumtypid = t.oid)
			ELSE (SELECT string_agg(format('`%s %s`', a.attname, format_type(a.atttypid, a.atttypmod)), ', ' ORDER BY a.attnum)
				FROM pg_attribute AS a WHERE a.attrelid = t.typrelid)
		END,
		obj_description(t.oid, 'pg_type'))
	FROM pg_type AS t LEFT JOIN pg_class AS c ON c.oid = t.typrelid
	WHERE t.typnamespace = 'session_files'::regnamespace AND (t.typtype IN ('d', 'e') OR c.relkind = 'c') ORDER BY t.typname COLLATE "C";

SELECT format(E'## %s\n\n%s', CASE c.relkind WHEN 'r' THEN 'Tables' ELSE 'Views' END, string_agg(
		format(E'`%s`: %s\n\n%s\n', c.relname,
			(SELECT string_agg(format('`%s %s`%s', a.attname, format_type(a.atttypid, a.atttypmod), ' (' || col_description(c.oid, a.attnum) || ')'), ', ' ORDER BY a.attnum)
				FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped),
			obj_description(c.oid, 'pg_class')),
		E'\n' ORDER BY c.relname COLLATE "C"))
	FROM pg_class AS c
	WHERE c.relnamespace = 'session_files'::regnamespace AND c.relkind IN ('r', 'v') GROUP BY c.relkind ORDER BY c.relkind;
