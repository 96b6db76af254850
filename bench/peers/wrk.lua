-- For wrk, by bench/http: wrk --script wrk.lua URL [-- BODY]. With a body, asks as nginx asks PostgREST (postgrest/nginx.conf).
function init(args)
	if args[1] then
		wrk.method = "POST"
		wrk.body = args[1]
		wrk.headers["Content-Type"] = "application/octet-stream"
		wrk.headers["X-Request-Method"] = "GET"
	end
end

-- Prints what bench/http reads of a run, on one line: requests per second, the percentiles 50 and 99 of latency in microseconds,
-- how many requests there were, and how many went wrong. wrk counts the statuses from 400 on.
function done(summary, latency)
	local errors = summary.errors
	print(string.format("result %.1f %d %d %d %d", summary.requests / summary.duration * 1e6, latency:percentile(50), latency:percentile(99),
		summary.requests, errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
