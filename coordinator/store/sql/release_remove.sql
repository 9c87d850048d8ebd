DELETE FROM releases WHERE digest = ?1
