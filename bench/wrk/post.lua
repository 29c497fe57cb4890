-- POST the JSON in the file that the first argument names.
dofile(os.getenv("BENCH_WRK") .. "/common.lua")

function init(arguments)
  local file = assert(io.open(arguments[1]))
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/json"
  wrk.body = file:read("*a")
  file:close()
end
