DELETE FROM watches WHERE deployment = ?1
