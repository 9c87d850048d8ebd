CREATE UNIQUE INDEX observations_by_name ON observations (node, boot_epoch, sequence)
