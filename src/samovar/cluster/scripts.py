"""What the Redis engines decide in one step, in Lua. Each script takes a key, or keys, of cells that look like this:

    byte 0    kind: V a value, L a lease, T a fence
    1..16     id, random: with the kind it is the token
    17..24    V: until when somebody renews it, ms of the engine's clock, big-endian; 0: nobody
    25..      V: the body                        T: from 17 on, 24 bytes for each owner: name 16, until when 8

Each may be run twice with the same words, and answers the second time as it did the first; but DELETE and RELEASE say that
nothing is there any more, and COUNT counts again.

What others wrote under a key, a list or a cell that promises to be leased for a thousand years, must not stop anybody for
longer than LONGEST_HOLD_MS: it is overwritten, or counts for nothing.
"""

import hashlib
from typing import NamedTuple

LONGEST_HOLD_MS = 3_600_000  # what a claim or a fence may be held for

_WORDS = """
local function head(key, last)
  local found = redis.pcall('GETRANGE', key, 0, last)
  if type(found) == 'table' then return '' end
  return found
end
local function now()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
local function left(until_ms, from)
  local ms = until_ms - from
  if ms > 0 and ms <= LONGEST then return ms end
  return 0
end
""".replace("LONGEST", str(LONGEST_HOLD_MS))

_FENCE = """
local function others(key, owner, from)
  local list, last = '', 0
  if head(key, 0) == 'T' then
    local cell = redis.call('GET', key)
    for at = 18, math.min(#cell - 23, 24000), 24 do
      local ms = left(struct.unpack('>I8', cell, at + 16), from)
      if ms > 0 and string.sub(cell, at, at + 15) ~= owner then
        list = list .. string.sub(cell, at, at + 23)
        last = math.max(last, ms)
      end
    end
  end
  return list, last
end
"""


class Script(NamedTuple):
    """Lua source and the name under which an engine remembers it."""

    source: str
    digest: str


def _script(*parts: str) -> Script:
    source = "".join(parts)
    return Script(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


# lease, ms -> what was there, or nil: before Redis 7.0, which says it with SET
LEASE = _script("""
local found = redis.call('GET', KEYS[1])
if not found then redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
return found
""")

# token, cell, ms -> whether it was stored
FILL = _script("""
local found = redis.pcall('GETRANGE', KEYS[1], 0, 16)
if found ~= ARGV[1] and found ~= string.sub(ARGV[2], 1, 17) then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
""")

# cell, ms -> whether it was stored: not over a fence
PUT = _script(_WORDS, """
if head(KEYS[1], 0) == 'T' then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
""")

# token, new token, ms -> 1 claimed, 2 somebody else has, 0 it is another cell
CLAIM = _script(_WORDS, """
local cell = head(KEYS[1], 24)
local kind = string.sub(cell, 1, 1)
if kind == '' or kind == 'L' or kind == 'T' then return 0 end
if string.sub(cell, 1, 17) == ARGV[2] then return 1 end
local from = now()
if #cell == 25 and left(struct.unpack('>I8', cell, 18), from) > 0 then return 2 end
if string.sub(cell, 1, 17) ~= ARGV[1] then return 0 end
redis.call('SETRANGE', KEYS[1], 0, ARGV[2] .. struct.pack('>I8', from + ARGV[3]))
return 1
""")

# token -> whether a lease went, or a claim ended
RELEASE = _script(_WORDS, """
if head(KEYS[1], 16) ~= ARGV[1] then return 0 end
if string.sub(ARGV[1], 1, 1) == 'L' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SETRANGE', KEYS[1], 17, string.rep('\\0', 8))
end
return 1
""")

# keys -> how many went
DELETE = _script(_WORDS, """
local count = 0
for _, key in ipairs(KEYS) do
  if head(key, 0) ~= 'T' then count = count + redis.call('UNLINK', key) end
end
return count
""")

# ms -> whether a value was there
TOUCH = _script(_WORDS, """
local kind = head(KEYS[1], 0)
if kind == '' or kind == 'L' or kind == 'T' then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[1])
""")

# owner, ms, token
BEGIN_WRITE = _script(_WORDS, _FENCE, """
local from = now()
local list, last = others(KEYS[1], ARGV[1], from)
list = list .. ARGV[1] .. struct.pack('>I8', from + ARGV[2])
redis.call('SET', KEYS[1], ARGV[3] .. list, 'PX', math.max(last, tonumber(ARGV[2])))
return 1
""")

# owner, token
END_WRITE = _script(_WORDS, _FENCE, """
local list, last = others(KEYS[1], ARGV[1], now())
if last > 0 then
  redis.call('SET', KEYS[1], ARGV[2] .. list, 'PX', last)
else
  redis.call('UNLINK', KEYS[1])
end
return 1
""")

# start, ms, step -> the counter. As text: a Lua number has 53 bits
COUNT = _script("""
local number = redis.pcall('GET', KEYS[1])
if type(number) == 'string' and #number < 20 and string.match(number, '^%d+$') then
  if ARGV[3] == '0' then return number end
  if type(redis.pcall('INCRBY', KEYS[1], ARGV[3])) == 'number' then
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
    return redis.call('GET', KEYS[1])
  end
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]
""")

# most, ms, items: an empty item stands for too many
NOTE = _script("""
local count = redis.pcall('RPUSH', KEYS[1], unpack(ARGV, 3))
if type(count) ~= 'number' then
  if not string.find(count.err, 'WRONGTYPE') then return count end
  count = tonumber(ARGV[1]) + 1
end
if count > tonumber(ARGV[1]) then
  redis.call('DEL', KEYS[1])
  redis.call('RPUSH', KEYS[1], '')
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
""")
