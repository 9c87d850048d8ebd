INSERT INTO observations (node, boot_epoch, sequence, deployment, release, rollout, received_ms,
	record) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
