-- Which roles may see which workspaces, and all that is in them: row level security on every table, by one table of grants (src/access.c).

CREATE TABLE session_files.workspace_grants (
	role regrole NOT NULL,
	workspace_name text COLLATE "C" REFERENCES session_files.workspaces (name) ON UPDATE CASCADE ON DELETE CASCADE
);
COMMENT ON TABLE session_files.workspace_grants IS
	'Grants of workspaces to roles and their members. Roles to which row level security does not apply see all workspaces without a '
	'grant.';
COMMENT ON COLUMN session_files.workspace_grants.workspace_name IS 'NULL: all workspaces.';

-- The look-up, also of NULL, which the second one makes unique. The columns and the name are known to the C code (src/catalog.h).
CREATE UNIQUE INDEX workspace_grants_key ON session_files.workspace_grants (workspace_name, role);
CREATE UNIQUE INDEX workspace_grants_every_key ON session_files.workspace_grants (role) WHERE workspace_name IS NULL;

-- A role that was dropped is a number, which can be another role's elsewhere.
SELECT pg_catalog.pg_extension_config_dump('session_files.workspace_grants', 'WHERE role IN (SELECT oid FROM pg_catalog.pg_roles)');

CREATE FUNCTION session_files.may_see_workspace(workspace_name text) RETURNS boolean
	LANGUAGE c STABLE PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'session_files_may_see_workspace';
COMMENT ON FUNCTION session_files.may_see_workspace(text) IS
	'Returns whether the current user may see a workspace: by workspace_grants, or because row level security does not apply. NULL '
	'stands for all workspaces. False for a workspace that does not exist.';

CREATE FUNCTION session_files.may_see_session(session_id uuid) RETURNS boolean
	LANGUAGE c STABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'session_files_may_see_session';
COMMENT ON FUNCTION session_files.may_see_session(uuid) IS
	'Returns whether the current user may see a session and its files: by its workspace or, if upload_sessions has other policies than '
	'the extension''s, by these. False for a session that does not exist.';

CREATE FUNCTION session_files.report_grants() RETURNS trigger
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'session_files_report_grants';
COMMENT ON FUNCTION session_files.report_grants() IS 'Trigger on workspace_grants: makes every backend read its grants again.';

-- By rows, and always: so they fire for what logical replication applies, too.
CREATE TRIGGER report_changes AFTER INSERT OR UPDATE OR DELETE ON session_files.workspace_grants
	FOR EACH ROW EXECUTE FUNCTION session_files.report_grants();
CREATE TRIGGER report_truncate AFTER TRUNCATE ON session_files.workspace_grants
	FOR EACH STATEMENT EXECUTE FUNCTION session_files.report_grants();
ALTER TABLE session_files.workspace_grants ENABLE ALWAYS TRIGGER report_changes;
ALTER TABLE session_files.workspace_grants ENABLE ALWAYS TRIGGER report_truncate;

CREATE FUNCTION session_files.grant_creator() RETURNS trigger
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'session_files_grant_creator';
COMMENT ON FUNCTION session_files.grant_creator() IS
	'Trigger on workspaces: grants a new workspace to the role that created it, unless the role sees it anyway.';

CREATE TRIGGER grant_creator AFTER INSERT ON session_files.workspaces
	FOR EACH ROW EXECUTE FUNCTION session_files.grant_creator();

CREATE FUNCTION session_files.grant_workspace(role regrole, workspace_name text DEFAULT NULL) RETURNS void
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
	IF role IS NULL THEN
		RAISE EXCEPTION 'role must not be null' USING ERRCODE = 'null_value_not_allowed';
	END IF;
	PERFORM FROM pg_roles AS r WHERE r.oid = grant_workspace.role;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'there is no role "%"', role USING ERRCODE = 'undefined_object';
	END IF;
	IF workspace_name IS NOT NULL THEN
		PERFORM FROM session_files.workspaces AS w WHERE w.name = grant_workspace.workspace_name;
		IF NOT FOUND THEN
			RAISE EXCEPTION 'there is no workspace "%"', workspace_name
				USING ERRCODE = 'no_data_found', HINT = 'Create it with session_files.create_workspace().';
		END IF;
	END IF;
	INSERT INTO session_files.workspace_grants (role, workspace_name)
		VALUES (grant_workspace.role, grant_workspace.workspace_name) ON CONFLICT DO NOTHING;
