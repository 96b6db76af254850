\echo Use "CREATE EXTENSION session_files" to load this file. \quit

-- Names are sorted by UTF-8 bytes and listed as UTF-8, so no other encoding will do.
DO $$
BEGIN
	IF pg_catalog.getdatabaseencoding() <> 'UTF8' THEN
		RAISE EXCEPTION 'session_files needs a database with the encoding UTF8, and this one has %',
			pg_catalog.getdatabaseencoding()
			USING ERRCODE = 'feature_not_supported',
				HINT = 'Create the database with: CREATE DATABASE name ENCODING ''UTF8'' TEMPLATE template0.';
	END IF;
END
$$;

-- What is created below calls functions of the schema by name. So only superusers may have created objects there, or be able to:
-- CREATE EXTENSION takes a schema that exists already, whatever role created it. (No operator is looked up in it, either.)
DO $$
DECLARE
	schema pg_catalog.oid;
	owner pg_catalog.oid;
	acl pg_catalog.aclitem[];
	others pg_catalog.text;
BEGIN
	SELECT n.oid, n.nspowner, n.nspacl INTO schema, owner, acl
		FROM pg_catalog.pg_namespace AS n WHERE n.nspname OPERATOR(pg_catalog.=) 'session_files';
	SELECT pg_catalog.string_agg(COALESCE(r.rolname, 'PUBLIC'), ', ') INTO others
		FROM (
			SELECT owner AS grantee
			UNION SELECT a.grantee FROM pg_catalog.aclexplode(acl) AS a WHERE a.privilege_type OPERATOR(pg_catalog.=) 'CREATE'
		) AS g LEFT JOIN pg_catalog.pg_authid AS r ON r.oid OPERATOR(pg_catalog.=) g.grantee
		WHERE r.rolsuper IS NOT TRUE;
	IF others IS NOT NULL THEN
		RAISE EXCEPTION 'the schema session_files is there already, and % can create objects in it', others
			USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Drop it, or make it a superuser''s, with CREATE granted to no other role.';
	END IF;
	PERFORM FROM pg_catalog.pg_depend AS d
		WHERE d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_namespace'::pg_catalog.regclass::pg_catalog.oid
			AND d.refobjid OPERATOR(pg_catalog.=) schema
			-- The extension itself; default privileges.
			AND d.classid OPERATOR(pg_catalog.<>) 'pg_catalog.pg_extension'::pg_catalog.regclass::pg_catalog.oid
			AND d.classid OPERATOR(pg_catalog.<>) 'pg_catalog.pg_default_acl'::pg_catalog.regclass::pg_catalog.oid;
	IF FOUND THEN
		RAISE EXCEPTION 'the schema session_files is there already, and is not empty'
			USING ERRCODE = 'object_not_in_prerequisite_state', HINT = 'Drop what is in it, or move it to another schema.';
	END IF;
END
$$;
