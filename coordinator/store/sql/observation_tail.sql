SELECT coalesce(min(id), 1) - 1 FROM
	(SELECT id FROM observations WHERE deployment = ?1 ORDER BY id DESC LIMIT ?2)
