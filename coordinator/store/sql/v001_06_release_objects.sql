CREATE TABLE release_objects (
	object BLOB NOT NULL,
	release BLOB NOT NULL REFERENCES releases (digest) ON DELETE CASCADE,
	PRIMARY KEY (object, release)
) STRICT, WITHOUT ROWID
