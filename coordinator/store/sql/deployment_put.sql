INSERT INTO deployments (name, spec, base, created_ms, changed_ms)
VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (name) DO UPDATE SET spec = excluded.spec, base = excluded.base,
	created_ms = excluded.created_ms, changed_ms = excluded.changed_ms
