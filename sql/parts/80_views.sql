-- What is going on. Views with the rights of their owner, to whom row level security does not apply: they say themselves what the reader
-- may see. The functions in them run as the reader. One row must not make a view fail for all: times are compared, or subtracted as
-- numbers, which an infinite one does not refuse.

CREATE VIEW session_files.session_progress WITH (security_barrier) AS
	SELECT s.session_id, s.workspace_name,
		-- As of now: maintain() may not have been there yet.
		CASE WHEN s.expires_at <= clock_timestamp() THEN 'EXPIRED' ELSE s.status END AS status, s.created_at, s.expires_at,
		c.failed + c.finished + c.pending AS total, c.pending, q.claimed, q.delayed, c.finished, c.failed,
		(SELECT coalesce(jsonb_object_agg(r.reason, r.files), '{}')
			FROM (SELECT f.ingestion_status_reason AS reason, count(*) AS files FROM session_files.files AS f
				WHERE f.session_id = s.session_id AND f.ingestion_status_reason IS NOT NULL GROUP BY 1) AS r) AS failed_by_reason,
		(SELECT session_files.uuid7_time(f.file_ingestion_id) FROM session_files.files AS f
			WHERE f.session_id = s.session_id AND f.ingestion_status = 'PENDING'
			ORDER BY f.file_ingestion_id LIMIT 1) AS oldest_pending
	FROM session_files.upload_sessions AS s,
		LATERAL (
			SELECT coalesce(sum(c.failed), 0)::bigint AS failed, coalesce(sum(c.finished), 0)::bigint AS finished, coalesce(sum(c.pending), 0)::bigint AS pending
			FROM session_files.file_counts AS c
			WHERE c.session_id = s.session_id
		) AS c,
		LATERAL (
			SELECT coalesce(sum(cardinality(q.file_ingestion_ids)) FILTER (WHERE q.lease_token IS NOT NULL AND q.due_at > clock_timestamp()), 0) AS claimed,
				coalesce(sum(cardinality(q.file_ingestion_ids)) FILTER (WHERE q.lease_token IS NULL AND q.claimed_at IS NOT NULL AND q.due_at > clock_timestamp()), 0) AS delayed
			FROM session_files.file_queue AS q WHERE q.session_id = s.session_id
		) AS q
	WHERE session_files._has_kind(s.session_id, '{keeper,watcher,worker}');
COMMENT ON VIEW session_files.session_progress IS
	'Progress of each session: its status as of now, EXPIRED when its time is over, though PENDING files may wait for workers that hold '
	'them, or for maintain; files by status; PENDING files under a lease (claimed) and waiting for a retry (delayed); failed files '
	'by reason, counted per query: omit the column if there are millions; creation of the oldest PENDING file.';

CREATE VIEW session_files.leases WITH (security_barrier) AS
	SELECT q.worker::text AS worker, q.lease_token, q.session_id, sum(cardinality(q.file_ingestion_ids)) AS files, max(q.attempt) AS attempt,
		min(q.claimed_at) AS claimed_at, min(q.due_at) AS expires_at,
		CASE WHEN isfinite(min(q.due_at)) THEN min(q.due_at) - clock_timestamp() END AS remaining
	FROM session_files.file_queue AS q
	-- Any token. Without statistics the planner takes a range for few rows, and reads their index; IS NOT NULL it takes for all of them.
	WHERE q.lease_token >= '00000000-0000-0000-0000-000000000000' AND q.lease_token <= 'ffffffff-ffff-ffff-ffff-ffffffffffff'
		AND session_files._has_kind(q.session_id, '{keeper,watcher}')
	GROUP BY q.worker, q.lease_token, q.session_id;
COMMENT ON VIEW session_files.leases IS
	'Leases: a row per claim and session. remaining is negative if the lease has ended and its files were not claimed again.';

CREATE VIEW session_files.workers WITH (security_barrier) AS
	SELECT l.worker, count(DISTINCT l.session_id) AS sessions, count(DISTINCT l.lease_token) AS leases, sum(l.files)::bigint AS files,
		coalesce(sum(l.files) FILTER (WHERE l.expires_at <= clock_timestamp()), 0)::bigint AS overdue_files,
		min(l.claimed_at) AS oldest_claim, max(l.claimed_at) AS newest_claim, min(l.expires_at) AS next_expiry
	FROM session_files.leases AS l
	GROUP BY l.worker;
COMMENT ON VIEW session_files.workers IS 'Workers that hold files: sessions, leases, files. overdue_files are those whose lease has ended.';
