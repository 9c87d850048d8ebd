INSERT INTO node_labels (node, key, value) VALUES (?1, ?2, ?3)
