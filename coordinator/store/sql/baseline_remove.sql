DELETE FROM baselines WHERE deployment = ?1
