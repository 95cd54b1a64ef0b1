-- Heads differ from request to request, as real ones do: no parser may win by remembering whole heads.
-- The URL's path is a prefix: /page becomes /page0 to /page99; PAGES sets how many.
local n = 0
local pages = tonumber(os.getenv("PAGES") or "100")
local given = {}
init = function()
  for name, value in pairs(wrk.headers) do given[name] = value end
end
request = function()
  n = n + 1
  local headers = {
    ["Host"] = "bench.test",
    ["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64; rv:" .. (n % 997) .. ") Gecko/20100101",
    ["Accept"] = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    ["Accept-Language"] = "en-GB,en;q=0.7",
    ["Accept-Encoding"] = "gzip, br",
    ["X-Request-ID"] = string.format("%08x", n * 2654435761 % 4294967296),
  }
  if given["Connection"] then headers["Connection"] = given["Connection"] end
  return wrk.format("GET", wrk.path .. (n % pages), headers)
end
