INSERT INTO baselines (deployment, release, id, learned_ms, body) VALUES (?1, ?2, ?3, ?4, ?5)
