SELECT deployment, seen, body FROM watches ORDER BY deployment
