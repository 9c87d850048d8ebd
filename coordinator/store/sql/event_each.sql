SELECT at_ms, kind, deployment, rollout, node, text, sequence FROM events
WHERE sequence > ?1 ORDER BY sequence LIMIT ?2
