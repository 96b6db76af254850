-- Which roles may see which workspaces, and what they may do there: one table of grants (src/grants.c), which the functions and the policies
-- of row level security ask. A grant is a row and nothing else: EXECUTE on the functions and USAGE on the schema are PUBLIC's, as privileges
-- of a million roles would have no place in an ACL.

CREATE TABLE session_files.workspace_grants (
	grant_id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
	role regrole NOT NULL,
	workspace_name text COLLATE "C" REFERENCES session_files.workspaces (name) ON UPDATE CASCADE ON DELETE CASCADE,
	kind session_files.grant_kind NOT NULL
);
COMMENT ON TABLE session_files.workspace_grants IS
	'Grants of workspaces to roles and their members. Superusers, the owner of the tables and roles with BYPASSRLS need none.';
COMMENT ON COLUMN session_files.workspace_grants.workspace_name IS 'NULL: all workspaces.';
COMMENT ON COLUMN session_files.workspace_grants.kind IS 'What the role may do there. A role may have several kinds.';

-- The look-up, also of NULL, which the second one makes unique. The columns and the name are known to the C code (src/catalog.h).
CREATE UNIQUE INDEX workspace_grants_key ON session_files.workspace_grants (role, workspace_name, kind);
CREATE UNIQUE INDEX workspace_grants_every_key ON session_files.workspace_grants (role, kind) WHERE workspace_name IS NULL;
-- The foreign key asks for it when a workspace is renamed or deleted.
CREATE INDEX workspace_grants_workspace_idx ON session_files.workspace_grants (workspace_name);

-- A role that was dropped is a number, which can be another role's elsewhere.
SELECT pg_catalog.pg_extension_config_dump('session_files.workspace_grants', 'WHERE role IN (SELECT oid FROM pg_catalog.pg_roles)');

CREATE FUNCTION session_files._may_see_workspace(workspace_name text) RETURNS boolean
	LANGUAGE c STABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'session_files_may_see_workspace';
COMMENT ON FUNCTION session_files._may_see_workspace(text) IS
	'Returns whether the current user may see a workspace: by a grant of any kind, or because the user needs none.';

CREATE FUNCTION session_files._may_see_session(session_id uuid) RETURNS boolean
	LANGUAGE c STABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'session_files_may_see_session';
COMMENT ON FUNCTION session_files._may_see_session(uuid) IS
	'Returns whether the current user may see a session and its files: by a grant of any kind for its workspace and, if upload_sessions '
	'has other policies than the extension''s, by these. False for a session that does not exist.';

CREATE FUNCTION session_files._has_kind(session_id uuid, kinds session_files.grant_kind[]) RETURNS boolean
	LANGUAGE c STABLE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'session_files_may_see_session';
COMMENT ON FUNCTION session_files._has_kind(uuid, session_files.grant_kind[]) IS
	'Returns whether the current user may see a session as may_see_session says, by a grant of one of the kinds. Errors: 22004 (a NULL kind).';

CREATE FUNCTION session_files._report_grants() RETURNS trigger
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'session_files_report_grants';
COMMENT ON FUNCTION session_files._report_grants() IS 'Trigger on workspace_grants: makes every backend read its grants again.';

-- By rows, and always: so they fire for what logical replication applies, too.
CREATE TRIGGER report_changes AFTER INSERT OR UPDATE OR DELETE ON session_files.workspace_grants
	FOR EACH ROW EXECUTE FUNCTION session_files._report_grants();
CREATE TRIGGER report_truncate AFTER TRUNCATE ON session_files.workspace_grants
	FOR EACH STATEMENT EXECUTE FUNCTION session_files._report_grants();
ALTER TABLE session_files.workspace_grants ENABLE ALWAYS TRIGGER report_changes;
ALTER TABLE session_files.workspace_grants ENABLE ALWAYS TRIGGER report_truncate;

CREATE FUNCTION session_files._grant_workspace(role regrole, workspace_name text, kind session_files.grant_kind) RETURNS void
	LANGUAGE plpgsql
