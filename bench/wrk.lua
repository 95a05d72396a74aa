-- Paces the requests when a rate is given (argument 1: requests/s, 0 for as fast as can be; argument 2:
-- connections), and prints the result as one line of JSON. With a token (argument 3) each request makes a link.

function init(args)
  local rate, connections, token = tonumber(args[1]), tonumber(args[2]), args[3]
  if rate > 0 then
    local mean = 1000 * connections / rate
    -- Called before each request of a connection, for milliseconds; spread, so that connections do not go in step.
    function delay() return math.random() * 2 * mean end
  end
  if token then
    wrk.method = "POST"
    wrk.headers["Authorization"] = "Bearer " .. token
    wrk.headers["Content-Type"] = "application/json"
    wrk.body = '{"url": "https://example.com/page"}'
  end
end

function done(summary, latency, requests)
  local e = summary.errors
  print(string.format(
    'RESULT {"requests": %d, "seconds": %.6f, "errors": %d, "p50_ms": %.4f, "p99_ms": %.4f}',
    summary.requests, summary.duration / 1e6, e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
