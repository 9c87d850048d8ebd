UPDATE rollouts SET ended = 1, state = ?2, ended_ms = ?3 WHERE id = ?1
