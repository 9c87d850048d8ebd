SELECT node, epoch, generation, digest FROM desired ORDER BY node
