-- PUBLIC gets nothing: the administrator grants what each role needs (README, "Privileges").
REVOKE ALL ON ALL TABLES IN SCHEMA session_files FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA session_files FROM PUBLIC;
