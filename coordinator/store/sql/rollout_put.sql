INSERT INTO rollouts (id, deployment, number, from_release, to_release, spec, snapshot, ended,
	state, created_ms, ended_ms)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
ON CONFLICT (id) DO UPDATE SET deployment = excluded.deployment, number = excluded.number,
	from_release = excluded.from_release, to_release = excluded.to_release,
	spec = excluded.spec, snapshot = excluded.snapshot, ended = excluded.ended,
	state = excluded.state, created_ms = excluded.created_ms, ended_ms = excluded.ended_ms
