SELECT rollout, sequence, entry FROM judgements WHERE rollout = ?1 ORDER BY sequence
