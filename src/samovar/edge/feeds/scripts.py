"""What Redis decides about feeds in one step, in Lua. All keys of a feed begin alike, with a hash tag, so that a Redis
Cluster has them in one slot:

    items              hash    item -> member
    sent|A, kept|A     zset    member -> score          the author's outbox: the truth
    keeps              set     authors whose kept| is not empty
    followers|A        zset    reader -> number, in the order in which they came
    follows|R          set     authors
    timeline|R         zset    member -> score          a cache of what was sent, down to
    floor|R            text    "score order"
    journal, progress  zset, hash    member -> until when its worker is trusted; the last follower who has it
    heat|A             hash    k: whether the last item was kept; p, v: posts and views lately

A member is 13 hexadecimal digits that say in which order items came, the length of the author's name and ":", the name,
and the item. So a sorted set keeps its members in a feed's order, and from a copy one can tell whose it is.

The one rule: a timeline's entry counts only while the outbox has it and its author is followed, and what is in the journal
counts for every follower. So nothing that a worker did not finish can be seen, or be missed.
"""

from ...cluster.scripts import Script, _script

_WORDS = """
local P, LENGTH = KEYS[1], tonumber(ARGV[1])
local call, sub = redis.call, string.sub
local function order(member) return sub(member, 1, 13) end
local function author(member)
  local digits, at = string.match(member, '^(%d+):()', 14)
  return sub(member, at, at + tonumber(digits) - 1), sub(member, at + tonumber(digits))
end
local function newer(score, place, other, than)
  return score > other or (score == other and place > than)
end
local function now()
  local t = call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
local function floor_of(reader)
  local said = call('GET', P .. 'floor|' .. reader)
  if not said then return nil end
  local at = string.find(said, ' ', 1, true)
  return tonumber(sub(said, 1, at - 1)), sub(said, at + 1)
end
local function raise(reader, score, place)
  local low, than = floor_of(reader)
  if not low or newer(tonumber(score), place, low, than) then
    call('SET', P .. 'floor|' .. reader, score .. ' ' .. place)
  end
end
local function drop(member)
  local whose, item = author(member)
  call('HDEL', P .. 'items', item)
  if call('ZREM', P .. 'kept|' .. whose, member) == 1 then
    if call('EXISTS', P .. 'kept|' .. whose) == 0 then call('SREM', P .. 'keeps', whose) end
  end
  call('ZREM', P .. 'sent|' .. whose, member)
  call('ZREM', P .. 'journal', member)
  call('HDEL', P .. 'progress', member)
end
"""

_PUT = """
local function put(reader, member, score)
  local low, than = floor_of(reader)
  if low and not newer(tonumber(score), order(member), low, than) then return end
  local key = P .. 'timeline|' .. reader
  call('ZADD', key, score, member)
  local over = call('ZCARD', key) - LENGTH
  if over > LENGTH / 8 + 1 then
    local last = call('ZRANGE', key, over - 1, over - 1, 'WITHSCORES')
    raise(reader, last[2], order(last[1]))
    call('ZREMRANGEBYRANK', key, 0, over - 1)
  end
end
"""

_REBUILD = """
local function rebuild(reader)
  local key, low = P .. 'timeline|' .. reader, '-inf'
  local most = LENGTH + math.floor(LENGTH / 16)  -- the next deletions cost nothing
  call('UNLINK', key, P .. 'floor|' .. reader)
  local function cut()
    call('ZREMRANGEBYRANK', key, 0, -most - 2)
    if call('ZCARD', key) > most then low = call('ZRANGE', key, 0, 0, 'WITHSCORES')[2] end
  end
  for _, whose in ipairs(call('SMEMBERS', P .. 'follows|' .. reader)) do
    local rows = call('ZREVRANGEBYSCORE', P .. 'sent|' .. whose, '+inf', low, 'WITHSCORES', 'LIMIT', 0, most + 1)
    for first = 1, #rows, 400 do
      local words = {}
      for at = first, math.min(first + 398, #rows - 1), 2 do
        words[#words + 1] = rows[at + 1]
        words[#words + 1] = rows[at]
      end
      call('ZADD', key, unpack(words))
    end
    if #rows > 0 and call('ZCARD', key) > most + most / 4 + 8 then cut() end
  end
  cut()
  if call('ZCARD', key) > most then
    local last = call('ZRANGE', key, 0, 0, 'WITHSCORES')
    call('SET', P .. 'floor|' .. reader, last[2] .. ' ' .. order(last[1]))
    call('ZREMRANGEBYRANK', key, 0, 0)
  end
  call('INCR', P .. 'rebuilt')
end
"""

