SELECT release FROM release_objects WHERE object = ?1 ORDER BY release
