INSERT INTO events (at_ms, kind, deployment, rollout, node, text)
VALUES (?1, ?2, ?3, ?4, ?5, ?6)
