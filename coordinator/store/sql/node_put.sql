INSERT INTO nodes (id, name, link_key, sign_key, pending, cordoned, revoked, joined_ms,
	last_seen_ms, agent_version, inventory)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
ON CONFLICT (id) DO UPDATE SET name = excluded.name, link_key = excluded.link_key,
	sign_key = excluded.sign_key, pending = excluded.pending, cordoned = excluded.cordoned,
	revoked = excluded.revoked, joined_ms = excluded.joined_ms,
	last_seen_ms = excluded.last_seen_ms, agent_version = excluded.agent_version,
	inventory = excluded.inventory
