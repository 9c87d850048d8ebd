INSERT INTO observation_marks (node, boot_epoch, sequence) VALUES (?1, ?2, ?3)
ON CONFLICT (node) DO UPDATE SET boot_epoch = excluded.boot_epoch, sequence = excluded.sequence
