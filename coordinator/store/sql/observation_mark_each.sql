SELECT node, boot_epoch, sequence FROM observation_marks ORDER BY node
