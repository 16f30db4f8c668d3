"""The Lua scripts of the checkpointer. Each is one step for everybody else, and does nothing more
when it is sent a second time because its answer was lost.

`COMMIT` is told all writes of a transaction, step after step. It first looks whether every step may
be taken, each on what those before it would have left, and gathers the commands; only then it runs
them. So a refusal leaves nothing behind, and nor does a server that dies: it writes the commands of
a script to its log as one. A step that finds its own mark has been taken before: the number of its
branch, the token in the id of its last frame, or the token beside its rows.
"""

from __future__ import annotations

from typing import Final

from graphflow_checkpointers.redis_server import script

COMMIT: Final = script("""
local key_at, value_at = 0, 0
local function key() key_at = key_at + 1; return KEYS[key_at] end
local function value() value_at = value_at + 1; return ARGV[value_at] end

local commands = {}
local function later(...) commands[#commands + 1] = {...} end

local heads = {}    -- by branch, as the steps so far leave them
local function head_of(thread, branch)
  if heads[branch] == nil then heads[branch] = redis.call('HGET', thread, branch) end
  return heads[branch]
end

local closed = {}   -- branches whose stored rows the steps so far remove
local put = {}      -- by branch and place: whether the steps so far put a row there, or remove it
local orders = {}   -- by branch: how many rows were ever put into the open superstep
local function close(branch)
  closed[branch], put[branch], orders[branch] = true, {}, 0
end
local function open(rows, branch)
  put[branch] = put[branch] or {}
  orders[branch] = orders[branch] or tonumber(redis.call('HGET', rows, 'n') or 0)
end
local function has(rows, branch, place)
  local known = put[branch][place]
  if known == nil then
    known = not closed[branch] and redis.call('HEXISTS', rows, place) == 1
  end
  return known
end

local function refused(found, head, lease, owner)
  if not found then return 'gone' end
  if owner ~= '' and redis.call('GET', lease) ~= owner then return 'fenced' end
  return found ~= head and 'moved'
end

local made = {}     -- threads that the steps so far make
local is_again = false  -- whether all of this was done before, and its answer lost

local steps = {}

function steps.create()
  local thread = key()
  local field, ordinal, record, branch = value(), value(), value(), value()
  local head, parent, format, name = value(), value(), value(), value()
  local found = redis.call('HGET', thread, field)
  if found == record then is_again = true; return end
  if parent ~= '' and not head_of(thread, parent) then return 'gone' end
  if found ~= ordinal then
    return found and string.sub(found, 1, 1) == '[' and 'taken' or 'gone'
  end
  local now = redis.call('TIME')
  local fact = string.format('[%s,%s%06d,%s]', format, now[1], now[2], name)
  later('HSETNX', thread, 'thread', fact)
  later('HSET', thread, field, record, branch, head)
  later('HINCRBY', thread, 'made', 1)
  later('PERSIST', thread)
  heads[branch], made[thread] = head, true
  close(branch)
end

function steps.append()
  local thread, frames, rows, lease = key(), key(), key(), key()
  local owner, branch, head, tip = value(), value(), value(), value()
  local last, count = value(), tonumber(value())
  local first = value_at + 1
  value_at = value_at + 2 * count
  local found = head_of(thread, branch)
  if found and found ~= head and #redis.call('XRANGE', frames, last, last) == 1 then
    is_again = true
    return
  end
  local refusal = refused(found, head, lease, owner)
  if refusal then return refusal, found, head end
  for place = first, value_at, 2 do
    later('XADD', frames, ARGV[place], 'f', ARGV[place + 1])
  end
  later('HSET', thread, branch, tip)
  later('HDEL', thread, branch .. '+')
  later('DEL', rows)
  heads[branch] = tip
  close(branch)
end

function steps.rows()
  local thread, rows, lease = key(), key(), key()
  local owner, branch, head, token = value(), value(), value(), value()
  local given, withdrawn = tonumber(value()), tonumber(value())
  local first = value_at + 1
  local middle = first + 3 * given
  value_at = middle + withdrawn - 1
  local found = head_of(thread, branch)
  local is_put = not closed[branch] and redis.call('HEXISTS', rows, token) == 1
  if found == head and is_put then is_again = true; return end
  local refusal = refused(found, head, lease, owner)
  if refusal then return refusal, found, head end
  open(rows, branch)
  for at = first, middle - 1, 3 do
    local place, is_answer, body = ARGV[at], ARGV[at + 1] == '1', ARGV[at + 2]
    if not has(rows, branch, place) then
      orders[branch] = orders[branch] + 1
      later('HSET', rows, place, string.format('%08x', orders[branch]) .. body)
      put[branch][place] = true
    elseif is_answer then
      return 'answered', place
    end
  end
  for at = middle, value_at do
    later('HDEL', rows, ARGV[at])
    put[branch][ARGV[at]] = false
  end
  later('HSET', rows, 'h', head, 'n', orders[branch], token, '')
  later('HSET', thread, branch .. '+', 1)
end

function steps.snapshot()
  local thread, kept = key(), key()
  local branch, id, body = value(), value(), value()
  if not head_of(thread, branch) then return 'gone' end
  later('DEL', kept)
  later('XADD', kept, id, 'f', body)
end

function steps.tags()
  local thread, count = key(), tonumber(value())
  local first = value_at + 1
  value_at = value_at + 2 * count
  if not made[thread] and redis.call('HEXISTS', thread, 'thread') == 0 then return end
  for at = first, value_at, 2 do
    local field, new = 'tag:' .. ARGV[at], ARGV[at + 1]
    local old = redis.call('HGET', thread, field)
    if old and old ~= new then later('HSET', thread, 'was:' .. old, '') end
    later('HSET', thread, field, new)
  end
end

local step = 0
while value_at < #ARGV do
  step = step + 1
  local refusal, found, wanted = steps[value()]()
  if refusal then return {refusal, step, found or '', wanted or ''} end
end
if is_again then return {'done'} end
for _, command in ipairs(commands) do redis.call(unpack(command)) end
return {'done'}
""")

