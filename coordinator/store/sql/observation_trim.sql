DELETE FROM observations WHERE id <= ?1
