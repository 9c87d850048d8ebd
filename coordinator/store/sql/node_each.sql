SELECT id, name, link_key, sign_key, pending, cordoned, revoked, joined_ms, last_seen_ms,
	agent_version, inventory
FROM nodes ORDER BY id
