-- Each public function checks its caller by workspace_grants, so all may call them (docs/privileges.md). Tables are for the extension's own
-- code; an administrator can grant rights on workspaces, upload_sessions and files for plain SQL.
GRANT USAGE ON SCHEMA session_files TO PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA session_files FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA session_files FROM PUBLIC;

GRANT EXECUTE ON FUNCTION
	session_files.cancel_session, session_files.check, session_files.claim_files, session_files.close_session, session_files.create_session,
	session_files.create_workspace, session_files.delete_files, session_files.delete_session, session_files.extend_lease,
	session_files.extend_session, session_files.fail_files, session_files.finish_files, session_files.get_session_files,
	session_files.get_session_status, session_files.grant_workspace, session_files.handle_request, session_files.list_session_files, session_files.maintain,
	session_files.register_files, session_files.release_files, session_files.reopen_session, session_files.repair,
	session_files.retry_failed, session_files.revoke_workspace, session_files.session_counts
	TO PUBLIC;

-- What defaults, indexes, policies and views call as the role that reads or writes. They show a role only what it was granted.
GRANT EXECUTE ON FUNCTION session_files.uuid7, session_files.uuid7_time, session_files._default_expiry, session_files._name_key,
	session_files._may_see_workspace, session_files._may_see_session, session_files._has_kind
	TO PUBLIC;

-- They show each role the sessions that its grants let it watch.
GRANT SELECT ON session_files.session_progress, session_files.leases, session_files.workers TO PUBLIC;
