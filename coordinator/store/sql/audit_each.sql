SELECT sequence, at_ms, who, origin, verb, what, outcome, hash FROM audit
WHERE sequence > ?1 ORDER BY sequence
