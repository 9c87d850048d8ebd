UPDATE nodes SET last_seen_ms = ?2 WHERE id = ?1
