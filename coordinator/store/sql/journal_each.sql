SELECT rollout, sequence, at_ms, event FROM rollout_events WHERE rollout = ?1 ORDER BY sequence