END
$$;
COMMENT ON FUNCTION session_files.grant_workspace(regrole, text) IS
	'Lets a role, and roles that inherit from it, see a workspace and its contents. Without a name (NULL, the default): all '
	'workspaces. An existing grant stays. Errors: 22004 (no role), 42704 (no such role), P0002 (no such workspace).';

CREATE FUNCTION session_files.revoke_workspace(role regrole, workspace_name text DEFAULT NULL) RETURNS void
	LANGUAGE plpgsql
	SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
	IF role IS NULL THEN
		RAISE EXCEPTION 'role must not be null' USING ERRCODE = 'null_value_not_allowed';
	END IF;
	IF workspace_name IS NULL THEN
		DELETE FROM session_files.workspace_grants AS g WHERE g.role = revoke_workspace.role AND g.workspace_name IS NULL;
		RETURN;
	END IF;
	PERFORM FROM session_files.workspaces AS w WHERE w.name = revoke_workspace.workspace_name;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'there is no workspace "%"', workspace_name
			USING ERRCODE = 'no_data_found', HINT = 'Create it with session_files.create_workspace().';
	END IF;
	DELETE FROM session_files.workspace_grants AS g
		WHERE g.role = revoke_workspace.role AND g.workspace_name = revoke_workspace.workspace_name;
END
$$;
COMMENT ON FUNCTION session_files.revoke_workspace(regrole, text) IS
	'Removes a grant of grant_workspace: of one workspace or, without a name (NULL, the default), of all workspaces; grants by name '
	'stay then. A missing grant is no error. Errors: 22004 (no role), P0002 (no such workspace).';

ALTER TABLE session_files.workspaces ENABLE ROW LEVEL SECURITY;
ALTER TABLE session_files.workspace_grants ENABLE ROW LEVEL SECURITY;
ALTER TABLE session_files.upload_sessions ENABLE ROW LEVEL SECURITY;
ALTER TABLE session_files.files ENABLE ROW LEVEL SECURITY;
ALTER TABLE session_files.file_counts ENABLE ROW LEVEL SECURITY;
ALTER TABLE session_files.file_queue ENABLE ROW LEVEL SECURITY;

-- For all commands and all roles; is_own_policy in src/access.c knows them by what they call. pg_dump leaves out policies on an extension's
-- tables since the releases of November 2024: before that, restoring a dump says that these are there already.
CREATE POLICY visible_workspaces ON session_files.workspaces USING (session_files.may_see_workspace(name));
CREATE POLICY new_workspaces ON session_files.workspaces FOR INSERT WITH CHECK (true);
CREATE POLICY visible_workspaces ON session_files.workspace_grants USING (session_files.may_see_workspace(workspace_name));
CREATE POLICY visible_workspaces ON session_files.upload_sessions USING (session_files.may_see_workspace(workspace_name));
CREATE POLICY visible_sessions ON session_files.files USING (session_files.may_see_session(session_id));
CREATE POLICY visible_sessions ON session_files.file_counts USING (session_files.may_see_session(session_id));
CREATE POLICY visible_sessions ON session_files.file_queue USING (session_files.may_see_session(session_id));

-- The planner's statistics are of all rows, for every role, and EXPLAIN prints what it estimates by them: an id, a name or a time of another
-- workspace can be found by halving, with SELECT alone. So there are none, of any column; the functions do not need them.
DO $$
DECLARE
	target record;
BEGIN
	FOR target IN
		SELECT c.oid::pg_catalog.regclass AS relation, c.relkind, a.attname, a.attnum
		FROM pg_catalog.pg_class AS c
			JOIN pg_catalog.pg_attribute AS a ON a.attrelid OPERATOR(pg_catalog.=) c.oid
			LEFT JOIN pg_catalog.pg_index AS i ON i.indexrelid OPERATOR(pg_catalog.=) c.oid
		WHERE c.relnamespace OPERATOR(pg_catalog.=) 'session_files'::pg_catalog.regnamespace::pg_catalog.oid
			AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped
			-- 0 stands for an expression.
			AND (c.relkind OPERATOR(pg_catalog.=) 'r' OR i.indkey[a.attnum OPERATOR(pg_catalog.-) 1] OPERATOR(pg_catalog.=) 0)
		ORDER BY c.relname, a.attnum
	LOOP
		EXECUTE CASE target.relkind WHEN 'r' THEN
			pg_catalog.format('ALTER TABLE %s ALTER COLUMN %I SET STATISTICS 0', target.relation, target.attname)
		ELSE
			pg_catalog.format('ALTER INDEX %s ALTER COLUMN %s SET STATISTICS 0', target.relation, target.attnum)
		END;
	END LOOP;
END
$$;
