-- For wrk: sends each of the requests in a file once, in order. `wrk -t1 -s push.lua URL -- FILE`
-- The last line that it prints is for throughput.py.

local requests, sent = {}, 0
local threads = {}

function setup(thread)
  threads[#threads + 1] = thread
end

function init(args)
  local file = assert(io.open(args[1], "rb"))
  for request in file:read("*a"):gmatch("[^\30]+") do  -- a record separator stands in no request
    requests[#requests + 1] = request
  end
  file:close()
end

function request()
  sent = sent + 1
  more = #requests - sent  -- not local: done() asks for it
  return requests[math.min(sent, #requests)]
end

function done(summary, latency)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format("\n{\"requests\": %d, \"micros\": %d, \"p50\": %d, \"p99\": %d, \"bytes\": %d, ",
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), summary.bytes))
  io.write(string.format("\"failed\": %d, \"more\": %d}\n", failed, threads[1]:get("more")))
end
