INSERT INTO node_reports (node, boot_epoch, sequence, status) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (node) DO UPDATE SET boot_epoch = excluded.boot_epoch,
	sequence = excluded.sequence, status = excluded.status
