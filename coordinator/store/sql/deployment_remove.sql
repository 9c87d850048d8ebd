DELETE FROM deployments WHERE name = ?1
