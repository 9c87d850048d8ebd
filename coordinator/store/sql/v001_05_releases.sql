CREATE TABLE releases (
	digest BLOB PRIMARY KEY,
	model TEXT NOT NULL,
	version TEXT NOT NULL,
	arch TEXT NOT NULL,
	size INTEGER NOT NULL,
	pushed_ms INTEGER NOT NULL,
	manifest BLOB NOT NULL,
	UNIQUE (model, version)
) STRICT
