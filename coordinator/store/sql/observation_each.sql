SELECT node, boot_epoch, sequence, deployment, release, rollout, received_ms, record, id
FROM observations WHERE deployment = ?1 AND id > ?2 ORDER BY id LIMIT ?3
