CREATE TABLE judgements (
	rollout BLOB NOT NULL REFERENCES rollouts (id) ON DELETE CASCADE,
	sequence INTEGER NOT NULL,
	entry BLOB NOT NULL,
	PRIMARY KEY (rollout, sequence)
) STRICT, WITHOUT ROWID
