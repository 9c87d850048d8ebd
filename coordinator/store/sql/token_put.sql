INSERT INTO tokens (id, secret, uses_left, approval, created_ms, expires_ms, labels)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
ON CONFLICT (id) DO UPDATE SET secret = excluded.secret, uses_left = excluded.uses_left,
	approval = excluded.approval, created_ms = excluded.created_ms,
	expires_ms = excluded.expires_ms, labels = excluded.labels
