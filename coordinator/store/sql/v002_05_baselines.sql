CREATE TABLE baselines (
	deployment TEXT NOT NULL,
	release BLOB NOT NULL,
	id BLOB NOT NULL,
	learned_ms INTEGER NOT NULL,
	body BLOB NOT NULL,
	PRIMARY KEY (deployment, release)
) STRICT