# length, reader, author -> whether it is new
FOLLOW = _script(_WORDS, _PUT, """
local reader, whose = ARGV[2], ARGV[3]
if call('SADD', P .. 'follows|' .. reader, whose) == 0 then return 0 end
call('ZADD', P .. 'followers|' .. whose, call('INCR', P .. 'came'), reader)
local rows = call('ZREVRANGE', P .. 'sent|' .. whose, 0, LENGTH, 'WITHSCORES')
for at = 1, #rows, 2 do
  if at > 2 * LENGTH then
    raise(reader, rows[at + 1], order(rows[at]))
  else
    put(reader, rows[at], rows[at + 1])
  end
end
return 1
""")

# length, reader, author -> whether it was followed
UNFOLLOW = _script(_WORDS, """
if call('SREM', P .. 'follows|' .. ARGV[2], ARGV[3]) == 0 then return 0 end
call('ZREM', P .. 'followers|' .. ARGV[3], ARGV[2])
return 1
""")

# length, outbox, author, item, score, kept, lease ms, lately, how many followers get it at once: where there are no more,
# nothing is left to do; the most in the journal
# -> what happened (1 new, 0 nothing, 2 another author's, 3 nothing yet: the journal is full), a member to deliver, somebody
# else's member to deliver
PUSH = _script(_WORDS, _PUT, """
local whose, item, score, is_done = ARGV[3], ARGV[4], ARGV[5], ARGV[6] == '1'
local left = call('ZRANGEBYSCORE', P .. 'journal', '-inf', now(), 'LIMIT', 0, 1)[1] or ''
if left ~= '' then call('ZADD', P .. 'journal', now() + ARGV[7], left) end
local old = call('HGET', P .. 'items', item)
if old then
  if author(old) ~= whose then return {2, '', left} end
  local had = call('ZSCORE', P .. 'sent|' .. whose, old) or call('ZSCORE', P .. 'kept|' .. whose, old)
  if tonumber(had) == tonumber(score) then
    return {0, call('ZSCORE', P .. 'journal', old) and old or '', left}
  end
end
if not is_done and call('ZCARD', P .. 'journal') >= tonumber(ARGV[10]) and
    call('ZCARD', P .. 'followers|' .. whose) > tonumber(ARGV[9]) then
  return {3, call('ZRANGE', P .. 'journal', 0, 0)[1], left}
end
if old then drop(old) end
local function oldest()
  local sent = call('ZRANGE', P .. 'sent|' .. whose, 0, 0, 'WITHSCORES')
  local mine = call('ZRANGE', P .. 'kept|' .. whose, 0, 0, 'WITHSCORES')
  if #sent == 0 or (#mine > 0 and newer(tonumber(sent[2]), order(sent[1]), tonumber(mine[2]), order(mine[1]))) then
    return mine
  end
  return sent
end
local function size() return call('ZCARD', P .. 'sent|' .. whose) + call('ZCARD', P .. 'kept|' .. whose) end
if size() >= tonumber(ARGV[2]) and tonumber(oldest()[2]) > tonumber(score) then return {0, '', left} end
local member = string.format('%013x', call('INCR', P .. 'came')) .. #whose .. ':' .. whose .. item
call('HSET', P .. 'items', item, member)
call('HSET', P .. 'heat|' .. whose, 'k', ARGV[6])
if call('HINCRBY', P .. 'heat|' .. whose, 'p', 1) >= tonumber(ARGV[8]) then
  for _, what in ipairs({'p', 'v'}) do
    call('HSET', P .. 'heat|' .. whose, what, math.floor((call('HGET', P .. 'heat|' .. whose, what) or 0) / 2))
  end
end
if is_done then
  call('ZADD', P .. 'kept|' .. whose, score, member)
  call('SADD', P .. 'keeps', whose)
else
  call('ZADD', P .. 'sent|' .. whose, score, member)
  local count = call('ZCARD', P .. 'followers|' .. whose)
  if count <= tonumber(ARGV[9]) then
    for _, reader in ipairs(call('ZRANGE', P .. 'followers|' .. whose, 0, -1)) do put(reader, member, score) end
    call('INCRBY', P .. 'delivered', count)
    is_done = true
  else
    call('ZADD', P .. 'journal', now() + ARGV[7], member)
  end
end
while size() > tonumber(ARGV[2]) do drop(oldest()[1]) end
return {1, is_done and '' or member, left}
""")

