-- PUBLIC gets nothing: the administrator grants what each role needs (docs/privileges.md).
REVOKE ALL ON ALL TABLES IN SCHEMA session_files FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA session_files FROM PUBLIC;

-- Policies and views call them as the role that reads. They show a role only what it was granted.
GRANT EXECUTE ON FUNCTION session_files.may_see_workspace, session_files.may_see_session TO PUBLIC;
