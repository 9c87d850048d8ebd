INSERT INTO rollout_events (rollout, sequence, at_ms, event) VALUES (?1, ?2, ?3, ?4)