# The ordinal of a branch must be known before the branch is made, because what is written together
# with it may name it. Given once, it is the same for whoever asks again. A thread of which nothing
# else is known is forgotten, unless its first branch is made.
RESERVE: Final = script("""
local found = redis.call('HGET', KEYS[1], ARGV[1])
if found then return found end
local is_new = redis.call('EXISTS', KEYS[1]) == 0
local ordinal = redis.call('HINCRBY', KEYS[1], ARGV[2], 1) - 1
redis.call('HSET', KEYS[1], ARGV[1], ordinal)
if is_new then redis.call('EXPIRE', KEYS[1], 3600) end
return tostring(ordinal)
""")

# A lease that nobody has, or the same owner had before, or one whose run is known to be over.
CLAIM: Final = script("""
local found = redis.call('GET', KEYS[1])
if found and found ~= ARGV[1] and found ~= ARGV[3] then
  return {found, redis.call('PTTL', KEYS[1])}
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {}
""")

RENEW: Final = script("""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
""")

RELEASE: Final = script("""
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
""")

# A thread, and rows of the branches that had some when it was looked at before, as of one moment.
VIEW: Final = script("""
local seen = {}
for place, key in ipairs(KEYS) do seen[place] = redis.call('HGETALL', key) end
return seen
""")

# A branch that begins with another frame. Streams only grow at their end, so it is made anew.
CUT: Final = script("""
local thread, frames, snapshot = KEYS[1], KEYS[2], KEYS[3]
local branch, field, record, seq, id, content = unpack(ARGV)
if not redis.call('HGET', thread, branch) or #redis.call('XRANGE', frames, seq, seq) == 0 then
  return 'gone'
end
local rest = redis.call('XRANGE', frames, seq + 1, '+')
redis.call('DEL', frames)
redis.call('XADD', frames, id, 'f', content)
for _, entry in ipairs(rest) do redis.call('XADD', frames, entry[1], unpack(entry[2])) end
redis.call('HSET', thread, field, record)
if #redis.call('XRANGE', snapshot, '-', seq) > 0 then redis.call('DEL', snapshot) end
return 'done'
""")

# The branches of one graph, if they are those that were named.
REMOVE_SCOPE: Final = script("""
local thread = KEYS[1]
if (redis.call('HGET', thread, 'made') or '') ~= ARGV[1] then return 0 end
for place = 2, #KEYS do redis.call('UNLINK', KEYS[place]) end
for place = 2, #ARGV do redis.call('HDEL', thread, ARGV[place]) end
return 1
""")

# A thread with all keys of its branches, if it is the one, with as many, whose keys were named.
REMOVE: Final = script("""
local found = redis.call('HMGET', KEYS[1], 'thread', 'made')
if (found[1] or '') == ARGV[1] and (found[2] or '') == ARGV[2] then
  for _, key in ipairs(KEYS) do redis.call('UNLINK', key) end
end
""")

# -- threads by tag ----------------------------------------------------------------------------

PUT_TAGGED: Final = script("""
if ARGV[2] == '1' or not redis.call('ZSCORE', KEYS[1], ARGV[1]) then
  local now = redis.call('TIME')
  redis.call('ZADD', KEYS[1], string.format('%s%06d', now[1], now[2]), ARGV[1])
end
""")

GET_TAGGED: Final = script("""
return redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[1], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[2])
""")

# Unless it was put there anew, or so lately that the commit it belongs to may still be to come.
REMOVE_TAGGED: Final = script("""
local found, now = redis.call('ZSCORE', KEYS[1], ARGV[1]), redis.call('TIME')
local seconds = found and now[1] + (now[2] - found) / 1000000
if found and tonumber(found) == tonumber(ARGV[2]) and seconds >= tonumber(ARGV[3]) then
  redis.call('ZREM', KEYS[1], ARGV[1])
end
""")