AS $$
#variable_conflict use_column
BEGIN
	IF role IS NULL OR kind IS NULL THEN
		RAISE EXCEPTION 'role and kind must not be null' USING ERRCODE = 'null_value_not_allowed';
	END IF;
	PERFORM FROM pg_roles AS r WHERE r.oid = _grant_workspace.role;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'there is no role "%"', role USING ERRCODE = 'undefined_object';
	END IF;
	IF workspace_name IS NOT NULL THEN
		PERFORM FROM session_files.workspaces AS w WHERE w.name = _grant_workspace.workspace_name;
		IF NOT FOUND THEN
			RAISE EXCEPTION 'there is no workspace "%"', workspace_name
				USING ERRCODE = 'no_data_found', HINT = 'Create it with session_files.create_workspace().';
		END IF;
	END IF;
	INSERT INTO session_files.workspace_grants (role, workspace_name, kind)
		VALUES (_grant_workspace.role, _grant_workspace.workspace_name, _grant_workspace.kind) ON CONFLICT DO NOTHING;
END
$$;
CREATE FUNCTION session_files.grant_workspace(role regrole, workspace_name text, kind session_files.grant_kind DEFAULT 'lister')
	RETURNS void
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'session_files_as_owner';
COMMENT ON FUNCTION session_files.grant_workspace(regrole, text, session_files.grant_kind) IS
	'Lets a role, and roles that inherit from it, work in a workspace; NULL stands for all workspaces. A kind is what it may do: lister '
	'(the default), uploader, worker, watcher, keeper. A role may have several, one per call. An existing grant stays. Errors: 22004 '
	'(NULL), 42704 (no such role), P0002 (no such workspace), 42501 (the caller is not exempt from grants).';

CREATE FUNCTION session_files._revoke_workspace(role regrole, workspace_name text, kind session_files.grant_kind) RETURNS void
	LANGUAGE plpgsql
AS $$
#variable_conflict use_column
BEGIN
	IF role IS NULL THEN
		RAISE EXCEPTION 'role must not be null' USING ERRCODE = 'null_value_not_allowed';
	END IF;
	IF workspace_name IS NOT NULL THEN
		PERFORM FROM session_files.workspaces AS w WHERE w.name = _revoke_workspace.workspace_name;
		IF NOT FOUND THEN
			RAISE EXCEPTION 'there is no workspace "%"', workspace_name
				USING ERRCODE = 'no_data_found', HINT = 'Create it with session_files.create_workspace().';
		END IF;
	END IF;
	DELETE FROM session_files.workspace_grants AS g
		WHERE g.role = _revoke_workspace.role AND g.workspace_name IS NOT DISTINCT FROM _revoke_workspace.workspace_name
			AND (g.kind = _revoke_workspace.kind OR _revoke_workspace.kind IS NULL);
END
$$;
CREATE FUNCTION session_files.revoke_workspace(role regrole, workspace_name text, kind session_files.grant_kind DEFAULT NULL)
	RETURNS void
	LANGUAGE c
	AS 'MODULE_PATHNAME', 'session_files_as_owner';
COMMENT ON FUNCTION session_files.revoke_workspace(regrole, text, session_files.grant_kind) IS
	'Takes back what grant_workspace gave: for a workspace or, for NULL, the grants of all workspaces at once (grants by name stay then); '
	'one kind or, for NULL (the default), every kind. A missing grant is no error. Errors: 22004 (no role), P0002 (no such workspace), '
	'42501 (the caller is not exempt from grants).';

ALTER TABLE session_files.workspaces ENABLE ROW LEVEL SECURITY;
ALTER TABLE session_files.workspace_grants ENABLE ROW LEVEL SECURITY;
ALTER TABLE session_files.upload_sessions ENABLE ROW LEVEL SECURITY;
ALTER TABLE session_files.files ENABLE ROW LEVEL SECURITY;
ALTER TABLE session_files.file_counts ENABLE ROW LEVEL SECURITY;
ALTER TABLE session_files.file_queue ENABLE ROW LEVEL SECURITY;

-- For plain SQL, by roles to which an administrator granted it: for all commands and all roles. is_own_policy in src/access.c knows the
-- policies by what they call. The other tables have none, so that no row of them is shown to a role by mistake. pg_dump leaves out policies
-- on an extension's tables since the releases of November 2024: before that, restoring a dump says that these are there already.
CREATE POLICY visible_workspaces ON session_files.workspaces USING (session_files._may_see_workspace(name));
CREATE POLICY visible_workspaces ON session_files.upload_sessions USING (session_files._may_see_workspace(workspace_name));
CREATE POLICY visible_sessions ON session_files.files USING (session_files._may_see_session(session_id));

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
