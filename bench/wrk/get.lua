-- GET the paths in the file that the first argument names, one after the other.
dofile(os.getenv("BENCH_WRK") .. "/common.lua")

local requests = {}
local index = 0

function init(arguments)
  for path in io.lines(arguments[1]) do
    requests[#requests + 1] = wrk.format("GET", wrk.path .. path)
  end
end

function request()
  index = index % #requests + 1
  return requests[index]
end
