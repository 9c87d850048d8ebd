INSERT INTO audit (sequence, at_ms, who, origin, verb, what, outcome, hash)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
