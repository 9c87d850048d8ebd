INSERT OR REPLACE INTO deltas (target, base, delta_set, bytes) VALUES (?1, ?2, ?3, ?4)
