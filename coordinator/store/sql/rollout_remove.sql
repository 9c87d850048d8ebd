DELETE FROM rollouts WHERE id = ?1
