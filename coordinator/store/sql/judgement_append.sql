INSERT INTO judgements (rollout, sequence, entry) VALUES (?1, ?2, ?3)
