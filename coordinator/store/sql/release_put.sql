INSERT INTO releases (digest, model, version, arch, size, pushed_ms, manifest)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
ON CONFLICT (digest) DO UPDATE SET pushed_ms = excluded.pushed_ms, manifest = excluded.manifest
