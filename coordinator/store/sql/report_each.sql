SELECT node, boot_epoch, sequence, status FROM node_reports ORDER BY node
