CREATE TABLE rollout_events (
	rollout BLOB NOT NULL REFERENCES rollouts (id) ON DELETE CASCADE,
	sequence INTEGER NOT NULL,
	at_ms INTEGER NOT NULL,
	event BLOB NOT NULL,
	PRIMARY KEY (rollout, sequence)
) STRICT, WITHOUT ROWID
