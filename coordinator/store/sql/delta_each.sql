SELECT target, base, delta_set, bytes FROM deltas ORDER BY target, base
