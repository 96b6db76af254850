# What the scripts that run in a folder share: a session in the cluster 15/main; they source it after tap.sh.
# shellcheck shell=bash

as_postgres() {
	setpriv --reuid=postgres --regid=postgres --init-groups -- "$@"
}

sql() {
	as_postgres psql --no-psqlrc --quiet --no-align --tuples-only --set=ON_ERROR_STOP=1 "$@"
}

# Prints the listing of the one session there is, as SQL gives it.
list_by_sql() {
	sql --command="SELECT session_files.get_session_files(workspace_name, session_id) FROM session_files.upload_sessions"
}

# Creates the extension, and a session with two files, one of which has failed.
ingest() {
	sql <<-SQL
		CREATE EXTENSION session_files;
		SELECT FROM session_files.create_workspace('research');
		SELECT session_files.create_session('research') AS session \gset
		SELECT FROM session_files.register_files(:'session', ARRAY['notes.txt', 'empty.txt']);
		SELECT FROM session_files.fail_files(:'session', ARRAY(SELECT file_ingestion_id FROM session_files.files WHERE name = 'empty.txt'),
			'EMPTY_FILE');
	SQL
}

# Succeeds if the listing has those two files.
lists_both() {
	[[ $1 = *'"FAILED","ingestion_status_reason":"EMPTY_FILE","name":"empty.txt"'* ]]
	[[ $1 = *'"PENDING","ingestion_status_reason":null,"name":"notes.txt"'* ]]
	[[ $1 = *'],"has_more":false,"total":2}' ]]
}

# Prints the answer to a request for that listing, from the HTTP server. It looks for the extension every few seconds.
list_by_http() {
	local session
	session=$(sql --command='SELECT session_id FROM session_files.upload_sessions')
	perl -MHTTP::Tiny -e '
		for (1 .. 60) { $answer = HTTP::Tiny->new->get($ARGV[0]); last if $answer->{status} == 200; sleep 1; }
		print "$answer->{content}\n"' "http://127.0.0.1:8080/api/v1/workspaces/research/upload_sessions/$session/files"
}
