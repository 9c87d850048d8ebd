CREATE TABLE rollouts (
	id BLOB PRIMARY KEY,
	deployment TEXT NOT NULL,
	number INTEGER NOT NULL UNIQUE,
	from_release BLOB NOT NULL,
	to_release BLOB NOT NULL,
	spec BLOB NOT NULL,
	snapshot BLOB NOT NULL,
	ended INTEGER NOT NULL,
	state TEXT NOT NULL,
	created_ms INTEGER NOT NULL,
	ended_ms INTEGER NOT NULL
) STRICT
