SELECT id, deployment, number, from_release, to_release, spec, snapshot, ended, state,
	created_ms, ended_ms
FROM rollouts WHERE id = ?1
