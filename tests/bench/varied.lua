-- Heads differ from request to request, as real ones do: no parser may win by remembering whole heads.
-- The URL's path is a prefix: /page becomes /page0 to /page99; PAGES sets how many. ORDER: `turn` asks for one after the
-- other, `zipf` for the popular ones most (the same sequence in every run), `uniform` for any, `new` for pages from
-- FIRST on, none twice.
local n = 0
local pages = tonumber(os.getenv("PAGES") or "100")
local order = os.getenv("ORDER") or "turn"
local first = tonumber(os.getenv("FIRST") or "0")
local given = {}
local drawn, draws = {}, 65536

-- The number of a page is its rank: page r is asked for 1/r as often as page 1.
local function draw()
  local upto, sum = {}, 0
  for rank = 1, pages do
    sum = sum + 1 / rank
    upto[rank] = sum
  end
  math.randomseed(1)
  for i = 0, draws - 1 do
    local wanted, low, high = math.random() * sum, 1, pages
    while low < high do
      local middle = math.floor((low + high) / 2)
      if upto[middle] < wanted then low = middle + 1 else high = middle end
    end
    drawn[i] = low - 1
  end
end

init = function()
  for name, value in pairs(wrk.headers) do given[name] = value end
  if order == "zipf" then draw() end
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
  local page = n % pages
  if order == "zipf" then page = drawn[n % draws]
  elseif order == "uniform" then page = math.random(0, pages - 1)
  elseif order == "new" then page = first + n end
  return wrk.format("GET", string.format("%s%d", wrk.path, page), headers)
end
