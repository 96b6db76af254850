-- Prints what bench/http reads of a run of wrk, on one line: requests per second, the percentiles 50 and 99 of latency in microseconds,
-- and how many requests went wrong. wrk counts the statuses from 400 on.
function done(summary, latency)
	local errors = summary.errors
	print(string.format("result %.1f %d %d %d", summary.requests / summary.duration * 1e6, latency:percentile(50), latency:percentile(99),
		errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
