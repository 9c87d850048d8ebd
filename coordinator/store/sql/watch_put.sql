INSERT INTO watches (deployment, seen, body) VALUES (?1, ?2, ?3)
ON CONFLICT (deployment) DO UPDATE SET seen = excluded.seen, body = excluded.body
