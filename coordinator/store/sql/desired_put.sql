INSERT INTO desired (node, epoch, generation, digest) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (node) DO UPDATE SET epoch = excluded.epoch, generation = excluded.generation,
	digest = excluded.digest
