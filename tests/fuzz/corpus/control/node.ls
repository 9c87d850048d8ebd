node.ls
{"selector": "site=lyon"}
