SELECT deployment, release, id, learned_ms, body FROM baselines ORDER BY deployment, release
