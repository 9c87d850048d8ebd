INSERT INTO release_objects (release, object) VALUES (?1, ?2) ON CONFLICT DO NOTHING
