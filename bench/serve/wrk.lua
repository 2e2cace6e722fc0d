-- Builds the request bodies that wire.py describes, once, and sends them in turn; prints one line of JSON at the end.
-- Environment: BODY_FILES (comma list), BODY_MODE, URL_PATH, ACCEPT, IN_NAME, OUT_NAME, JSON_BEFORE, JSON_AFTER.
local function env(name, default)
  local value = os.getenv(name)
  if value == nil or value == "" then return default end
  return value
end

local mode, path = env("BODY_MODE", "raw"), env("URL_PATH", "/")
local input, output = env("IN_NAME", "jpeg"), env("OUT_NAME", "mask")

local function read(name)
  local file = assert(io.open(name, "rb"))
  local data = file:read("*a")
  file:close()
  return data
end

local function little_endian(value)
  local bytes = {}
  for index = 1, 4 do
    bytes[index] = string.char(value % 256)
    value = math.floor(value / 256)
  end
  return table.concat(bytes)
end

local ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
local function base64(data)
  local out = {}
  for start = 1, #data, 3 do
    local a, b, c = data:byte(start, start + 2)
    local bits = a * 65536 + (b or 0) * 256 + (c or 0)
    local letters = {}
    for index = 4, 1, -1 do
      local six = bits % 64
      letters[index] = ALPHABET:sub(six + 1, six + 1)
      bits = math.floor(bits / 64)
    end
    if not b then letters[3] = "=" end
    if not c then letters[4] = "=" end
    out[#out + 1] = table.concat(letters)
  end
  return table.concat(out)
end

local function tensor(data, shape, datatype)
  local head = '{"inputs":[{"name":"' .. input .. '","shape":' .. shape .. ',"datatype":"' .. datatype ..
    '","parameters":{"binary_data_size":' .. #data .. '}}],"outputs":[{"name":"' .. output ..
    '","parameters":{"binary_data":true}}]}'
  local headers = {
    ["Content-Type"] = "application/octet-stream",
    ["Inference-Header-Content-Length"] = tostring(#head),
  }
  return headers, head .. data
end

local function request_of(data)
  if mode == "raw" then return { ["Content-Type"] = "image/jpeg" }, data end
  if mode == "oip_bytes" then return tensor(little_endian(#data) .. data, "[1,1]", "BYTES") end
  if mode == "oip_uint8" then return tensor(data, "[1," .. #data .. "]", "UINT8") end
  if mode == "json_base64" then
    return { ["Content-Type"] = "application/json" }, env("JSON_BEFORE", "") .. base64(data) .. env("JSON_AFTER", "")
  end
  assert(mode == "multipart", "unknown BODY_MODE " .. mode)
  local head = '--XBOUNDX\r\nContent-Disposition: form-data; name="content"; filename="a.jpg"\r\n' ..
    "Content-Type: image/jpeg\r\n\r\n"
  return { ["Content-Type"] = "multipart/form-data; boundary=XBOUNDX" }, head .. data .. "\r\n--XBOUNDX--\r\n"
end

local raw, turn = {}, 0

function init(args)
  for name in string.gmatch(env("BODY_FILES", ""), "[^,]+") do
    local headers, body = request_of(read(name))
    local accept = env("ACCEPT", nil)
    if accept then headers["Accept"] = accept end
    raw[#raw + 1] = wrk.format("POST", path, headers, body)
  end
end

function request()
  turn = turn % #raw + 1
  return raw[turn]
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '\nJSON {"requests":%d,"us":%d,"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d,"p50_us":%d,"p99_us":%d}\n',
    summary.requests, summary.duration, errors.connect, errors.read, errors.write, errors.status, errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
