DELETE FROM node_labels WHERE node = ?1
