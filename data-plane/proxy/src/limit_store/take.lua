-- All limits of one request, or what is known later of some: in one step, by the server's own clock.
--
-- Keys: the store's own, then one hash per rate, then one hash per owner with places. All have one hash tag.
-- Arguments: `ask` or `tell`; an epoch for a store that has none; the number of rates. Then of each rate: who says it, nanoseconds that
-- one of it occupies, the amount, how many are wanted, the epoch that whoever says it knew it in (0: none), what they believe to be
-- occupied, and their totals of corrections: as they believe that they are known, and as they are. Then of each place: who says it, how
-- many there may be, the number of their last change, and how many are taken there.
-- Answers: the epoch, which is refused (0: none; rates first), nanoseconds to wait, and of each rate what is occupied now.
local function take(keys, args)
  local DAY = 86400000
  local STALE = 3e10
  local mode, n_rates = args[1], tonumber(args[3])
  local time = redis.call('TIME')
  local store = redis.call('GET', keys[1])
  if not store then
    -- Counters that are not there were lost with it: each process brings what it knew.
    store = args[2] .. ' ' .. time[1]
    redis.call('SET', keys[1], store)
  end
  local epoch, base = string.match(store, '^(%d+) (%d+)$')
  local now = math.max(0, (tonumber(time[1]) - tonumber(base)) * 1e9 + tonumber(time[2]) * 1e3)
  local refused, wait, at = 0, 0, 4
  local rates, places = {}, {}

  for i = 1, n_rates do
    local key, who, interval, amount = keys[1 + i], args[at], tonumber(args[at + 1]), tonumber(args[at + 2])
    local want, seen, seed = tonumber(args[at + 3]), args[at + 4], tonumber(args[at + 5])
    local told, total = tonumber(args[at + 6]), tonumber(args[at + 7])
    at = at + 8
    local tat = tonumber(redis.call('HGET', key, epoch) or '0')
    local rate = { key = key, who = who, told = false, is_changed = false }
    if tat < now then tat = now end
    if now < interval * amount then
      -- What was taken since the store began is in nobody's earlier knowledge.
      rate.fresh = math.max(now, tonumber(redis.call('HGET', key, 'fresh:' .. epoch) or '0'))
    end
    if seen ~= '0' and seen ~= epoch then
      -- The most that anybody knew: said again, it is the same.
      local known = seed + (rate.fresh or now)
      if known > tat then tat, rate.is_changed = known, true end
      rate.told = total
    elseif mode == 'tell' and total ~= told then
      -- Only one at a time tells.
      local last = tonumber(redis.call('HGET', key, who) or told)
      tat = tat + (total - last) * interval
      rate.told, rate.is_changed = total, true
    end
    local latest, after = now + interval * amount, tat + want * interval
    if mode == 'ask' and refused == 0 and after > latest then
      refused, wait = i, after - latest
    end
    rate.tat, rate.after, rate.more = tat, after, want * interval
    rates[i] = rate
  end

  for i = n_rates + 1, #keys - 1 do
    local key, who, most = keys[1 + i], args[at], tonumber(args[at + 1])
    local change, count = tonumber(args[at + 2]), tonumber(args[at + 3])
    at = at + 4
    local all, others = redis.call('HGETALL', key), 0
    for f = 1, #all, 2 do
      local number, taken, when = string.match(all[f + 1], '^(%d+) (%d+) (%d+)$')
      number = tonumber(number)
      if all[f] == who then
        -- What was said later has come earlier.
        if number > change and number - change < 2147483648 then change, count = number, tonumber(taken) end
      elseif now - tonumber(when) < STALE then
        others = others + tonumber(taken)
      else
        redis.call('HDEL', key, all[f])
      end
    end
    if mode == 'ask' and refused == 0 and others + count > most then
      refused, wait = i, 1e9
    end
    places[i] = { key = key, who = who, change = change, count = count }
  end

  local answer = { tonumber(epoch), refused, wait }
  for i = 1, n_rates do
    local rate = rates[i]
    if mode == 'ask' and refused == 0 then
      rate.is_changed = rate.is_changed or rate.after ~= rate.tat
      rate.tat = rate.after
      if rate.fresh and rate.more > 0 then
        redis.call('HSET', rate.key, 'fresh:' .. epoch, string.format('%.0f', rate.fresh + rate.more))
      end
    end
    if rate.is_changed then redis.call('HSET', rate.key, epoch, string.format('%.0f', rate.tat)) end
    if rate.told then redis.call('HSET', rate.key, rate.who, string.format('%.0f', rate.told)) end
    if rate.is_changed or rate.told then redis.call('PEXPIRE', rate.key, 2 * DAY) end
    answer[3 + i] = math.max(0, rate.tat - now)
  end
  for _, place in pairs(places) do
    if refused == 0 then
      redis.call('HSET', place.key, place.who, string.format('%.0f %.0f %.0f', place.change, place.count, now))
      redis.call('PEXPIRE', place.key, 60000)
    end
  end
  return answer
end
