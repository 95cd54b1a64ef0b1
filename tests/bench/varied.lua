-- Heads differ from request to request, as real ones do: no parser may win by remembering whole heads.
local n = 0
request = function()
  n = n + 1
  return wrk.format("GET", "/page" .. (n % 100), {
    ["Host"] = "bench.test",
    ["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64; rv:" .. (n % 997) .. ") Gecko/20100101",
    ["Accept"] = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    ["Accept-Language"] = "en-GB,en;q=0.7",
    ["Accept-Encoding"] = "gzip, br",
    ["X-Request-ID"] = string.format("%08x", n * 2654435761 % 4294967296),
  })
end