# length, member, how many followers, lease ms -> whether there is more to do. Each step is whole, and a repeated one does
# no harm
DELIVER = _script(_WORDS, _PUT, """
local member, count = ARGV[2], tonumber(ARGV[3])
if not call('ZSCORE', P .. 'journal', member) then return 0 end
local whose = author(member)
local score = call('ZSCORE', P .. 'sent|' .. whose, member)
local rows = {}
if score then
  local last = call('HGET', P .. 'progress', member) or '0'
  rows = call('ZRANGEBYSCORE', P .. 'followers|' .. whose, '(' .. last, '+inf', 'WITHSCORES', 'LIMIT', 0, count)
  for at = 1, #rows, 2 do put(rows[at], member, score) end
  call('INCRBY', P .. 'delivered', #rows / 2)
end
if #rows < 2 * count then
  call('ZREM', P .. 'journal', member)
  call('HDEL', P .. 'progress', member)
  return 0
end
call('HSET', P .. 'progress', member, rows[#rows])
call('ZADD', P .. 'journal', now() + ARGV[4], member)
return 1
""")

# length, lease ms -> members that nobody delivers any more, now the caller's to deliver
LEFT = _script(_WORDS, """
local left = call('ZRANGEBYSCORE', P .. 'journal', '-inf', now(), 'LIMIT', 0, 16)
for _, member in ipairs(left) do call('ZADD', P .. 'journal', now() + ARGV[2], member) end
return left
""")

# length, item -> whether it was there
DELETE = _script(_WORDS, """
local member = call('HGET', P .. 'items', ARGV[2])
if not member then return 0 end
drop(member)
return 1
""")

# length, reader
REBUILD = _script(_WORDS, _REBUILD, "rebuild(ARGV[2]) return 1")

# length, reader, score or +inf, order, limit, views that each item counts for -> member, score, member, score ...
PAGE = _script(_WORDS, _REBUILD, """
local reader = ARGV[2]
local follows = P .. 'follows|' .. reader
local followed = {}
local function is_followed(whose)
  if followed[whose] == nil then followed[whose] = call('SISMEMBER', follows, whose) == 1 end
  return followed[whose]
end
local function page(top, place, limit)
  local low, than = floor_of(reader)
  local found, seen, bound = {}, {}, low and string.format('%.17g', low) or '-inf'
  local below = tonumber(top)
  local function walk(key, is_good)
    local count, from = 0, 0
    while true do
      local rows = call('ZREVRANGEBYSCORE', key, top, bound, 'WITHSCORES', 'LIMIT', from, limit)
      for at = 1, #rows, 2 do
        local member, score = rows[at], tonumber(rows[at + 1])
        local mine = order(member)
        if top == '+inf' or newer(below, place, score, mine) then
          if low and not newer(score, mine, low, than) then return count end
          if not is_good or is_good(member) then
            found[#found + 1] = {member, score, mine, rows[at + 1]}
            seen[member] = true
            count = count + 1
            if count == limit then return count, rows[at + 1] end
          end
        end
      end
      if #rows < 2 * limit then return count end
      from = from + limit
    end
  end
  local _, last = walk(P .. 'timeline|' .. reader, function(member)
    local whose = author(member)
    return is_followed(whose) and call('ZSCORE', P .. 'sent|' .. whose, member)
  end)
  if last then bound = last end
  local from, pending = 0
  repeat
    pending = call('ZRANGE', P .. 'journal', from, from + 255)
    for _, member in ipairs(pending) do
      local whose = author(member)
      if not seen[member] and is_followed(whose) then
        local text = call('ZSCORE', P .. 'sent|' .. whose, member)
        local score = tonumber(text)
        if (top == '+inf' or newer(below, place, score, order(member))) and
            not (low and not newer(score, order(member), low, than)) then
          found[#found + 1] = {member, score, order(member), text}
        end
      end
    end
    from = from + 256
  until #pending < 256
  for _, whose in ipairs(call('SINTER', follows, P .. 'keeps')) do walk(P .. 'kept|' .. whose) end
  table.sort(found, function(a, b) return newer(a[2], a[3], b[2], b[3]) end)
  for at = #found, limit + 1, -1 do found[at] = nil end
  return found, low ~= nil
end
local limit = tonumber(ARGV[5])
local found, has_floor = page(ARGV[3], ARGV[4], limit)
if has_floor and #found < limit and #page('+inf', '', LENGTH) < LENGTH then
  rebuild(reader)
  found = page(ARGV[3], ARGV[4], limit)
end
local answer = {}
for _, one in ipairs(found) do
  answer[#answer + 1] = one[1]
  answer[#answer + 1] = one[4]
  if ARGV[6] ~= '0' then call('HINCRBY', P .. 'heat|' .. author(one[1]), 'v', ARGV[6]) end
end
return answer
""")

ALL: tuple[Script, ...] = (FOLLOW, UNFOLLOW, PUSH, DELIVER, LEFT, DELETE, REBUILD, PAGE)
