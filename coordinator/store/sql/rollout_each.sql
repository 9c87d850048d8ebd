SELECT id, deployment, number, from_release, to_release, spec, snapshot, ended, state,
	created_ms, ended_ms
FROM rollouts WHERE ?1 = '' OR deployment = ?1 ORDER BY number
