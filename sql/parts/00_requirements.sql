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
