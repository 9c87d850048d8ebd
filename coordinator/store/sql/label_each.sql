SELECT key, value FROM node_labels WHERE node = ?1 ORDER BY key
